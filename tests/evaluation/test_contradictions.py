"""Contradictions: which claims are read, which go together, and what the check does on labelled pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convai.core import resources
from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.core.errors import DataError
from convai.evaluation.contradictions import (
    LabelledPair,
    contradictions,
    opposed,
    read_pairs,
    score_rules,
)
from convai.evaluation.report import contradiction_lines
from convai.text.claims.reading import Claim, claims
from convai.text.claims.words import content, lemma, normal


def claim(slot: str, *values: str, holds: bool = True) -> Claim:
    return Claim(slot, frozenset(values), holds)


@pytest.mark.parametrize(
    ("text", "ask", "wanted"),
    [
        ("I'm 25 years old.", "", claim("age", "25")),
        ("i have two dogs and a cat.", "", claim("has dog", "2")),
        ("i have two dogs and a cat.", "", claim("has cat", "some")),
        ("no, i don't have any pets", "", claim("has pet", "0")),
        ("no.", "do you have a dog?", claim("has dog", "some", holds=False)),
        ("yes!", "Do you like snow?", claim("do like", "snow")),
        ("i can't stand olives.", "", claim("do like", "olive", holds=False)),
        ("i can not swim.", "", claim("do swim", holds=False)),
        ("i work as a crane operator.", "", claim("job", "crane", "operator")),
        ("i live in a small town in ohio.", "", claim("live", "ohio")),
        ("my wife is a pilot.", "", claim("married", "yes")),
        ("my dog is called max.", "", claim("name of dog", "max")),
        ("four, they keep me busy.", "how many cats do you have?", claim("has cat", "4")),
        ("i'm a vegan.", "", claim("do eat", "meat", holds=False)),
    ],
)
def test_plain_wording_is_read(text: str, ask: str, wanted: Claim) -> None:
    assert wanted in claims(text, ask)


@pytest.mark.parametrize(
    "text",
    [
        "do you have a dog?",
        "i used to have a dog.",
        "i wish i had a dog",
        "i would like a dog",
        "all the things i do not like",
        "i hate it.",
        "she has a dog.",
    ],
)
def test_what_is_asked_wished_past_or_unclear_is_not_read(text: str) -> None:
    assert claims(text) == []


@pytest.mark.parametrize(
    ("one", "other", "so"),
    [
        (claim("age", "25"), claim("age", "40"), True),
        (claim("age", "25"), claim("age", "25"), False),
        (claim("has dog", "2"), claim("has dog", "3"), True),
        (claim("has dog", "2"), claim("has dog", "some"), False),
        (claim("has pet", "0"), claim("has dog", "2"), True),
        (claim("has dog", "0"), claim("has pet", "some"), False),
        (claim("has dog", "some", holds=False), claim("has dog", "2"), True),
        (claim("do eat", "meat", holds=False), claim("do like", "steak"), True),
        (claim("do swim", holds=False), claim("do swim", "morning"), True),
        (claim("do like", "snow"), claim("do like", "ski"), False),
        (claim("favorite color", "blue"), claim("favorite color", "red"), True),
        (claim("favorite color", "blue"), claim("favorite food", "pizza"), False),
        (claim("lives with", "nobody"), claim("lives with", "grandmother"), True),
        (claim("be", "tall"), claim("be", "short"), True),
        (claim("job", "doctor"), claim("job", "surgeon"), False),
        (claim("allergic", "peanut"), claim("do like", "peanut", "butter"), True),
    ],
)
def test_which_claims_do_not_go_together(one: Claim, other: Claim, so: bool) -> None:
    assert opposed(one, other) is so
    assert opposed(other, one) is so


def talk(*texts: str, persona: str = "i have two dogs.") -> Dialog:
    turns = tuple(Turn((USER, AGENT)[i % 2], text) for i, text in enumerate(texts))
    return Dialog(turns, (Persona(("i have no pets.",)), Persona((persona,))))


def test_a_reply_is_held_against_persona_and_earlier_replies() -> None:
    (found,) = contradictions(talk("hi", "hello", "any pets?", "no, i don't have any pets."))
    assert (found.turn, found.said) == (3, "i have two dogs.")
    (found,) = contradictions(
        talk("how old are you?", "i'm 30.", "really?", "yes.", "so?", "i am 20 years old.")
    )
    assert (found.turn, found.said) == (5, "i'm 30.")
    (found,) = contradictions(talk("hi", "i live alone, i live with my mother."))
    assert found.said == found.reply
    assert list(contradictions(talk("i have no pets.", "i have two dogs."))) == []
    assert list(contradictions(talk("hi", "i'm not a pilot.", persona="i am married to a pilot."))) == []
    (line,) = contradiction_lines(3, talk("pets?", "i have no pets."))
    assert line.startswith("conversation 3, turn 2: ")
    assert "takes back 'i have two dogs.'" in line


def test_precision_and_recall_count_pairs() -> None:
    said = ("i have two dogs.",)
    pairs = [
        LabelledPair(said, "any pets?", "no, i have no pets.", True, "all"),
        LabelledPair(said, "any pets?", "yes, two dogs.", False, "all"),
        LabelledPair(said, "any pets?", "animals give me a rash, so never.", True, "all"),
        LabelledPair(said, "any pets?", "i have three dogs.", False, "all"),
    ]
    found = score_rules(pairs)
    assert (found["precision"], found["recall"]) == (0.5, 0.5)
    assert score_rules(pairs[1:2])["precision"] == 1.0


def test_our_own_pairs_and_how_the_check_does_on_them() -> None:
    """The second part was not looked at when the rules were written."""
    pairs = read_pairs(resources.contradictions_path())
    parts = {part: [pair for pair in pairs if pair.part == part] for part in ("tune", "test")}
    assert len(pairs) >= 198
    assert all(0.4 < sum(p.contradicts for p in of) / len(of) < 0.6 for of in parts.values())
    scores = score_rules(parts["test"])
    assert scores["precision"] > 0.9
    assert scores["recall"] > 0.7


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"persona": ["i row."], "ask": "q", "reply": "r"}, "'contradicts' must be true or false"),
        ({"persona": "i row.", "ask": "q", "reply": "r", "contradicts": True}, "make it a list"),
        ({"persona": [], "reply": "r", "contradicts": True}, "ask: expected text"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, entry: object, message: str) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps(entry) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"pairs.jsonl:1.*{message}"):
        read_pairs(file)
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="nothing in it"):
        read_pairs(file)


def test_words() -> None:
    assert normal("I\u2019m  NOT,  can't") == "i am not, can not"
    assert [lemma(w) for w in ("kids", "loves", "swimming", "went", "parties", "dresses", "two")] == [
        "child", "like", "swim", "go", "party", "dress", "2",
    ]  # fmt: skip
    assert content("the two dogs of my mother") == {"2", "dog", "mother"}
