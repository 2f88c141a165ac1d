"""Two sessions of the same people: the second asks for what the first told, and does not tell it itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from convai.core import resources
from convai.core.dialog import AGENT, USER
from convai.text.compose.dialogues import Composer
from convai.text.compose.returning import returning
from convai.text.corpora.reading import take, write

COMPOSER = Composer(resources.data_dir() / "compose")


def test_pairs_follow_from_seed_and_number_and_have_the_names_of_sessions() -> None:
    some = list(returning(COMPOSER, 6, 3))
    assert some[:4] == list(returning(COMPOSER, 2, 3))
    assert [dialog.session for dialog in some[:4]] == [
        ("composed-3-0", 1),
        ("composed-3-0", 2),
        ("composed-3-1", 1),
        ("composed-3-1", 2),
    ]
    for one, two in zip(some[::2], some[1::2], strict=True):
        assert one.personas == two.personas
        assert one.turns != two.turns


def test_the_second_asks_for_what_the_first_told() -> None:
    asked = told = 0
    for one, two in list(zip(*[returning(COMPOSER, 60, 1)] * 2, strict=True)):
        assert [turn.speaker for turn in two.turns] == [USER, AGENT] * (len(two.turns) // 2)
        assert 8 <= len(two.turns) <= 40
        named = [
            word
            for sentence in one.personas[USER].sentences
            for word in sentence.strip(".").split()
            if word[0].isupper() and len(word) > 3
        ]
        first = " ".join(turn.text for turn in one.turns if turn.speaker == USER)
        told += sum(word in first for word in named)
        replies = " ".join(turn.text for turn in two.turns if turn.speaker == AGENT)
        asked += any(word in replies for word in named)
    assert told > 60
    assert asked > 20


def test_greetings_of_somebody_who_comes_back_begin_most_of_them() -> None:
    begun = Counter(
        two.turns[0].text.lower().strip(".!")
        for _, two in zip(*[returning(COMPOSER, 40, 2)] * 2, strict=True)
    )
    assert sum(begun[text] for text in begun if "again" in text or "back" in text or "me" in text.split()) > 8


def test_they_are_written_and_read_with_their_names(tmp_path: Path) -> None:
    file = tmp_path / "sessions.jsonl"
    dialogs = list(returning(COMPOSER, 3, 0))
    assert write(file, dialogs, "jsonl") == 6
    again = list(take(file).dialogs)
    assert [dialog.session for dialog in again] == [dialog.session for dialog in dialogs]
    assert [dialog.turns for dialog in again] == [dialog.turns for dialog in dialogs]
