"""What is told beside the network, with the embedded model, on texts that the rules are for."""

from __future__ import annotations

import numpy as np
import pytest

from convai.coref.checkpoint import load_resolver
from convai.coref.parsing.load import load_parser
from convai.coref.parsing.parse import document_of_turns
from convai.coref.resolver import CorefResolver

pytest.importorskip("spacy")


@pytest.fixture(scope="module")
def resolver() -> CorefResolver:
    return load_resolver()


@pytest.fixture(scope="module")
def nlp():
    return load_parser()


def chains(nlp, resolver: CorefResolver, *turns: str | tuple[str, str]) -> list[list[str]]:
    given = [(None, turn) if isinstance(turn, str) else turn for turn in turns]
    document, _ = document_of_turns(nlp, given)
    words = document.words()
    return [[" ".join(words[start:end]) for start, end in c] for c in resolver.resolve(document)]


@pytest.mark.parametrize(
    ("text", "linked", "apart"),
    [
        ("My sister has a dog. She loves him.", ("a dog", "him"), ("My sister", "him")),
        ("We have a cat called Tilly. She sleeps all day.", ("a cat called Tilly", "She"), ("We", "She")),
        ("My aunt saw our dog. She patted him.", ("My aunt", "She"), ("our dog", "She")),
        ("I met my new boss. They come from Peru.", ("my new boss", "They"), ("I", "They")),
        ("My boss met the boys. They smiled.", ("the boys", "They"), ("My boss", "They")),
        ("Peter and Paul are brothers. They talk.", ("Peter and Paul", "They"), ("brothers", "They")),
        ("A tall man left. A short man came. He sat.", ("A short man", "He"), ("A tall man", "He")),
        ("Before she left, Anna locked the door.", ("she", "Anna"), ("the door", "she")),
        ("Doctor helped patients. He runs. Admin writes a report.", ("Doctor", "He"), ("Doctor", "Admin")),
        ("Kate Wilson flies. Wilson is a pilot.", ("Kate Wilson", "Wilson"), ("a pilot", "Wilson")),
        (
            "The lawyer fell. He cried. The baker called. He smiled.",
            ("The baker", "He"),
            ("The lawyer", "The baker"),
        ),
        ("While he was driving, my uncle heard a noise.", ("he", "my uncle"), ("he", "my")),
        ("Kate Wilson met Tom Wilson. She smiled.", ("Kate Wilson", "She"), ("Tom Wilson", "Kate Wilson")),
        ("Mr. Kent sings. Mrs. Kent paints. She smiled.", ("Mrs. Kent", "She"), ("Mr. Kent", "Mrs. Kent")),
        ("My sister and I went home. We slept.", ("My sister and I", "We"), ("I", "We")),
        ("Laura, my best friend, left. I gave her a lamp.", ("I", "my"), ("Laura", "my")),
        (
            "The old teacher was strict. The young teacher is kind, and she tells jokes.",
            ("The young teacher", "she"),
            ("The old teacher", "she"),
        ),
        (
            "Colonel Pym met a general. The colonel bowed.",
            ("Colonel Pym", "The colonel"),
            ("a general", "The colonel"),
        ),
        (
            "Three sisters live next door. The eldest is a judge, the youngest is still at school. Tom ate. "
            "He smiled.",
            ("Tom", "He"),
            ("The eldest", "the youngest"),
        ),
        ("Tom saw www.x.org/John. He smiled.", ("Tom", "He"), ("He", "www.x.org/John")),
        ("Ida lives in Berlin. She loves that city.", ("Berlin", "that city"), ("Ida", "that city")),
        ("Professor Ahmed spoke. She was loud.", ("Professor Ahmed", "She"), ("She", "loud")),
        ("The cook fed the stallion. He kicked her.", ("the stallion", "He"), ("The cook", "He")),
        ('"You are wrong," Ann told Karl. He left.', ("You", "Karl", "He"), ("You", "Ann")),
        ("When they had slept, Ann and Karl ate soup.", ("they", "Ann and Karl"), ("they", "Ann")),
        (
            "A guard opened the gate. Another guard left. The first guard ate an egg.",
            ("A guard", "The first guard"),
            ("Another guard", "The first guard"),
        ),
        (
            "The lid of the pot rattles. Anna wants to fix it.",
            ("The lid of the pot", "it"),
            ("the pot", "it"),
        ),
        ("It snowed, but the train came. It was full.", ("the train", "It"), ("It", "full")),
        ("I met Joe, Karl and his wife.", ("Karl", "his"), ("Joe", "his")),
        ("Eva asked Ida to help her.", ("Eva", "her"), ("Ida", "her")),
        ("She wrote a book about cats. It sold well.", ("a book about cats", "It"), ("cats", "It")),
        ("The daughters love their uncle. He feeds them.", ("their uncle", "He"), ("The daughters", "He")),
    ],
)
def test_texts_of_each_kind(
    nlp, resolver: CorefResolver, text: str, linked: tuple[str, str], apart: tuple[str, str]
) -> None:
    found = chains(nlp, resolver, text)
    assert any(set(linked) <= set(chain) for chain in found), found
    assert not any(set(apart) <= set(chain) for chain in found), found


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        ("My cousin lost the key. It happens a lot.", ("the key", "It")),
        ("It rained, so the match was cancelled.", ("It", "the match")),
        ("It rained. It was cold.", ("It", "It")),
        ("My cousin called yesterday. It was late.", ("yesterday", "It")),
    ],
)
def test_it_may_be_nothing_that_was_named(
    nlp, resolver: CorefResolver, text: str, apart: tuple[str, str]
) -> None:
    found = chains(nlp, resolver, text)
    assert not any(set(apart) <= set(chain) for chain in found), found


def test_they_are_not_one_man_or_woman(nlp, resolver: CorefResolver) -> None:
    found = chains(nlp, resolver, "Laura phoned Bob. They met in Rome, and he gave her a book.")
    assert not any({"They"} <= set(chain) and set(chain) & {"Laura", "Bob", "he", "her"} for chain in found)


def test_who_is_quoted_says_i(nlp, resolver: CorefResolver) -> None:
    found = chains(nlp, resolver, ("ida", 'My brother said: "I am tired."'))
    assert not any({"My", "I"} <= set(chain) for chain in found)
    assert any({"My brother", "I"} <= set(chain) for chain in found)


def test_his_is_somebody_else_than_what_he_has(nlp, resolver: CorefResolver) -> None:
    found = chains(nlp, resolver, "Tom called. His best friend is called Leo. Leo lives abroad.")
    assert not any({"His", "His best friend"} <= set(chain) for chain in found)
    assert any({"His best friend", "Leo"} <= set(chain) for chain in found)


def test_you_is_who_is_spoken_to(nlp, resolver: CorefResolver) -> None:
    found = chains(nlp, resolver, ("sam", "Can you help me?"), ("pat", "Yes, what do you need?"))
    assert ["me", "you"] in found
    assert ["you", "you"] not in found


def test_what_cannot_be_keeps_out_of_the_whole_chain(nlp, resolver: CorefResolver) -> None:
    found = chains(nlp, resolver, "A tall man left. He was old. A short man came. The short man sat down.")
    assert not any({"A tall man", "The short man"} <= set(chain) for chain in found)


def test_scores_without_pairs_and_what_is_given_stay_as_they_are(nlp, resolver: CorefResolver) -> None:
    document, _ = document_of_turns(nlp, [(None, "Anna has a dog. She loves him. It barks, they say.")])
    seen = []
    rules = resolver.rules

    class Watched:
        def corrected(self, table, first, pairs, scores, alone):
            before = scores.copy(), alone.copy()
            out = rules.corrected(table, first, pairs, scores, alone)
            assert np.array_equal(scores, before[0])
            assert np.array_equal(alone, before[1])
            seen.append(out)
            return out

    resolver.rules = Watched()  # type: ignore[assignment]
    try:
        resolver.resolve(document)
    finally:
        resolver.rules = rules
    [(scores, alone)] = seen
    assert not np.isnan(scores).any()
    assert np.isfinite(alone).all()
