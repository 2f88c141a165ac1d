"""Which spans may name something: what parsers err in, and what the text with mentions replaced says then."""

from __future__ import annotations

import pytest

from convai.coref.clusters import replaced
from convai.coref.mentions import candidates
from tests.coref.made_up import sentence


def spans(words: str, tags: str, heads: str, deps: str, entities: str = "") -> set[str]:
    given = sentence(words, tags, heads, deps)
    if entities:
        given.entities = [label.strip("-") for label in entities.split()]
    return {" ".join(given.words[one.start : one.end]) for one in candidates(given)}


def test_a_verb_that_was_taken_for_a_last_name_is_in_no_mention() -> None:
    found = spans(
        "Chris and Donald wish to stay",
        "NNP CC NNP NNP TO VB",
        "6 3 1 3 6 0",
        "nsubj cc conj flat mark root",
        "B-PER - B-PER I-PER - -",
    )
    assert found == {"Chris", "Donald", "Chris and Donald"}


@pytest.mark.parametrize(
    ("words", "tags"),
    [("Ludwig van Beethoven", "NNP NNP NNP"), ("donald wish", "NNP NNP"), ("Anna Smith", "NNP NNP")],
)
def test_a_name_is_whole(words: str, tags: str) -> None:
    count = len(words.split())
    heads = " ".join(["0", *["1"] * (count - 1)])
    assert words in spans(words, tags, heads, " ".join(["root", *["flat"] * (count - 1)]))


@pytest.mark.parametrize(
    ("text", "cluster", "main", "expected"),
    [
        ("Chris and Donald wish to stay . Chris and Donald eat", [(0, 4), (7, 10)], (7, 10), None),
        ("Anna eats . Anna Smith sings", [(0, 1), (3, 5)], (0, 1), None),
        ("Anna eats . She sings", [(0, 1), (3, 4)], (0, 1), "Anna eats . Anna sings"),
    ],
)
def test_no_word_is_lost_where_a_mention_says_more_than_the_main_one(
    text: str, cluster: list[tuple[int, int]], main: tuple[int, int], expected: str | None
) -> None:
    words = text.split()
    blanks = [" "] * (len(words) - 1) + [""]
    assert replaced(words, blanks, [cluster], [main]) == (expected or text)
