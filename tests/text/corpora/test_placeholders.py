"""Placeholders that a data set's makers left are found, and taken out where nothing is lost."""

from __future__ import annotations

import pytest

from convai.core.dialog import Dialog, Persona, Turn
from convai.text.corpora.placeholders import cleaned, placeholder


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hi, I'm (user 1's name).", "(user 1's name)"),
        ("I'm [Your Name], hello", "[Your Name]"),
        ("Nice to meet you, User 2!", "User 2"),
        ("I live in {city}.", "{city}"),
        ("My name is [insert name here].", "[insert name here]"),
        ("my name is ____, and yours?", "____"),
        ("call me on [PHONE]", "[PHONE]"),
        ("i am [YOUR NAME HERE]", "[YOUR NAME HERE]"),
        ("mine is (phone number)", "(phone number)"),
        ("i live in %CITY%", "%CITY%"),
        ("dear $NAME!", "$NAME"),
        ("hello PERSON_1", "PERSON_1"),
        ("100% sure it is $5, or 10% of USA_1990", ""),
        ("hi <PERSON_2>", "<PERSON_2>"),
        ("see [B_LOCATION]!", "[B_LOCATION]"),
        ("@USER good morning", "@USER"),
        ("it is late [sic], (laughs) and a_b_c and __init__ [URGENT]", ""),
        ("my name (it is long) is Ann (and your name?)", ""),
        ("two users, one name", ""),
    ],
)
def test_what_is_a_placeholder(text: str, found: str) -> None:
    assert placeholder(text) == found


def test_roles_are_taken_out_and_holes_are_left_out() -> None:
    persona = Persona(("i like tea.", "[user 1]"))
    dialog = Dialog(
        (Turn(0, "User 1: hi  there"), Turn(1, "your (user 1) tea, please")), (persona, Persona())
    )
    clean = cleaned(dialog)
    assert clean
    assert [turn.text for turn in clean.turns] == ["hi there", "your tea, please"]
    assert clean.personas[0].sentences == ("i like tea.",)
    assert cleaned(clean) == clean
    assert cleaned(Dialog((Turn(0, "hi"), Turn(1, "i'm (user 2's name)")))) is None
    assert cleaned(Dialog((Turn(0, "hi"), Turn(1, "(user 2)")))) is None
