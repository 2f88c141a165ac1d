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


def test_signs_alone_name_nobody_and_end_no_mention() -> None:
    assert spans("😂 😂 ***", "NN NN NNP", "0 0 0", "root root root") == set()
    assert spans("$ 5", "$ CD", "0 1", "root nummod") == set()
    assert spans("| Tom | #", ": NNP : :", "2 0 2 2", "punct root dep dep") == {"Tom"}


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
        ("Anna eats her cake", [(0, 1), (2, 3)], (0, 1), "Anna eats Anna's cake"),
        ("Anna 's son saw her", [(0, 2), (4, 5)], (0, 2), "Anna 's son saw Anna"),
    ],
)
def test_no_word_is_lost_where_a_mention_says_more_than_the_main_one(
    text: str, cluster: list[tuple[int, int]], main: tuple[int, int], expected: str | None
) -> None:
    words = text.split()
    blanks = [" "] * (len(words) - 1) + [""]
    tags = ["PRP$" if word == "her" and i + 1 < len(words) else "NN" for i, word in enumerate(words)]
    assert replaced(words, blanks, tags, [cluster], [main]) == (expected or text)


def test_a_main_mention_has_the_case_of_the_place() -> None:
    words = "My dogs ate . They like their bed and the cat 's . Her bed is hers".split()
    tags = "PRP$ NNS VBD . PRP VBP PRP$ NN CC DT NN POS . PRP$ NN VBZ PRP".split()
    clusters, mains = [[(0, 2), (4, 5), (6, 7)], [(9, 12), (13, 14), (16, 17)]], [(0, 2), (9, 12)]
    found = replaced(words, [" "] * (len(words) - 1) + [""], tags, clusters, mains)
    said = "My dogs ate . My dogs like my dogs' bed and the cat 's . The cat's bed is the cat's"
    assert found == said
