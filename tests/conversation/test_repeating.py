"""An earlier turn's n-grams are banned but for words that were given: by definition, and in a chat."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from convai.conversation.repeating import banned_runs, not_again
from convai.engine.bans import NgramBan

tokens = st.lists(st.integers(0, 3), max_size=15)


class Words:
    """A tokenizer whose tokens are words."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [[self.known.setdefault(word, len(self.known)) for word in text.split()] for text in texts]


def ngrams(turns: Sequence[Sequence[int]], n: int) -> set[tuple[int, ...]]:
    return {tuple(ids[i : i + n]) for ids in turns for i in range(len(ids) - n + 1)}


@given(st.lists(tokens, max_size=3), st.lists(tokens, max_size=2), st.integers(1, 4))
def test_as_the_definition(turns: list[list[int]], free: list[list[int]], n: int) -> None:
    given_words = (
        {(ids,) for text in free for ids in text} if n == 1 else {p for t in free for p in pairwise(t)}
    )
    expected = {gram for gram in ngrams(turns, n) if gram[-2:] not in given_words}
    runs = banned_runs(turns, free, n)
    assert ngrams(runs, n) == expected
    assert all(len(run) >= n for run in runs)


@given(st.lists(tokens, max_size=3), st.integers(1, 4))
def test_where_nothing_was_given_all_is_banned(turns: list[list[int]], n: int) -> None:
    assert ngrams(banned_runs(turns, [], n), n) == ngrams(turns, n)


@given(st.lists(tokens, max_size=3), st.lists(tokens, max_size=2))
def test_off(turns: list[list[int]], free: list[list[int]]) -> None:
    assert banned_runs(turns, free, 0) == turns


def banned_after(
    words: Words, own: list[str], begun: str, *, persona: list[str], partner: list[str]
) -> set[str]:
    runs = not_again(words, own, persona=persona, partner=partner, n=4)
    ban = NgramBan(4, runs, learn=False)
    for (token,) in words.encode_batch(begun.split()):
        ban.push(token)
    names = {id: word for word, id in words.known.items()}
    return {names[id] for id in ban.banned()}


def test_a_fact_may_be_told_twice_and_a_phrase_may_not() -> None:
    own = ["i am a night guard in a museum", "that is good to hear"]
    persona = ["I am a night guard in a museum"]
    words = Words()
    assert not banned_after(words, own, "i am a", persona=persona, partner=[])
    assert not banned_after(words, own, "well i am a night guard", persona=persona, partner=[])
    assert banned_after(words, own, "that is good", persona=persona, partner=[]) == {"to"}
    assert banned_after(words, own, "i am a", persona=[], partner=[]) == {"night"}


def test_what_the_partner_stated_is_free_and_what_it_asked_is_not() -> None:
    own = ["your cat is called Soot", "and what do you do"]
    partner = ["Hi. My cat is called Soot", "Fine. what do you do?"]
    words = Words()
    assert not banned_after(words, own, "your cat is", persona=[], partner=partner)
    assert not banned_after(words, own, "cat is called", persona=[], partner=partner)
    assert banned_after(words, own, "and what do", persona=[], partner=partner) == {"you"}
