"""Forms are filled, and persons exchanged, with the grammar right."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.core.errors import DataError
from convai.text.compose.forms import fill, listed, read_parts, sentences, uncapitalised, with_article
from convai.text.compose.person import third_form, to_me, to_third, to_you


@pytest.mark.parametrize(
    ("noun", "article"),
    [("owl", "an"), ("baker", "a"), ("unicycle", "a"), ("uncle", "an"), ("hour", "an"), ("ukulele", "a"),
     ("8-year-old", "an"), ("18-year-old", "an"), ("80-year-old", "an"), ("9-year-old", "a"),
     ("umbrella", "an"), ("undertaker", "an"), ("usher", "an"), ("economist", "an"),
     ("European", "a"), ("one-off", "a")],
)  # fmt: skip
def test_articles(noun: str, article: str) -> None:
    assert with_article(noun) == f"{article} {noun}"


def test_forms_are_filled() -> None:
    values = {"pet": "owl", "name": "ann"}
    assert fill("I have {a pet}, {name}. {Name}!", values) == "I have an owl, ann. Ann!"
    with pytest.raises(KeyError):
        fill("{city}", values)


def test_sentences_begin_with_a_capital() -> None:
    assert sentences("well... yes!.  no? i mean it.") == "Well... Yes! No? I mean it."
    assert uncapitalised("What is it?") == "what is it?"
    assert uncapitalised("I'm not.") == "I'm not."
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b, and c"


@pytest.mark.parametrize(
    ("mine", "yours", "hers"),
    [
        ("I'm a baker", "you're a baker", "she is a baker"),
        ("I have a dog and it bit me", "you have a dog and it bit you", "she has a dog and it bit her"),
        ("I never watch the news", "you never watch the news", "she never watches the news"),
        ("I was born on a train", "you were born on a train", "she was born on a train"),
        ("I was hit and was scared", "you were hit and were scared", "she was hit and was scared"),
        ("I can't stand olives", "you can't stand olives", "she can't stand olives"),
        ("I once won a prize", "you once won a prize", "she once won a prize"),
        ("I've been away", "you've been away", "she has been away"),
    ],
)  # fmt: skip
def test_the_first_person_becomes_another(mine: str, yours: str, hers: str) -> None:
    assert to_you(mine) == yours
    assert to_third(mine, woman=True) == hers


@pytest.mark.parametrize(
    ("question", "about_me"),
    [
        ("What's your name?", "What's my name?"),
        ("Are you a baker?", "Am I a baker?"),
        ("What scares you?", "What scares me?"),
        ("Where were you born?", "Where was I born?"),
        ("You're a pilot, aren't you?", "I'm a pilot, aren't I?"),
        ("what you're called", "what I'm called"),
    ],
)
def test_a_question_turns_to_the_one_who_asks(question: str, about_me: str) -> None:
    assert to_me(question) == about_me


def test_verbs_after_she() -> None:
    assert [third_form(v) for v in ("carry", "play", "watch", "go", "miss")] == [
        "carries", "plays", "watches", "goes", "misses",
    ]  # fmt: skip


def test_a_form_under_nothing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "forms.txt"
    file.write_text("# a note\n\nhello\n")
    with pytest.raises(DataError, match=r"forms.txt:3: no \[part\]"):
        read_parts(file)
    file.write_text("[a]\none\nask:\ntwo\n")
    assert read_parts(file) == {"a": {"": ["one"], "ask": ["two"]}}
