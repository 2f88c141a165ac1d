"""Plain text: prefixes or alternation, persona lines, blocks; documents and personas by the same lines."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from convai.core.errors import DataError
from convai.text.corpora import PlainDocument, iter_documents, read, read_personas
from tests.text.corpora.helpers import assert_refused, talk


def saved(tmp_path: Path, text: str, name: str = "chat.txt") -> Path:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "text",
    [
        "hi\nhello\nhow are you?\n",
        "user: hi\nagent: hello\nuser: how are you?\n",
        "Human: hi\nAssistant: hello\nHuman: how are you?\n",
        "Dr. Ann O'Neil: hi\nbo: hello\ndr. ann o'neil: how are you?",
        "\n\n  hi \n\thello\nhow are\tyou?\n   \n\n",
        "speaker1 : hi\nspeaker2 : hello\nspeaker1 : how are you?\n",
    ],
)
def test_the_same_dialogue_in_many_ways(text: str, tmp_path: Path) -> None:
    assert read(saved(tmp_path, text), "text") == [talk("hi", "hello", "how are you?")]


def test_prefixes_allow_two_turns_in_a_row_and_an_agent_first(tmp_path: Path) -> None:
    file = saved(tmp_path, "bot: hi\nbot: you?\nuser: hello\n\nuser: a\nuser: b\nagent: c\n")
    first, second = read(file)
    assert [t.speaker for t in first.turns] == [1, 1, 0]
    assert second == talk("a", "+b", "c")


def test_the_second_name_is_the_agent_and_the_third_a_partner(tmp_path: Path) -> None:
    (found,) = read(saved(tmp_path, "ann: a\nbo: b\ncy: c\nbo: d\nann: e\n"))
    assert [t.speaker for t in found.turns] == [0, 1, 0, 1, 0]


def test_a_colon_alone_does_not_make_a_name(tmp_path: Path) -> None:
    file = saved(tmp_path, "listen: it rains\nsee https://example.org\n12: 30 is fine\nok\n")
    assert read(file) == [talk("listen: it rains", "see https://example.org", "12: 30 is fine", "ok")]


def test_persona_lines(tmp_path: Path) -> None:
    text = "persona: i ski.\nYour persona: i cook.\npartner's persona: i sew.\nhi\nhello\n"
    assert read(saved(tmp_path, text)) == [
        talk("hi", "hello", persona=("i ski.", "i cook."), partner=("i sew.",))
    ]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a\nb\n\nalone\n", 4, "a dialogue with one turn"),
        ("persona: i ski.\n", 1, "a dialogue with no turns"),
        ("persona:\na\nb\n", 1, "persona: empty text"),
        ("user: a\nagent:\n", 2, "empty text"),
        ("user: a\nb\nuser: c\n", 2, "no 'user:' or 'agent:' before this turn"),
        ("user: a\nann: b\n", 2, "no 'user:' or 'agent:' before this turn"),
        ("a\nb\x07\n", 2, "control characters"),
        (f"a\n{'x' * 10_000_000}\n", 2, "10,000,000 characters in one utterance"),
    ],
)
def test_a_line_that_does_not_fit_is_named(text: str, line: int, part: str, tmp_path: Path) -> None:
    file = saved(tmp_path, text)
    assert_refused(file, "text", f"{file}:{line}", part)


def test_documents(tmp_path: Path) -> None:
    text = "a first  line\nanother\n\n\nsecond document\n"
    (tmp_path / "b.txt.xz").write_bytes(lzma.compress(text.encode()))
    saved(tmp_path, "third\n", "c.txt")
    saved(tmp_path, "not text", "a.csv")
    one, two, three = (
        PlainDocument(("a first line", "another")),
        PlainDocument(("second document",)),
        PlainDocument(("third",)),
    )
    assert list(iter_documents(tmp_path / "b.txt.xz")) == [one, two]
    assert list(iter_documents(tmp_path)) == [one, two, three]


def test_documents_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.txt files"):
        list(iter_documents(tmp_path))
    with pytest.raises(DataError, match=r"nowhere\.txt: no such file"):
        list(iter_documents(tmp_path / "nowhere.txt"))
    with pytest.raises(DataError, match=r"blank\.txt:1: no text"):
        list(iter_documents(saved(tmp_path, "\n \n", "blank.txt")))
    with pytest.raises(DataError, match=r"bad\.txt:3: control characters"):
        list(iter_documents(saved(tmp_path, "a\n\nb\x01\n", "bad.txt")))


def test_personas(tmp_path: Path) -> None:
    file = saved(tmp_path, "i ski.\ni cook. and i sew.\n\n\ni sleep.\n", "personas.txt")
    assert [p.sentences for p in read_personas(file)] == [("i ski.", "i cook. and i sew."), ("i sleep.",)]
    with pytest.raises(DataError, match=r"empty\.txt:1: no persona"):
        read_personas(saved(tmp_path, "\n", "empty.txt"))
    with pytest.raises(DataError, match=r"bad\.txt:2: control characters"):
        read_personas(saved(tmp_path, "i ski.\nx\x1b[0m\n", "bad.txt"))
