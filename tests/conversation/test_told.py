"""What a user has told, and answers that are made up or deny it."""

from __future__ import annotations

import pytest

from convai.conversation.told import Told
from convai.core.dialog import AGENT, USER, Turn


def told(*texts: str, persona: tuple[str, ...] = (), given: tuple[str, ...] = ()) -> Told:
    return Told([Turn((USER, AGENT)[i % 2], text) for i, text in enumerate(texts)], persona, given)


CAT = ("My cat Soot weaves between my feet.", "Careful!", "Are you there?", "Yes.")


@pytest.mark.parametrize(
    ("ask", "answer", "so"),
    [
        ("What's my dog called?", "Your dog is called Tuesday.", True),
        ("What's my dog called?", "Tuesday.", True),
        ("What's my dog called?", "My dog is called Tuesday.", True),
        ("What's my dog called?", "I believe you have three.", True),
        ("What's my dog called?", "You're a roofer, right?", True),
        ("What's my dog called?", "I don't know, you haven't told me.", False),
        ("What's my dog called?", "Tell me, is it Tuesday?", False),
        ("What's my dog called?", "I'm a roofer.", False),
        ("What's my cat called?", "You said it's called Soot.", False),
        ("What's my cat called?", "Soot is weaving, you told me.", False),
        ("Tell me my name.", "You are Ann.", True),
        ("What's your cat called?", "My cat is called Tuesday.", False),
        ("I like tea.", "You like coffee.", False),
    ],
)
def test_what_is_said_of_the_user_and_was_never_told_is_made_up(ask: str, answer: str, so: bool) -> None:
    assert told(*CAT, ask).made_up(answer) is so


@pytest.mark.parametrize(
    ("ask", "answer", "so"),
    [
        ("What's my cat called?", "You haven't told me what it's called.", True),
        ("What's my cat called?", "I don't know, is it Soot?", False),
        ("What's my dog called?", "You haven't told me what it's called.", False),
        ("Why does my cat do that?", "You haven't told me why.", False),
        ("What's your cat called?", "You haven't told me that.", False),
    ],
)
def test_what_was_told_is_denied(ask: str, answer: str, so: bool) -> None:
    assert told(*CAT, ask).denied(answer) is so


def test_what_the_user_asked_tells_nothing_and_what_was_given_does() -> None:
    asked = ("Is Bea a good name?", "Yes.", "what's my name?")
    assert told(*asked).made_up("your name is bea.")
    assert not told("Make that a shandy, would you?", "Sure.", "what did i order?").made_up("A shandy.")
    assert not told(*asked, given=("The user is called Bea.",)).made_up("your name is bea.")
    assert not told(*asked, persona=("The user's name is Bea.",)).made_up("your name is bea.")
    assert told(*asked, persona=("i am bea.",)).made_up("your name is bea.")


def test_nothing_is_asked() -> None:
    assert not Told([]).of_user
    assert not told("what's my name?", "no idea.").made_up("you are ann.")
