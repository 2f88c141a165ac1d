"""Drawn distractors: from other dialogues, never the gold reply, no doubles, the same for the same seed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.dialog import AGENT, USER, Dialog, Turn
from convai.core.errors import DataError
from convai.text.corpora import with_distractors
from tests.text.corpora.helpers import talk

CORPUS = [talk(f"question {i}", f"answer {i}", f"more {i}", f"and {i}") for i in range(12)]
REPLIES = st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4), min_size=2, max_size=5)


def test_every_reply_gets_n() -> None:
    for number, d in enumerate(with_distractors(CORPUS, 19, 0)):
        assert [t.speaker for t in d.turns if t.distractors] == [AGENT, AGENT]
        for turn in d.turns[1::2]:
            assert len(set(turn.distractors)) == 19
            assert all(text.split()[0] in ("answer", "and") for text in turn.distractors)
            assert not {f"answer {number}", f"and {number}"} & set(turn.distractors)


def test_seeds() -> None:
    assert with_distractors(CORPUS, 5, 1) == with_distractors(CORPUS, 5, 1)
    assert with_distractors(CORPUS, 5, 1) != with_distractors(CORPUS, 5, 2)


def test_the_draw_is_even() -> None:
    drawn = [t for seed in range(200) for t in with_distractors(CORPUS, 2, seed)[0].turns[1].distractors]
    counts = [drawn.count(text) for text in set(drawn)]
    assert len(counts) == 22
    assert min(counts) >= 5
    assert max(counts) <= 40  # 400 draws of 22 replies: 18 each, give or take


def test_candidates_of_the_corpus_stay() -> None:
    own = Dialog((Turn(USER, "a"), Turn(AGENT, "b", ("c",)), Turn(USER, "d"), Turn(AGENT, "e")))
    found = with_distractors([own, *CORPUS], 3, 0)[0]
    assert found.turns[1] == own.turns[1]
    assert len(found.turns[3].distractors) == 3


def test_an_opening_word_of_the_agent_is_no_reply() -> None:
    opener = Dialog((Turn(AGENT, "hi"), Turn(USER, "hello"), Turn(AGENT, "bye")))
    found = with_distractors([opener, talk("a", "b")], 1, 0)
    assert [t.distractors for t in found[0].turns] == [(), (), ("b",)]
    assert found[1].turns[1].distractors == ("bye",)


@given(replies=REPLIES, n=st.integers(1, 8), seed=st.integers(0, 99))
def test_no_reply_is_drawn_twice_however_few_there_are(replies: list[list[str]], n: int, seed: int) -> None:
    corpus = [
        Dialog(tuple(Turn(i % 2, reply if i % 2 else "q") for reply in owned for i in (0, 1)))
        for owned in replies
    ]
    for number, d in enumerate(with_distractors(corpus, n, seed)):
        others = {reply for other, owned in enumerate(replies) if other != number for reply in owned}
        for _, turn in d.replies():
            wrong = others - {turn.text}
            assert set(turn.distractors) <= wrong
            assert len(set(turn.distractors)) == len(turn.distractors) == min(n, len(wrong))


def test_zero_changes_nothing() -> None:
    assert with_distractors(CORPUS[:1], 0, 0) == CORPUS[:1]
    assert with_distractors([], 5, 0) == []
    silent = [talk("a", "+b"), talk("c", "+d")]
    assert with_distractors(silent, 5, 0) == silent


def test_impossible_draws_are_refused() -> None:
    with pytest.raises(DataError, match=r"only one dialogue has replies.*; add more"):
        with_distractors([CORPUS[0], talk("a", "+b")], 5, 0)
    with pytest.raises(DataError, match="-1 distractors; use 0 or more"):
        with_distractors(CORPUS, -1, 0)
