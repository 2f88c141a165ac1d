"""Two facts of one matter: the later is told to who asks, the earlier stays for what only it tells."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from convai.conversation.memory.facts import OpenShelf
from convai.conversation.memory.memory import Memory
from convai.conversation.memory.recalling import lines
from convai.conversation.memory.sentences import embedded_sentences
from convai.conversation.memory.succession import of_now, tells_anew
from convai.core.dialog import AGENT, USER, Turn


def held(memory: Memory, ask: str) -> Iterator[str]:
    turns = [Turn(USER, "hello!"), Turn(AGENT, "Hi!"), Turn(USER, ask)]
    return lines(memory.recall("ann", turns, conversation="later"))


@pytest.fixture(scope="module")
def memory() -> Memory:
    made = Memory(OpenShelf(), embed=embedded_sentences)
    for number, said in enumerate(
        (
            "there's a nephew, Ravi, he's seven and paints dinosaurs",
            "the kiln is in a shed behind my flat in Ghent",
            "Ravi is eight already, how time flies",
            "the kiln's gone, sold to a school",
        )
    ):
        made.learn("ann", [Turn(USER, said)], conversation="first", message=str(number))
    return made


@pytest.mark.parametrize(
    ("ask", "told", "outdated"),
    [
        ("how old is Ravi?", "eight already", "seven"),
        ("do i still have the kiln?", "sold to a school", "behind my flat"),
    ],
)
def test_who_asks_is_told_the_later_one_alone(memory: Memory, ask: str, told: str, outdated: str) -> None:
    text = " ".join(held(memory, ask))
    assert told in text
    assert outdated not in text


def test_what_only_the_earlier_one_tells_is_found(memory: Memory) -> None:
    assert "dinosaurs" in " ".join(held(memory, "who paints dinosaurs?"))
    assert all(fact.current for fact in memory.facts("ann", history=True))


@pytest.mark.parametrize(
    ("new", "old", "near", "right"),
    [
        ("the choir moved to fridays", "choir is on mondays", 0.5, True),
        ("the choir moved to fridays", "choir is on mondays", 0.2, False),  # far
        ("i sing in the choir", "choir is on mondays", 0.6, False),  # nothing says that it is news
        ("the choir moved to fridays", "i work on mondays", 0.5, False),  # no word in common
    ],
)
def test_it_takes_a_word_in_common_nearness_and_news(new: str, old: str, near: float, right: bool) -> None:
    assert tells_anew(new, old, near) is right


def test_a_question_may_ask_how_things_are_now() -> None:
    assert of_now("do i still have a boat?") > of_now("what was my boat called?") == 1
