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
    read_pairs,
    score_rules,
)
from convai.evaluation.report import contradiction_lines
from convai.text.claims.claim import Claim
from convai.text.claims.opposed import opposed
from convai.text.claims.reading import claims, of_persona
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
        ("i've been a monk for years.", "", claim("job", "monk")),
        ("i am thirty.", "", claim("age", "30")),
        ("i have a green car.", "", claim("has car", "some")),
        ("i never learned to cycle.", "", claim("do cycle", holds=False)),
        ("i ride my bike to work.", "", claim("do cycle", "work")),
        ("my daughter juno is seven.", "", claim("age of daughter", "7")),
        ("my daughter juno is seven.", "", claim("name of daughter", "juno")),
        ("she's twelve.", "how old is your daughter?", claim("age of daughter", "12")),
        ("he's a dentist.", "what does your husband do?", claim("job of husband", "dentist")),
        ("she lives in rome.", "where does your sister live?", claim("home of sister", "rome")),
        ("it's biscuit.", "what's your cat's name?", claim("name of cat", "biscuit")),
        ("i'm in berlin.", "where do you live?", claim("live", "berlin")),
        ("i like blue best.", "what's your favourite colour?", claim("favorite color", "blue")),
        ("around noon.", "when do you get up?", claim("rises", "12")),
        ("usually a beer.", "what do you drink?", claim("do drink", "beer")),
        ("no, it's just me.", "do you live with anyone?", claim("lives with", "nobody")),
        ("nothing!", "what are you afraid of?", claim("do fear", holds=False)),
        ("i only have one.", "how many hats do you have?", claim("has hat", "1")),
        ("i've never been married.", "", claim("wed", "no")),
        ("i have never seen the sea.", "", claim("been to", "sea", holds=False)),
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
        (claim("trade", "mend", "net"), claim("job", "pilot"), True),
        (claim("trade", "mend", "net"), claim("job", "net", "maker"), False),
        (claim("trade", "cut", "hair"), claim("job", "barber"), False),
        (claim("trade", "dive", "bell"), claim("job", "diving", "instructor"), False),
        (claim("name of cat", "max"), claim("name of dog", "max"), True),
        (claim("name of dog", "max"), claim("name of puppy", "max"), False),
        (claim("name of cat", "max"), claim("name of boss", "max"), False),
        (claim("been to", "sea", holds=False), claim("been to", "sea", "weekend"), True),
        (claim("been to", "paris"), claim("been to", "rome"), False),
        (claim("do fear", holds=False), claim("do fear", "moth"), True),
        (claim("do eat", "dairy", holds=False), claim("do have", "cheese", "omelette"), True),
        (claim("do eat", "dairy", holds=False), claim("do have", "vegan", "cheese"), False),
        (claim("do drink", "alcohol", holds=False), claim("do drink", "beer"), True),
        (claim("has car", "some", holds=False), claim("do drive", "car"), True),
        (claim("be", "shy"), claim("be", "outgo"), True),
    ],
)
def test_which_claims_do_not_go_together(one: Claim, other: Claim, so: bool) -> None:
    assert opposed(one, other) is so
    assert opposed(other, one) is so


@pytest.mark.parametrize(
    ("said", "ask", "reply", "so"),
    [
        ("I broke up with my boyfriend in May.", "Do you have a boyfriend?", "I do, he's called Duke.", True),
        ("I broke up with my boyfriend in May.", "Do you have a boyfriend?", "Yes, I do.", True),
        (
            "I broke up with my boyfriend in May.",
            "Do you have a boyfriend?",
            "No, I broke up with him in May.",
            False,
        ),
        ("My girlfriend left me.", "Are you single?", "i have a girlfriend.", True),
        ("i am left-handed.", "Which hand do you write with?", "I write with my right hand.", True),
        ("i am left-handed.", "Which hand do you write with?", "I write with my left hand.", False),
        (
            "I was a postwoman for thirty years.",
            "Are you still working as a postwoman?",
            "Yes, I am. I've been a postwoman for thirty years.",
            True,
        ),
        ("I was a postwoman for thirty years.", "what did you do?", "I was a postwoman.", False),
        (
            "I was a postwoman for thirty years.",
            "Are you still working as a postwoman?",
            "no, i keep bees now.",
            False,
        ),
        ("i am engaged to a dentist.", "are you married?", "no, i'm not.", False),
        ("i am engaged to a dentist.", "are you married?", "yes, i am.", True),
        ("i quit smoking last year.", "do you smoke?", "yes, i smoke.", True),
        ("i quit smoking last year.", "do you smoke?", "no, i quit last year.", False),
        ("i quit smoking last year.", "do you smoke?", "i don't smoke anymore.", False),
        ("my wife ines died in 2015.", "do you have a wife?", "yes, my wife is ines.", True),
        ("my wife ines died in 2015.", "what was your wife's name?", "my wife was called ines.", False),
        (
            "I never learned to ride a bike.",
            "Shall we go cycling together?",
            "That would be fun! I love cycling.",
            True,
        ),
        (
            "i used to be a boxer, now i bake bread.",
            "what do you do?",
            "i'm a boxer, but i live above my shop.",
            True,
        ),
        ("i used to be a boxer, now i bake bread.", "what do you do?", "i used to be a boxer.", False),
        (
            "i used to be a boxer, now i bake bread.",
            "what do you do?",
            "i was a boxer, now i bake bread.",
            False,
        ),
        ("i have a cat called biscuit.", "hi", "wow! i have never seen a cat before.", True),
        ("I want to be a pilot when I grow up.", "what do you do?", "i'm a pilot.", True),
        ("I want to be a pilot when I grow up.", "what do you want to be?", "i want to be a pilot.", False),
        ("i want to be a father some day.", "do you have kids?", "i'm a father of two.", True),
        ("i gave up drinking.", "what do you drink?", "i drink tea.", False),
        ("i gave up drinking.", "a beer?", "i'd love a beer, i drink beer every day.", True),
        ("i no longer eat meat.", "dinner?", "i eat meat twice a week.", True),
        ("i was a champion swimmer in my youth.", "hobbies?", "i am a swimmer.", False),
        ("i was tired yesterday.", "how are you?", "i am tired.", False),
        ("i was a bit shy as a kid.", "?", "i am a bit shy.", False),
        ("i am studying to become a nurse.", "what do you do?", "i am a nurse.", True),
        ("i am studying to become a nurse.", "what do you do?", "i study nursing.", False),
        ("i stopped working in 2010.", "do you work?", "i work as a cook.", True),
        ("i don't play football any more.", "hobbies?", "i play football on sundays.", True),
        ("i've been a nurse for ten years.", "job?", "i'm a nurse.", False),
        ("i was born in a village.", "?", "i am from a village.", False),
        ("my husband and i split up.", "are you married?", "yes, happily married.", True),
        ("i was a teacher before i retired.", "do you teach?", "i am a retired teacher.", False),
        ("i don't like tea.", "who do you like?", "i like my former boss.", False),
        ("i love playing the cello.", "do you?", "i've never played the cello before.", True),
        ("i have four brothers.", "any siblings?", "i've got four brothers.", False),
    ],
)
def test_what_is_no_more_and_what_is_not_yet(said: str, ask: str, reply: str, so: bool) -> None:
    known = [claim for _, found in of_persona([said]) for claim in found]
    assert any(opposed(one, other) for one in claims(reply, ask) for other in known) is so


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


def test_what_a_persona_does_for_a_living_is_told_by_all_of_it() -> None:
    carousels = ("i like tea.", "i repair carousels.", "i drive a milk float.")
    known = [claim for _, said in of_persona(carousels) for claim in said]

    def taken_back(reply: str) -> bool:
        return any(opposed(one, other) for one in claims(reply) for other in known)

    assert taken_back("i'm a nurse.")
    assert not any(map(taken_back, ("i'm a mechanic.", "i'm a milk man.", "i am a carousel builder.")))
    for hobby in ("i collect stamps.", "i walked the dog.", "i really like you.", "we mend nets."):
        assert not [c for _, said in of_persona((hobby,)) for c in said if c.slot == "trade"]
    named = of_persona(("i am a nurse.", "i mend nets."))
    assert not [c for _, said in named for c in said if c.slot == "trade"]


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
    parts = {
        part: [pair for pair in pairs if pair.part == part] for part in ("tune", "test", "later", "last")
    }
    assert len(pairs) >= 300
    assert all(0.4 < sum(p.contradicts for p in of) / len(of) <= 0.6 for of in parts.values())
    scores = {part: score_rules(of) for part, of in parts.items()}
    assert all(found["precision"] > 0.9 for found in scores.values())
    assert scores["test"]["recall"] > 0.85
    assert scores["later"]["recall"] > 0.85
    assert scores["last"]["recall"] > 0.5


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
