"""What a user has told, and answers that are made up or deny it."""

from __future__ import annotations

import pytest

from convai.conversation.told import EARLIER, Told
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


@pytest.mark.parametrize(
    ("ask", "answer", "worth"),
    [
        ("Do I have a pet?", "You have a cat called Soot.", 1.0),
        ("Do I have a pet?", "Soot, your cat!", 1.0),
        ("Do I have a pet?", "You drive a lorry.", 0.5),
        ("Do I have a pet?", "I don't know, is it a cat you told me of?", 0.5),
        ("Do I have a pet?", "I have a cat called Soot.", 0.0),
        ("Do I have a pet?", "You have a parrot.", 0.0),
        ("Do you like my cat?", "You have a cat called Soot.", 0.0),
        ("What should I feed my cat?", "Your cat called Soot weaves.", 0.0),
        ("Have you a cat?", "You have a cat called Soot.", 0.0),
        ("I'm glad about my cat?", "You have a cat called Soot.", 0.0),
    ],
)
def test_an_answer_fits_that_tells_the_user_what_they_told(ask: str, answer: str, worth: float) -> None:
    assert told("I drive a lorry.", "Oh!", *CAT, ask).fitting(answer) == worth


def test_what_was_told_last_fits_best() -> None:
    said = told(
        "My boat is called Petronella.",
        "Nice.",
        "My boat is called Magpie now.",
        "I see.",
        "What's my boat called?",
    )
    assert said.fitting("It's called Petronella.") == EARLIER < said.fitting("It's called Magpie.") == 1.0
    given = told(
        "what's my job?", given=("The user told you: i am a vet. i am a nurse.",)
    )  # the best fact first
    assert given.fitting("you're a nurse.") == EARLIER < given.fitting("you're a vet.") == 1.0


@pytest.mark.parametrize(
    ("ask", "answer", "so"),
    [
        ("What do I do for a living?", "I'm a zoo keeper.", True),
        ("What do I do for a living?", "I'm a zoo keeper. What about you?", True),
        ("What do I do for a living?", "I'm a zoo keeper, and you are a vet.", False),
        ("What do I do for a living?", "I don't know, sorry.", False),
        ("What do I do for a living?", "A vet.", False),
        ("What do you do for a living?", "I'm a zoo keeper.", False),
        ("Would you like my cat?", "I'd love it.", False),
    ],
)
def test_an_answer_is_of_its_speaker_where_the_user_asked_about_themselves(
    ask: str, answer: str, so: bool
) -> None:
    assert told(ask).of_itself(answer) is so
