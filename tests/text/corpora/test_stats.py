"""Counts of a corpus."""

from __future__ import annotations

from convai.core.dialog import AGENT, USER, Dialog, Turn
from convai.text.corpora import CorpusStats, stats
from tests.text.corpora.helpers import talk


def test_counts() -> None:
    first = talk("one two", "one", "+two three four", persona=("i ski.", "i cook."))
    second = Dialog(
        (Turn(USER, "a b"), Turn(AGENT, "c", ("x", "y")), Turn(USER, "d"), Turn(AGENT, "e", ("z",)))
    )
    third = talk("hi", "hello", persona=("i ski.", "i cook."))
    opener = Dialog((Turn(AGENT, "hi"), Turn(USER, "hello")))
    total = stats(iter([first, second, third, opener]))
    assert total == CorpusStats(
        dialogues=4,
        turns=11,
        replies=5,
        words=6 + 5 + 2 + 2,
        longest_dialogue_turns=4,
        longest_turn_words=3,
        distinct_words=4 + 5 + 2,
        dialogues_with_persona=2,
        distinct_personas=1,
        persona_sentences=2,
        replies_with_candidates=2,
        most_candidates=3,
        fewest_candidates=2,
        candidates=5,
    )
    assert (total.words_per_turn, total.turns_per_dialogue) == (15 / 11, 11 / 4)
    assert total.as_dict()["turns_per_dialogue"] == 2.75
    lines = list(total.lines())
    assert lines[0].split() == ["dialogues", "4"]
    assert lines[-1].split() == ["turns", "per", "dialogue", "2.75"]


def test_nothing() -> None:
    total = stats([])
    assert total == CorpusStats()
    assert (total.words_per_turn, total.turns_per_dialogue) == (0.0, 0.0)
