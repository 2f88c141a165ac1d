"""The rule for held-out dialogues: two long utterances of one, or all of it, however spelt."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.core.dialog import Dialog
from convai.core.errors import DataError
from convai.text.corpora import Overlap, overlap, write
from convai.text.corpora.overlap import is_long, letters
from tests.text.corpora.helpers import talk

LONG = [
    "the red kite flew over our old school",
    "my uncle has painted eleven doors this week",
    "we never found out who ate the soup",
    "there are too many spoons in this drawer",
]


def found(tmp_path: Path, train: list[Dialog], held_out: list[Dialog]) -> list[Overlap]:
    write(tmp_path / "train.jsonl", train)
    write(tmp_path / "held.jsonl", held_out)
    return overlap([tmp_path / "train.jsonl"], [tmp_path / "held.jsonl"])


def test_two_long_utterances_of_one_dialogue(tmp_path: Path) -> None:
    train = [talk("so", LONG[0], "yes", LONG[1]), talk("so", LONG[0], "yes", "no"), talk("a", "b")]
    assert found(tmp_path, train, [talk("hm", "ah"), talk(LONG[1], "oh", LONG[0], "ah")]) == [
        Overlap(f"{tmp_path}/train.jsonl:1", f"{tmp_path}/held.jsonl:2", 2, False)
    ]


def test_two_long_utterances_of_different_dialogues_are_allowed(tmp_path: Path) -> None:
    assert found(tmp_path, [talk(LONG[0], LONG[1])], [talk(LONG[0], "a"), talk(LONG[1], "b")]) == []


def test_one_utterance_said_twice_counts_once(tmp_path: Path) -> None:
    twice = talk(LONG[0], "a", LONG[0], "b")
    assert found(tmp_path, [twice], [talk(LONG[0], "c", LONG[0], "d")]) == []


def test_short_utterances_count_only_in_a_whole_dialogue(tmp_path: Path) -> None:
    held_out = [talk("hi there", "hello", "how are you", "fine")]
    assert found(tmp_path, [talk("hi there", "hello", "how are you", "well")], held_out) == []
    (one,) = found(tmp_path, [talk("Hi, there!", "hello?", "HOW ARE YOU", "fine")], held_out)
    assert one.whole
    assert str(one).endswith(
        f"shares the whole dialogue with {tmp_path}/held.jsonl:1; remove it from the training data"
    )


def test_spelling_does_not_matter(tmp_path: Path) -> None:
    spelt = [LONG[0].upper(), LONG[1].replace(" ", " , ") + " !"]
    (one,) = found(tmp_path, [talk(*spelt)], [talk(LONG[0], "a", LONG[1], "b")])
    assert (one.shared, one.whole) == (2, False)
    assert "shares 2 utterances with" in str(one)


def test_the_dialogue_that_shares_most_is_named(tmp_path: Path) -> None:
    held_out = [talk(*LONG[:2]), talk(*LONG[:3]), talk(*LONG[1:])]
    (one,) = found(tmp_path, [talk(*LONG[:3], "and so on")], held_out)
    assert (one.held_out, one.shared) == (f"{tmp_path}/held.jsonl:2", 3)


@pytest.mark.parametrize(
    ("text", "long"),
    [
        ("one two three four five six", True),
        ("one two three four five .", False),
        ("one , two , three four five", False),
        ("1 2 3 4 5 6", True),
        ("", False),
    ],
)
def test_words_are_counted_without_punctuation(text: str, long: bool) -> None:
    assert is_long(text) is long


def test_letters() -> None:
    assert letters("It ' s STRASSE 9, straße!") == letters("its strasse9 STRASSE") == "itsstrasse9strasse"


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        overlap([tmp_path / "a.jsonl"], [tmp_path / "b.jsonl"])
