"""What a command takes of a file: its own parts, what can be read; what it leaves out is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from convai.core.errors import DataError
from convai.text.corpora import Reading, check, take
from convai.text.corpora.placeholders import placeholder
from tests.text.corpora.helpers import talk


def entry(number: int) -> dict[str, list[dict[str, str]]]:
    return {
        "messages": [
            {"role": "user", "content": f"hi {number}"},
            {"role": "assistant", "content": f"hello {number}"},
        ]
    }


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    file = tmp_path / "divided.json"
    file.write_text(json.dumps({"train": [entry(1), entry(2)], "val": [entry(3)]}), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("split", "wanted", "numbers", "taken"),
    [
        (None, "train", [1, 2], "train"),
        (None, "valid", [3], "valid"),
        (None, "test", [1, 2, 3], "all"),
        (None, "all", [1, 2, 3], "all"),
        ("all", "train", [1, 2, 3], "all"),
        ("valid", "train", [3], "valid"),
        ("validation", "train", [3], "valid"),
    ],
)
def test_a_files_own_parts(
    divided: Path, split: str | None, wanted: str, numbers: list[int], taken: str
) -> None:
    found = take(divided, Reading(split=split), wanted)
    assert [d.turns[0].text for d in found.dialogs] == [f"hi {n}" for n in numbers]
    assert found.split == taken
    assert "(the file has train 2, valid 1)" in found.line()


def test_a_part_that_is_not_there_is_refused(divided: Path) -> None:
    with pytest.raises(DataError, match=r"no dialogues of --split test; it has train, valid"):
        take(divided, Reading(split="test"))
    with pytest.raises(DataError, match=r"--split=half: use one of all, train, valid, test"):
        take(divided, Reading(split="half"))


def test_bad_dialogues_are_left_out_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    lines = [json.dumps(entry(i)) for i in range(300)]
    lines[7] = lines[7][:-3]
    lines[100] = json.dumps({"messages": [{"role": "user", "content": "alone"}]})
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=r"chat.jsonl:8: malformed JSON"):
        take(file)
    found = take(file, Reading(skip_bad=True))
    report = check(file)
    assert (len(found.dialogs), found.left_out) == (298, 2)
    assert (report.dialogues, report.problem_count) == (298, 2), "checking says the same counts"
    assert "2 bad dialogues left out, the first:" in found.line()
    assert "chat.jsonl:8: malformed JSON" in found.line()
    file.write_text(f"{lines[100]}\n{lines[7]}", encoding="utf-8")
    with pytest.raises(DataError, match=r"no dialogue can be read; the first problem is"):
        take(file, Reading("openai", skip_bad=True))


def skipped(file: Path) -> tuple[list[str], int, str]:
    """What is said first in each dialogue that can be read, and what cannot: how much, and the first."""
    found, report = take(file, Reading(skip_bad=True)), check(file)
    assert (report.dialogues, report.problem_count) == (len(found.dialogs), found.left_out)
    return [d.turns[0].text for d in found.dialogs], found.left_out, found.first_problem


def test_a_line_with_a_damaged_letter_is_one_bad_dialogue(tmp_path: Path) -> None:
    lines = [json.dumps(entry(number)).encode() for number in range(20)]
    lines[12] = lines[12].replace(b"hello", b"hell\xff\xfe")
    file = tmp_path / "chat.jsonl"
    file.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=r"chat.jsonl:13: not UTF-8 \(byte 0xff\); save the file as UTF-8"):
        take(file)
    said, left_out, first = skipped(file)
    assert (said, left_out) == ([f"hi {n}" for n in range(20) if n != 12], 1)
    assert first.startswith(f"{file}:13, message 2: not UTF-8 (byte 0xff); ")
    text = tmp_path / "chat.txt"
    text.write_bytes(b"hi my friend\nhow are you today?\n\n" * 20 + b"caf\xe9\xff\x90\nyes\n")
    said, left_out, first = skipped(text)
    assert (len(said), left_out) == (20, 1)
    assert "chat.txt:61: not UTF-8 (byte 0xe9)" in first


def test_a_file_in_another_encoding_is_refused_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "chat.txt"
    file.write_bytes("привет, друг\nкак дела?\n\n".encode("windows-1251") * 20)
    with pytest.raises(DataError, match=r"chat.txt:1: not UTF-8 \(byte 0xef\); save"):
        take(file, Reading(skip_bad=True))


@pytest.mark.parametrize("at", [0, 2, 4], ids=["first", "amid", "last"])
@pytest.mark.parametrize(
    "break_it",
    [
        lambda text: text.replace('"hi', '"he said "hi"'),
        lambda text: text.replace('": "hi', '" "hi'),
        lambda text: text.replace("hi", "h\ni"),
        lambda text: text[:-2],
    ],
    ids=["quotes", "colon", "line end", "brackets"],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_a_malformed_entry_of_a_list_leaves_the_others(
    at: int, break_it: Callable[[str], str], indent: int | None, tmp_path: Path
) -> None:
    texts = [json.dumps(entry(number), indent=indent) for number in range(5)]
    texts[at] = break_it(texts[at])
    file = tmp_path / "chat.json"
    file.write_text("[\n" + ",\n".join(texts) + "\n]", encoding="utf-8")
    with pytest.raises(DataError, match=r"chat.json:\d+: malformed JSON"):
        take(file)
    said, left_out, first = skipped(file)
    assert (said, left_out) == ([f"hi {number}" for number in range(5) if number != at], 1)
    assert ": malformed JSON (" in first


def test_a_list_that_is_cut_off_or_lacks_a_comma(tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    text = json.dumps([entry(number) for number in range(4)])
    file.write_text(text[:-20], encoding="utf-8")
    said, left_out, first = skipped(file)
    assert (said, left_out) == (["hi 0", "hi 1", "hi 2"], 1)
    assert "malformed JSON (Unterminated string" in first
    file.write_text(text.replace('}, {"messages', '} {"messages', 1), encoding="utf-8")
    said, left_out, first = skipped(file)
    assert (said, left_out) == ([f"hi {number}" for number in range(4)], 1)
    assert "expected ',' or ']', found '{'" in first


@pytest.mark.parametrize("first", ['{"messages": [{"role": "us', '{"exported": "by a program"}', "{}"])
def test_the_first_line_may_be_the_bad_one(first: str, tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_text("\n".join([first, *(json.dumps(entry(number)) for number in range(4))]), encoding="utf-8")
    with pytest.raises(DataError, match=r"chat.jsonl:1: "):
        take(file)
    said, left_out, problem = skipped(file)
    assert (said, left_out) == ([f"hi {number}" for number in range(4)], 1)
    assert problem.startswith(f"{file}:1: ")


@pytest.mark.parametrize(
    "text",
    [
        "hi, i am (user 1).",
        "my name is [user 2's name]",
        "hello {{user}}, i'm {{char}}",
        "i live in [city]",
        "i work at <company>",
        "i am [your name]",
        "call me [insert name]",
    ],
)
def test_a_placeholder_is_warned_of(text: str, tmp_path: Path) -> None:
    assert placeholder(text)
    file = tmp_path / "chat.txt"
    file.write_text(f"hello\n{text}\n", encoding="utf-8")
    report = check(file)
    assert report.ok
    assert any("stands for a word that is missing" in line for line in report.warnings)


@pytest.mark.parametrize(
    "text", ["i like (green) tea", "see [1]", "<3 you", "what is your name?", "a (big) city"]
)
def test_what_only_looks_so_is_none(text: str) -> None:
    assert not placeholder(text)


def test_talk_is_not_divided(tmp_path: Path) -> None:
    file = tmp_path / "chat.txt"
    file.write_text("hi\nhello\n", encoding="utf-8")
    found = take(file, None, "train")
    assert (found.dialogs, found.split, found.line()) == (
        [talk("hi", "hello")],
        "all",
        f"{file}: text, 1 dialogue",
    )
