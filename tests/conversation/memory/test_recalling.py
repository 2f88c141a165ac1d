"""What is recalled: the right facts, bounded, and the same at the same place, so that prompts stay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from convai.conversation.memory.facts import OpenShelf, new_fact
from convai.conversation.memory.index import Index
from convai.conversation.memory.memory import Memory
from convai.conversation.memory.recalling import (
    A_QUESTION,
    A_TURN,
    ALWAYS,
    AN_OTHER,
    BLOCK,
    FRESH,
    Recalled,
    Remembered,
    lines,
)
from convai.conversation.memory.sentences import embedded_sentences
from convai.conversation.memory.vectors import Embed, Floats
from convai.core import resources
from convai.core.dialog import AGENT, USER, Turn
from convai.evaluation.memory import read_told, tell_and_ask

FACTS = (
    "my name is Marta.",
    "i live in Bergen.",
    "i have a parrot named Gustav.",
    "i play the cello.",
    "i love horror movies.",
    "my shoe size is 47.",
)


def known(*more: str) -> Remembered:
    return Remembered([new_fact(text) for text in (*FACTS, *more)], None)


def talk(*said: str) -> list[Turn]:
    return [turn for text in said for turn in (Turn(USER, text), Turn(AGENT, "ok."))][:-1]


def called(found: list[Recalled]) -> dict[int | None, list[str]]:
    return {one.turn: [fact.text for fact in one.facts] for one in found}


def test_what_a_message_calls_for_is_recalled_and_the_core_always() -> None:
    found = called(known().recalled(talk("hi", "which instrument do i play?"), 3, ""))
    assert found[None] == ["my name is Marta.", "i live in Bergen."]
    assert found[2][0] == "i play the cello."
    assert 0 not in found
    assert called(known().recalled(talk("what's my parrot called?"), 1, ""))[0] == list(FACTS[2:3])


def test_a_conversation_that_goes_on_keeps_what_it_has() -> None:
    """Turn by turn, what stood before earlier turns stays there: only the last turn adds anything."""
    said = [
        "i went to see my parrot",
        "do i like horror movies?",
        "hm",
        "and my shoes?",
        "which instrument do i play?",
    ] * 6
    people = known()
    before: list[Recalled] = []
    for count in range(1, len(said) + 1):
        turns = talk(*said[:count])
        now = people.recalled(turns, len(turns), "")
        first = min((one.turn for one in now if one.turn is not None), default=0)
        if count > 1:
            assert [one for one in now if one.turn is None or one.turn < len(turns) - 1] == [
                one for one in before if one.turn is None or one.turn >= first
            ]
        assert now == known_again(now, turns)
        before = now


def known_again(found: list[Recalled], turns: list[Turn]) -> list[Recalled]:
    """What somebody who was not asked before recalls of the same facts."""
    by_text = {fact.text: fact for one in found for fact in one.facts}
    fresh = Remembered([by_text.get(text) or new_fact(text) for text in FACTS], None)
    return fresh.recalled(turns, len(turns), "")


def test_of_a_long_conversation_the_latest_turns_do() -> None:
    turns = talk(*["what's my parrot called?"] * 300)
    people = known()
    whole = people.recalled(turns, len(turns), "")
    assert people.recalled(turns[-400:], len(turns), "") == whole
    places = [one.turn for one in whole if one.turn is not None]
    assert len({place // BLOCK for place in places}) == len(places)  # once in a block
    assert min(places) > len(turns) - 8 * BLOCK


def test_what_was_told_in_this_conversation_is_not_told_again_until_it_is_far_back() -> None:
    fact = new_fact("i have a parrot named Gustav.", conversation="c", turn=0)
    people = Remembered([fact], None)
    turns = talk(*["what's my parrot called?"] * 40)
    found = [one.turn for one in people.recalled(turns, len(turns), "c")]
    assert found
    assert min(place for place in found if place is not None) >= FRESH
    assert called(people.recalled(turns[:1], 1, "other")) == {0: ["i have a parrot named Gustav."]}


def test_lines_are_bounded() -> None:
    many = [f"i have a parrot named bird{n}." for n in range(20)] + [
        f"my son has {n} parrots." for n in range(5)
    ]
    people = known(*many)
    asked = people.recalled(talk("what are my parrots called?"), 1, "")
    assert all(len(one.facts) <= (ALWAYS if one.turn is None else A_QUESTION) for one in asked)
    (told,) = (one for one in people.recalled(talk("my parrot talks"), 1, "") if one.turn == 0)
    assert len(told.facts) == A_TURN
    assert len(list(lines(asked))) <= ALWAYS + A_QUESTION
    assert asked[0].text.startswith("The user told you: my name is Marta. ")


def test_a_hundred_facts_of_twenty_sessions_are_there_when_they_are_asked_for() -> None:
    asked, figures = tell_and_ask(read_told(resources.memory_facts_path()), embed=embedded_sentences)
    assert figures["facts"] == 100
    assert figures["right"] >= 0.97
    assert figures["wrong"] <= 0.02
    assert figures["facts_in_prompt"] <= ALWAYS + A_QUESTION
    assert all(one.held for one in asked)


def test_facts_as_people_tell_them_are_recalled_in_other_words() -> None:
    """Files that were written before anything was looked at; the floors are what was measured, less two."""
    for which, right in (("unseen", 58), ("daily", 49), ("later", 35)):
        asked, figures = tell_and_ask(read_told(resources.memory_facts_path(which)), embed=embedded_sentences)
        assert sum(one.right for one in asked) >= right, which
        assert figures["wrong"] <= 0.04


def hot(texts: Sequence[str]) -> Floats:
    """Vectors by which tea and coffee are near, and a car is not."""
    return np.array([[1, 0] if "tea" in text or "coffee" in text else [0, 1] for text in texts], np.float32)


def test_an_index_of_words_topics_and_vectors() -> None:
    vectors = hot
    facts = ["i drink tea.", "i have a car."]
    assert not Index(facts, None, 1).scores("coffee")[1]
    near = Index(facts, vectors, 1).scores("coffee")
    assert near[0] > near[1]
    assert len(Index([], vectors, 1).scores("tea")) == 0


def test_ten_thousand_facts_are_searched_as_one_product() -> None:
    """The same scores as one by one."""
    facts = [f"i like thing{n % 700} and place{n}." for n in range(10_000)]
    index = Index(facts, None, 1)
    scores = index.scores("is there thing3 and place703?")
    assert int(scores.argmax()) == 703
    rest = sorted(np.argsort(-scores, kind="stable")[:15].tolist())
    assert rest == [n for n in range(10_000) if n % 700 == 3]


def test_without_vectors_memory_goes_on() -> None:
    def missing() -> Embed:
        from convai.core.errors import CheckpointError

        raise CheckpointError("no model here")

    memory = Memory(OpenShelf(), embed=missing)
    memory.add("ann", "i live in lima.")
    assert called(memory.recall("ann", [Turn(USER, "hi")])) == {None: ["i live in lima."]}


@pytest.mark.parametrize(
    "said",
    [
        "i deliver the post.",
        "i drive a bus.",
        "i teach maths.",
        "i fix cars.",
        "i lay bricks.",
        "i cut hair.",
        "i make cakes.",
        "i make wedding cakes.",
    ],
)
def test_what_is_done_for_a_living_is_a_job(said: str) -> None:
    people = Remembered([new_fact(text) for text in ("i have two dogs.", said, "i love tea.")], None)
    assert said in list(lines(people.recalled(talk("what do i do for a living?"), 1, "")))


@pytest.mark.parametrize("said", ["i make friends easily.", "i make mistakes.", "i make my own bread."])
def test_what_everybody_makes_is_no_job(said: str) -> None:
    people = Remembered([new_fact(text) for text in ("i have two dogs.", said, "i love tea.")], None)
    assert said not in list(lines(people.recalled(talk("what do i do for a living?"), 1, "")))


def test_beside_a_job_what_is_done_is_no_other() -> None:
    people = known("i lay bricks.", "i am a nurse.")
    assert "i lay bricks." not in list(lines(people.recalled(talk("what is my job?"), 1, "")))


def test_what_stands_above_counts_and_nothing_comes_in_its_place() -> None:
    people = Remembered([new_fact(f"my son has {n} parrots.") for n in range(3 * A_QUESTION)], None)
    ask = "what are my parrots called?"
    assert len(people.recalled(talk(ask), 1, "")[-1].facts) == A_QUESTION
    again = people.recalled([*talk(ask), Turn(AGENT, "hm."), *talk(ask)], 3, "")
    assert [len(one.facts) for one in again if one.turn is not None] == [A_QUESTION]


def test_a_question_without_the_user_calls_for_fewer() -> None:
    people = Remembered([new_fact(f"my son has {n} parrots.") for n in range(3 * A_QUESTION)], None)
    assert len(people.recalled(talk("which parrots?"), 1, "")[-1].facts) == AN_OTHER
