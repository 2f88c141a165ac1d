"""Facts in their own words that have fields: relatives, rare trades, and sentences of several parts."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from convai.core.errors import DataError
from convai.text.compose.forms import fields, fill
from convai.text.compose.people import KINDS, Free, Person, alike, read_free, topics, values_of

Lists = dict[str, list[str]]
"""Values by the name of their list."""
_WOMEN: Final = ("sister", "aunt", "mother", "godmother", "niece", "cousin", "neighbour", "flatmate")
_MEN: Final = ("brother", "uncle", "father", "grandfather", "nephew", "cousin", "neighbour", "flatmate")
_ONE_OF_A_KIND: Final = frozenset(("mother", "father"))
_NEAR: Final = frozenset(("neighbour", "flatmate"))
_COUNTED: Final = re.compile(r"([a-z]+?)([2-9]?)")


@dataclass(frozen=True, slots=True)
class FactTemplate:
    """A fact with fields, and the slots of a person that it settles ("kin": it is about a relative)."""

    slots: frozenset[str]
    free: Free


def read_templates(path: Path) -> list[FactTemplate]:
    """The templates in a file of the form of free.txt. Raises DataError for one that names no slots."""
    found = []
    for free in read_free(path):
        head = re.match(r"\[([a-z ]+)\] ", free.clause)
        if head is None:
            raise DataError(f"{path}: no [slots] before {free.clause!r}; write what it settles")
        found.append(
            FactTemplate(frozenset(head[1].split()), Free(free.clause[head.end() :], free.questions))
        )
    return found


def add_own_words(
    rng: random.Random, templates: list[FactTemplate], lists: Lists, person: Person
) -> Free | None:
    """Give the person a fact from a template that goes with what is known of it; None if none was found."""
    for _ in range(8):
        template = rng.choice(templates)
        settled = template.slots - {"kin"}
        values = _values(rng, lists, template.free)
        relative = values.get("rel", "")
        if relative in ("sister", "brother"):
            settled |= {"sibling"}
        if settled & (person.facts.keys() | person.lacks | person.settled):
            continue
        if any(
            re.search(KINDS.get(slot, "$^"), free.clause, re.I) for slot in settled for free in person.free
        ):
            continue
        drawn = [v for k, v in values.items() if k not in ("rel", "he", "his", "him", "spouse", "n", "n2")]
        if any(alike(one, other) for one in drawn for other in values_of(person)):
            continue
        if any(alike(a, b) for i, a in enumerate(drawn) for b in drawn[:i]) or (
            relative in _NEAR and "city" in values
        ):
            continue
        free = Free(
            fill(template.free.clause, values),
            tuple(
                (fill(q, values), tuple(fill(a, values) for a in answers))
                for q, answers in template.free.questions
            ),
        )
        if any(topics(free) & topics(other) for other in person.free):
            continue
        person.free.append(free)
        person.settled |= settled
        return free
    return None


def pronouns(woman: bool) -> dict[str, str]:
    """The fields {he}, {his} and {him} of somebody."""
    return dict(
        zip(("he", "his", "him"), ("she", "her", "her") if woman else ("he", "his", "him"), strict=True)
    )


def source_of(field: str, woman: bool, lists: Lists) -> str:
    """The list that a field without its digit draws from: one of its own name, or its plural."""
    people = {"woman": "women", "man": "men", "name": "women" if woman else "men"}
    people |= {"spousename": people["name"], "city": "places"}
    plurals = (field, f"{field}s", f"{field[:-1]}ies")
    return people.get(field) or next(name for name in plurals if name in lists)


def _values(rng: random.Random, lists: Lists, free: Free) -> dict[str, str]:
    """A value for every field of the template."""
    woman = rng.random() < 0.5
    relatives = [
        r for r in (_WOMEN if woman else _MEN) if "{a rel}" not in free.clause or r not in _ONE_OF_A_KIND
    ]
    values = {
        "rel": rng.choice(relatives),
        "spouse": rng.choice(("wife", "girlfriend") if woman else ("husband", "boyfriend")),
    }
    values |= pronouns(woman)
    wanted = fields(free.clause).union(*(fields(t) for q, answers in free.questions for t in (q, *answers)))
    for field in sorted(wanted - values.keys()):
        match = _COUNTED.fullmatch(field)
        assert match is not None
        if match[1] == "n":
            values[field] = str(rng.randrange(2, 18))
        else:
            values[field] = rng.choice(lists[source_of(match[1], woman, lists)]).split(" | ")[0]
    return {k: v for k, v in values.items() if k in wanted}
