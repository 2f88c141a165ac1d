"""Reading bounded lines of packed and damaged files, and writing that is whole or not at all."""

from __future__ import annotations

import gzip
import lzma
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core import text_files as files
from convai.core.errors import DataError
from convai.core.files import atomic_text
from convai.text.corpora import Reading, check, iter_dialogs, take
from tests.text.corpora.helpers import assert_refused


def saved(tmp_path: Path, data: bytes, name: str = "chat.txt") -> Path:
    file = tmp_path / name
    file.write_bytes(data)
    return file


def test_lines_are_numbered_and_bare(tmp_path: Path) -> None:
    file = saved(tmp_path, b"\xef\xbb\xbfone\r\n\r\ntwo\x0c\xe2\x80\xa8still two\nthree")
    assert list(files.lines(file)) == [(1, "one"), (2, ""), (3, "two\x0c\u2028still two"), (4, "three")]


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ("hi\nhello".encode("utf-16")[:-1], ":1: damaged UTF-16 text; save the file as UTF-8"),
        ("hi\nпривет\n".encode("cp1251"), ":2: not UTF-8 (byte 0xef); save the file as UTF-8 (iconv -f"),
        ("hé\n".encode() + "caf\u00e9 !\n".encode("latin-1"), ":2: not UTF-8 (byte 0xe9)"),
        (b"hi\nhello\nca\xc3", ":3: not UTF-8 (byte 0xc3)"),
        (b"hi\nhe\0llo\n", ":2: a NUL byte, so binary data; give a text file in UTF-8"),
        (b"\x7fELF\x02\x01\x01\0\0\0", ":1: a NUL byte"),
    ],
)
def test_anything_but_utf8_is_refused_with_its_line(data: bytes, part: str, tmp_path: Path) -> None:
    file = saved(tmp_path, data)
    assert_refused(file, "text", part)
    with pytest.raises(DataError) as caught:
        files.whole_text(file)
    assert part in str(caught.value)
    with pytest.raises(DataError, match=r"UTF|binary"):
        list(iter_dialogs(file))


SAID = "hi\ncafé à\xa0la “mode” – größe\n"


@pytest.mark.parametrize(
    "data",
    [
        SAID.encode("windows-1252"),
        SAID.encode("utf-32"),
        SAID.encode("utf-16-le"),
        SAID.encode("utf-16-be"),
        SAID.replace("\n", "\r\n").encode("utf-16"),
        SAID.replace("\n", "\r").encode(),
        SAID.replace("\n", "\r").encode("utf-16"),
        gzip.compress(SAID.replace("\n", "\r").encode("windows-1252")),
    ],
    ids=["western", "32", "le", "be", "marked", "cr", "cr16", "packed"],
)
def test_other_encodings_and_line_ends_are_recognised(data: bytes, tmp_path: Path) -> None:
    file = saved(tmp_path, data)
    assert [text for _, text in files.lines(file)] == SAID.splitlines()
    assert files.whole_text(file).split() == SAID.split()
    assert files.head(file).split() == SAID.split()


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("cześć\nłatwo i żółw\n", "cp1250"),
        ("привет\n", "koi8-r"),
        ("すみません\n", "shift-jis"),
        ("你好吗\n", "gbk"),
        ("γεια σου\n", "iso8859-7"),
    ],
)
def test_an_encoding_that_cannot_be_told_is_refused(text: str, encoding: str, tmp_path: Path) -> None:
    assert_refused(saved(tmp_path, text.encode(encoding)), "text", "not UTF-8", "iconv -f ENCODING -t UTF-8")


def test_what_was_read_as_western_is_said(tmp_path: Path) -> None:
    file = saved(tmp_path, "hi\ncafé !\n".encode("latin-1"))
    said = "read as Windows-1252, being no UTF-8; where letters are wrong, name its encoding (--encoding)"
    assert said in take(file).line()
    assert any(said in line for line in check(file).lines())
    assert not take(saved(tmp_path, "hi\ncafé !\n".encode())).remarks


ANYWHERE = [
    ("cześć\nłatwo i żółw\n", "cp1250"),
    ("привет\nкак дела?\n", "koi8-r"),
    ("すみません\nはい\n", "shift-jis"),
    ("你好吗\n好\n", "gb18030"),
    ("nicht\nschön – „so“\n", "windows-1252"),
    ("héllo\nça va\n", "mac-roman"),
    ("hi\nyou\n", "utf-16-be"),
    ("привет\nda\n", "utf-8-sig"),
]


@pytest.mark.parametrize(("text", "encoding"), ANYWHERE)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_encoding_that_is_named_is_taken(text: str, encoding: str, pack: Any, tmp_path: Path) -> None:
    file = saved(tmp_path, pack(text.encode(encoding)))
    with files.encoded_in(encoding):
        assert [line for _, line in files.lines(file)] == text.splitlines()
        assert files.head(file) == files.whole_text(file) == text
    taken = take(file, Reading(encoding=encoding, format="text"))
    assert [turn.text for turn in taken.dialogs[0].turns] == text.splitlines()
    assert not taken.remarks
    assert check(file, "text", encoding=encoding).dialogues == 1


def test_a_named_encoding_that_is_wrong_is_said(tmp_path: Path) -> None:
    file = saved(tmp_path, "hi\nça va\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"chat.txt:2: not utf-8 \(invalid continuation byte\); name another"):
        take(file, Reading(encoding="utf-8"))
    assert not check(file, encoding="utf-8").ok
    for none in ("no-such", "hex"):
        with pytest.raises(DataError, match=f"there is no encoding '{none}'; names are such as utf-8"):
            take(file, Reading(encoding=none))
        with pytest.raises(DataError, match="there is no encoding"):
            check(file, encoding=none)


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_packed_data_cut_short_are_refused(suffix: str, tmp_path: Path) -> None:
    pack = gzip.compress if suffix == ".gz" else lzma.compress
    text = b"".join(b"question %d\nanswer %d\n\n" % (i, i * i) for i in range(2000))
    whole = pack(text)
    for length in (8, 12, len(whole) // 2, len(whole) - 4):
        file = saved(tmp_path, whole[:length], f"chat.txt{suffix}")
        assert_refused(file, "text", "damaged or cut short; download or compress it again")


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_packed_data_with_a_wrong_byte_are_refused(suffix: str, tmp_path: Path) -> None:
    pack = gzip.compress if suffix == ".gz" else lzma.compress
    whole = bytearray(pack(b"hi\nhello\n" * 50))
    whole[len(whole) // 2] ^= 0xFF
    assert_refused(saved(tmp_path, bytes(whole), f"c.txt{suffix}"), "text", "damaged or cut short")


def test_a_name_that_promises_another_packing_is_refused(tmp_path: Path) -> None:
    assert_refused(saved(tmp_path, b"hi\nhello\n", "chat.txt.xz"), "text", "named .xz but not compressed so")
    packed = saved(tmp_path, gzip.compress(b"hi\nhello\n"), "chat.txt")
    assert [t.text for d in iter_dialogs(packed) for t in d.turns] == ["hi", "hello"]


def test_a_line_over_the_limit_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 2**20)
    file = saved(tmp_path, b"hi\n" + b"x" * 2**21 + b"\n")
    assert_refused(file, "text", f"{file}:2: a line of over 1 MiB")
    bomb = saved(tmp_path, gzip.compress(b"\n" + b" " * 2**24), "bomb.txt.gz")
    assert_refused(bomb, "text", f"{bomb}:2: a line of over 1 MiB")


def test_a_whole_file_over_the_limit_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_WHOLE_BYTES", 2**20)
    file = saved(tmp_path, lzma.compress(b" " * 2**21), "chat.json.xz")
    assert_refused(file, "personachat", "over 1 MiB; split it, or use the jsonl format")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere.txt", None, "no such file; check the name")
    with pytest.raises(DataError, match="a folder, not a file"):
        files.require_file(tmp_path)
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    assert_refused(pipe, None, "not a regular file (a pipe or device); save it to a file first")


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_path: Path, _mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    file = saved(tmp_path, b"hi\nhello\n")
    monkeypatch.setattr(Path, "open", denied)  # not chmod: root may read everything
    assert_refused(file, None, "cannot be opened (Permission denied)")


@given(text=st.text(min_size=1), size=st.integers(5, 40))
def test_the_head_never_cuts_a_character(
    text: str, size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = text.replace("\0", "").replace("\r", "").encode("utf-8", "replace")
    file = saved(tmp_path_factory.getbasetemp(), data, "head.txt")
    whole = data.decode().removeprefix("\ufeff")
    start = files.head(file, size)
    assert whole.startswith(start)
    assert len(start.encode()) >= min(len(whole.encode()), size - 3 - 3)


@pytest.mark.parametrize("name", ["out.txt", "out.txt.gz", "out.txt.xz"])
def test_equal_text_gives_equal_bytes(name: str, tmp_path: Path) -> None:
    written = []
    for _ in range(2):
        with atomic_text(tmp_path / name) as out:
            out.write("grüß\ngott\n")
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]
    assert list(files.lines(tmp_path / name)) == [(1, "grüß"), (2, "gott")]
    assert [f.name for f in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["out.txt", "out.txt.gz", "out.txt.xz"])
def test_a_failure_half_way_leaves_what_was_there(name: str, tmp_path: Path) -> None:
    target = saved(tmp_path, b"precious", name)

    def fail_half_way() -> None:
        with atomic_text(target) as out:
            out.write("half of it")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert target.read_bytes() == b"precious"
    assert [f.name for f in tmp_path.iterdir()] == [name]


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*nowhere; create it first"):
        with atomic_text(tmp_path / "nowhere" / "out.txt"):
            pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"folder: cannot be written \(Is a directory\)"):
        with atomic_text(tmp_path / "folder"):
            pass
    assert [f.name for f in tmp_path.iterdir()] == ["folder"]


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
        with atomic_text(tmp_path / "out.txt") as out:
            out.write("x")
    assert list(tmp_path.iterdir()) == []
