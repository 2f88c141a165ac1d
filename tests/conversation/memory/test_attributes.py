"""Which fact takes the place of which: the same attribute of the same one, told anew."""

from __future__ import annotations

import pytest

from convai.conversation.memory.attributes import attributes, same, takes_place_of


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("i moved to oslo last year.", "i live in lima."),
        ("i live in bergen.", "i have a small flat in oslo."),
        ("i'm a baker now.", "i work as a nurse."),
        ("i got a new job as a baker.", "i am a nurse."),
        ("my sister moved to quito.", "my sister lives in lima."),
        ("my brother is a cook.", "my brother is a pilot."),
        ("i have three dogs.", "i have two dogs."),
        ("i hate olives.", "i love olives."),
        ("my name is bea.", "my name is ann."),
        ("my favorite color is teal.", "my favorite color is red."),
        ("my dog died last week.", "i have a dog named max."),
        ("my dog's name is rex.", "my dog is called max."),
        ("i got divorced.", "i am married."),
        ("i quit smoking two years ago.", "i smoke."),
        ("i am no longer a vegetarian.", "i am a vegetarian."),
        ("my birthday is on may 3.", "my birthday is on june 9."),
    ],
)
def test_what_is_told_anew_takes_the_place_of_the_old(new: str, old: str) -> None:
    assert takes_place_of(new, old)
    assert not takes_place_of(new, new)


@pytest.mark.parametrize(
    ("new", "other"),
    [
        ("i like tea.", "i like coffee."),
        ("i have a cat.", "i have two dogs."),
        ("my sister ann lives in rome.", "my sister beth lives in lima."),
        ("my brother is a cook.", "i am a pilot."),
        ("i lived in cairo for six years.", "i live in lima."),
        ("i'm moving to porto next year.", "i live in lima."),
        ("i speak polish.", "i speak french."),
    ],
)
def test_other_facts_stay(new: str, other: str) -> None:
    assert not takes_place_of(new, other)


def test_a_correction_reaches_further() -> None:
    assert not takes_place_of("i play the flute.", "i speak french.", corrects=True)
    assert takes_place_of("my sister lives in rome.", "my sister ann lives in lima.", corrects=True)
    assert not takes_place_of("my sister lives in rome.", "my sister ann lives in lima.")
    assert takes_place_of("i play the flute.", "i play the harp.", corrects=True)
    assert not takes_place_of("i play the flute.", "i play the harp.")


def test_the_same_in_other_words_is_the_same() -> None:
    assert same("I live in Oslo.", "i live in oslo")
    assert same("i am a nurse.", "i work as a nurse.")
    assert not same("i have a dog.", "i have a cat.")
    assert not same("i live in oslo.", "i live in lima.")
    assert attributes("it rains.") == ()
