"""ParlAI text: self, other, both and no personas, candidates, numbering, and what breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.core.dialog import AGENT, USER, Dialog, Turn
from convai.core.errors import DataError
from convai.text.corpora import read, write
from tests.text.corpora.helpers import assert_refused, talk


def saved(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "chat.txt"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("lines", "personas"),
    [
        (["your persona: i ski."], ((), ("i ski.",))),
        (["partner's persona: i cook."], (("i cook.",), ())),
        (["your persona: i ski.", "partner's persona: i cook."], (("i cook.",), ("i ski.",))),
        (["partner's persona: i cook.", "your persona: i ski: fast."], (("i cook.",), ("i ski: fast.",))),
        ([], ((), ())),
    ],
)
def test_self_other_both_none(
    lines: list[str], personas: tuple[tuple[str, ...], tuple[str, ...]], tmp_path: Path
) -> None:
    numbered = [*lines, "hi\thello", "snow again\tlovely"]
    file = saved(tmp_path, "".join(f"{i} {line}\n" for i, line in enumerate(numbered, 1)))
    assert read(file) == [
        talk("hi", "hello", "snow again", "lovely", partner=personas[0], persona=personas[1])
    ]


def test_a_line_numbered_one_begins_the_next_dialogue(tmp_path: Path) -> None:
    file = saved(tmp_path, "1 hi\thello\n2 well\tyes\n\n1 so\tno\n1 and\tbut")
    assert read(file) == [talk("hi", "hello", "well", "yes"), talk("so", "no"), talk("and", "but")]


@pytest.mark.parametrize(
    ("candidates", "distractors"),
    [
        ("no|maybe|hello", ("no", "maybe")),
        ("hello|no|maybe", ("no", "maybe")),
        ("hello|no|hello", ("hello", "no")),  # only one of them is the gold reply
        ("no|maybe", ("no", "maybe")),
        ("no||hello|", ("no",)),
        ("", ()),
    ],
)
def test_the_gold_reply_is_taken_out_of_the_candidates_once(
    candidates: str, distractors: tuple[str, ...], tmp_path: Path
) -> None:
    (found,) = read(saved(tmp_path, f"1 hi\thello\t\t{candidates}\n"))
    assert found.turns == (Turn(USER, "hi"), Turn(AGENT, "hello", distractors))


def test_a_silent_partner_and_a_last_word_without_reply(tmp_path: Path) -> None:
    file = saved(tmp_path, "1 __SILENCE__\thello\n2 hi\tbye\n3 your persona: is this one?\n")
    (found,) = read(file)
    assert [(t.speaker, t.text) for t in found.turns] == [
        (AGENT, "hello"),
        (USER, "hi"),
        (AGENT, "bye"),
        (USER, "your persona: is this one?"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("1 hi\thello\n3 well\tyes\n", 2, "expected line number 2, found '3'"),
        ("1 hi\thello\nwell\tyes\n", 2, "expected line number 2, found 'well"),
        ("0 hi\thello\n", 1, "expected line number 1, found '0'"),
        ("1 hi\n2 well\tyes\n", 1, "no tab"),
        ("1 hi\thello\t\tc\td\n", 1, "4 tabs"),
        ("1 hi\t \n", 1, "reply after the tab: empty text"),
        ("1 \thello\n", 1, "before the tab: empty text"),
        ("1 your persona:\n2 hi\thello\n", 1, "persona: empty text"),
        ("1 your persona: i ski.\n2 hi\n", 1, "a dialogue with one turn"),
        ("1 your persona: i ski.\n", 1, "a dialogue with no turns"),
        ("1 hi\thello\n2 x\x01\tyes\n", 2, "control characters"),
        (f"1 hi\thello\n2 {'x' * 10_000_000}\tyes\n", 2, "10,000,000 characters in one utterance"),
    ],
)
def test_a_line_that_does_not_fit_is_named(text: str, line: int, part: str, tmp_path: Path) -> None:
    file = saved(tmp_path, text)
    assert_refused(file, "parlai", f"{file}:{line}", part)


def test_written_text_is_numbered_and_has_the_gold_reply_last(tmp_path: Path) -> None:
    d = talk("hi", "hello", "+there", "bye", persona=("i ski.",), partner=("i cook.",))
    d = Dialog((d.turns[0], Turn(AGENT, "hello", ("no", "so")), *d.turns[2:]), d.personas)
    file = tmp_path / "out.txt"
    assert write(file, [d, talk("a", "b")]) == 2
    assert file.read_text(encoding="utf-8") == (
        "1 your persona: i ski.\n2 partner's persona: i cook.\n"
        "3 hi\thello there\t\tno|so|hello there\n4 bye\n1 a\tb\n"
    )
    assert read(file)[0].turns[1] == Turn(AGENT, "hello there", ("no", "so"))


def test_a_bar_in_a_candidate_is_refused_and_nothing_written(tmp_path: Path) -> None:
    d = Dialog((Turn(USER, "hi"), Turn(AGENT, "hello", ("either|or",))))
    with pytest.raises(DataError, match=r"dialogue 1: a candidate has a '\|'.*write jsonl"):
        write(tmp_path / "out.txt", [d])
    assert list(tmp_path.iterdir()) == []
    bar_in_reply = talk("hi", "either|or")
    write(tmp_path / "out.txt", [bar_in_reply])
    assert read(tmp_path / "out.txt") == [bar_in_reply]
