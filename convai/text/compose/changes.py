"""Corrections: the partner takes back what was told, and from then on the new value holds."""

from __future__ import annotations

from typing import Final

from convai.text.compose.forms import fields, fill, sentences, with_article
from convai.text.compose.people import Trait
from convai.text.compose.person import to_you
from convai.text.compose.scene import DialogueDraft, ToldTrait
from convai.text.compose.story_files import Exchange

_WITH_ARTICLE: Final = ("job", "vehicle")
_WITH_THE: Final = ("instrument", "lost")


def correct(scene: DialogueDraft) -> Exchange | None:
    """The partner takes back what was told; it will be asked about later."""
    able = [
        (slot, field)
        for slot, field in (head.split() for head in scene.world.changes if head != "any")
        if slot in scene.told
        and field in scene.told[slot].fact.values
        and f"correct {slot}" not in scene.used
    ]
    if not able:
        return None
    slot, field = scene.rng.choice(able)
    scene.used.add(f"correct {slot}")
    before = scene.told[slot].fact
    fact = changed(scene, before, field)
    clause = scene.rng.choice(scene.world.clauses(fact))
    scene.told[slot] = ToldTrait(fact, clause, scene.number)
    scene.partner.facts[slot] = fact
    scene.due.append((slot, scene.number + scene.rng.randrange(2, 10)))
    key = "dayname" if field == "day" else field
    values = fact.values | {"old": before.values[key], "say": clause}
    if field == "day":
        values["olddayname"] = before.values["dayname"]
    phrases = values | {"new": phrase(slot, fact.values[key]), "old": phrase(slot, before.values[key])}
    special = scene.rng.random() < 0.75
    said = _filled(scene, f"{slot} {field}" if special else "any", "say", values if special else phrases)
    you = {"you": to_you(scene.rng.choice(scene.world.clauses(fact)))}
    if special and scene.rng.random() < 0.55:
        reply = _filled(scene, f"{slot} {field}", "ack", values | you)
    else:
        reply = _filled(scene, "any", "ack", phrases | you)
    if reply.endswith("?"):
        scene.pending = list(scene.forms["after a correction"][""])
    return said, reply


def changed(scene: DialogueDraft, fact: Trait, field: str) -> Trait:
    """The fact with another value of one field, and what goes with it."""
    values = dict(fact.values)
    if field == "day":
        days = [day for day in scene.world.lists["days"] if day != values["day"]]
        values["day"] = scene.rng.choice(days)
        values["dayname"] = values["day"].removeprefix("on ")
        return Trait(fact.slot, values)
    other = scene.world.other(scene.rng, fact).values
    values[field] = other[field]
    if field == "city" and "country" in values:
        values["country"] = other["country"]
    return Trait(fact.slot, values)


def phrase(slot: str, value: str) -> str:
    """The value as it stands in a sentence: "a baker", "the violin", "Oslo"."""
    if slot in _WITH_ARTICLE:
        return with_article(value)
    return f"the {value}" if slot in _WITH_THE else value


def _filled(scene: DialogueDraft, part: str, kind: str, values: dict[str, str]) -> str:
    forms = [f for f in scene.world.changes[part][kind] if fields(f) <= values.keys()]
    return sentences(fill(scene.fresh(forms), values))
