"""People made up from lists of attributes: what is true of them, and how their persona reads."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from convai.text.compose.forms import fields

PERSONA_SLOTS: Final = tuple(
    """job city origin pet sibling spouse child hobby food drink colour music instrument fear dream vehicle
    dislike allergy language collection habit past subject sport season birthday age""".split()
)
_FAMILIES: Final = (
    "dog puppy greyhound dachshund labrador poodle beagle corgi collie terrier",
    "cat kitten tabby",
    "horse pony donkey",
    "turtle tortoise",
    "rat mouse",
    "parrot budgie cockatoo canary",
)
_FORBIDS: Final = {
    "child": "child|kids|daughter|\\bson\\b|twins|pregnant|father of|grandson|dad|to be a father",
    "sibling": "brother|sister|twin|only child",
    "origin": "country|from|raised|adopted|village|Korea",
    "city": "live|village|home|country|Korea",
    "dislike": "hate",
    "food": "food|eat|vegan|vegetarian|sandwich|bread|diet",
    "drink": "alcohol",
    "colour": "colour",
    "pet": "parrot|fish|pigeon|bee|dog|horse|cat|pony|animal|snake|falcon|zoo|aquarium|goat|sheep|shep|jock",
    "instrument": "music|song|band|drum|violin|piano|musician|luthier|organ|sing|opera|cello|guitar",
    "collection": "collect",
    "language": "speak|French|Korea|translat|language|linguist|interpret|Vietnam|Japan",
    "vehicle": "driv|car|motor|truck|taxi|bike|bicycle|cycl",
    "sport": "football|referee|coach|playing|tennis|ski|run|swim|sport|box|golf|climb|instructor|marathon",
    "allergy": "allerg",
    "subject": "student|university|professor",
    "hobby": "$^",
    "job": "retired|work|boss",
    "fear": "afraid|scare|phobia|faint",
    "past": "$^",
    "age": "seventy",
    "spouse": "wife|husband|wedding|married|alone|live with|father of|dad|boyfriend|girlfriend|divorc|uncle",
}


KINDS: Final = {
    "job": "work|job|teach|soldier|circus|bakery|restaurant|boss|shift|run a|sell|retire|drive|study|writer",
    "city": "live|lived|home|house|flat|village|here|pizzeria",
    "origin": "raised|come from|grow up|moved here|adopted|parents",
    "pet": "dog|cat|bees|pet|hen|horse|animal|fish|snake",
    "sibling": "brother|sister|sibling|twin|only child",
    "spouse": "wife|husband|married|divorced|single|alone|wedding",
    "child": "child|kids|daughter|son|twins|pregnant",
    "vehicle": "car|drive|ferry|plane|motorbike",
    "colour": "colour",
    "subject": "study|law",
    "food": "eat|vegetarian|cook|banana",
    "fear": "afraid|faint",
    "dislike": "hate",
    "hobby": "chess|choir|sing|dance|triathlon|football",
    "sport": "swim|triathlon|football",
    "drink": "alcohol|drink",
    "instrument": "drums|flute|bagpipes|sing",
    "collection": "$^",
    "age": "retired|thirty years|pregnant|seventy|grandson|student|twins|parents",
    "habit": "smok|sleep",
    "past": "soldier|adopted|raised",
}
"""Words by which facts in their own words are told to speak of a slot, too."""


@dataclass(frozen=True, slots=True)
class Trait:
    """Something true of a person: the slot it fills, and its values by field."""

    slot: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Free:
    """A fact in its own words: the sentence (first person, no stop), and questions with their answers."""

    clause: str
    questions: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """Ways of asking, what may be answered, and a pattern: of something said that would settle the matter."""

    asks: tuple[str, ...]
    answers: tuple[str, ...]
    settled_by: str


@dataclass(slots=True)
class Person:
    """A name, a sex for the pronouns, the facts by slot, and the slots that are certainly empty.

    `settled`: slots that a fact in its own words leaves no room for.
    """

    name: str
    woman: bool
    facts: dict[str, Trait] = field(default_factory=dict)
    lacks: set[str] = field(default_factory=set)
    free: list[Free] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)

    def mentions(self, pattern: str) -> bool:
        """Whether a value of any fact matches."""
        values = [v for fact in self.facts.values() for v in fact.values.values()]
        said = [text for free in self.free for text in (free.clause, *(q for q, _ in free.questions))]
        return any(re.search(pattern, text, re.I) for text in values + said)

    def may_lack(self, slot: str) -> bool:
        """Whether it contradicts nothing known to say that there is no such thing."""
        return (
            slot not in self.facts
            and slot not in self.settled
            and not self.mentions(_FORBIDS.get(slot, "$^"))
        )


def read_free(path: Path) -> list[Free]:
    """The facts in their own words in a file."""
    found: list[tuple[str, list[tuple[str, tuple[str, ...]]]]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("? "):
            question, _, answers = line[2:].partition(" => ")
            found[-1][1].append((question, tuple(answers.split(" / "))))
        elif line.strip() and not line.startswith("#"):
            found.append((line.strip().removesuffix("."), []))
    return [Free(clause, tuple(questions)) for clause, questions in found]


def read_unknown(path: Path) -> list[Unknown]:
    """The lines "question | question => answer / answer ! pattern" of a file."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            asks, _, rest = line.strip().partition(" => ")
            answers, _, pattern = rest.partition(" ! ")
            found.append(Unknown(tuple(asks.split(" | ")), tuple(answers.split(" / ")), pattern or "$^"))
    return found


def topics(free: Free) -> set[str]:
    """The words by which a fact in its own words is told to share its subject with another."""
    return stems(free.clause) - set("have been never work live when who that year ago".split())


def values_of(person: Person) -> list[str]:
    """The values of all facts."""
    return [v for fact in person.facts.values() for v in fact.values.values()]


def stems(text: str) -> set[str]:
    """The words of a text, small and without an "s" at the end; of an animal, also its family."""
    words = {word.rstrip("s") for word in re.findall(r"[a-z]{3,}", text.lower())}
    for family in _FAMILIES:
        if words & set(family.split()):
            words.add(family.split()[0])
    return words - set("the and old with one for year once own from was play playing".split())


def alike(one: str, other: str) -> bool:
    """Whether two values share a word."""
    return bool(stems(one) & stems(other)) or one == other


def clash(one: Trait, other: Trait) -> bool:
    """Whether two facts share a word, so that one of them may take back the other."""
    return any(alike(a, b) for a in one.values.values() for b in other.values.values())


def known(fact: Trait, clause: str) -> Trait:
    """The fact as far as the clause tells it."""
    told = {name: value for name, value in fact.values.items() if value in clause}
    if "day" in told:
        told["dayname"] = fact.values["dayname"]
    return Trait(fact.slot, told)


def usable(form: str, values: dict[str, str]) -> bool:
    """Whether every field of the form has a value."""
    return fields(form) <= values.keys()
