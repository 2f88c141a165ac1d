"""Yes/no questions that name one value of a fact, a name or a number above all, which is so or is not."""

from __future__ import annotations

import re
from typing import Final

from convai.text.compose.changes import changed
from convai.text.compose.forms import fields, fill, sentences
from convai.text.compose.own_words import pronouns
from convai.text.compose.people import Trait
from convai.text.compose.person import to_you
from convai.text.compose.scene import AskedTrait, DialogueDraft
from convai.text.compose.story_files import Exchange

_ONESELF: Final = frozenset(("name", "age", "job", "city", "birthday"))
"""Slots that "not me" can deny."""


def check_value(scene: DialogueDraft, *, partner: bool, true: bool) -> Exchange | None:
    """The value of one field is asked for: of the agent's facts, or of what the partner told."""
    if partner:
        facts = [t.fact for t in scene.told.values() if t.at < scene.number]
    else:
        facts = list(scene.agent.facts.values())
    able = [
        (fact, head)
        for fact in facts
        for head in scene.world.checks
        if head.split()[0] == fact.slot
        and head.split()[1] in fact.values
        and f"{head} {partner}" not in scene.used
    ]
    if not able:
        return None
    fact, head = scene.rng.choice(able)
    scene.used.add(f"{head} {partner}")
    field = head.split()[1]
    other = fact if true else changed(scene, fact, field)
    values = fact.values | {"other": other.values[field]} | _pronouns(fact)
    asks = _usable(scene.world.checks[head]["ask"], values)
    clauses = _usable(scene.world.checks[head]["yes" if true else "no"], values)
    if partner:
        asks = [ask for ask in asks if not re.search(r"\bI\b", ask)]
    if not asks or not clauses:
        return None
    question = AskedTrait(fill(scene.fresh(asks), values), "", [])
    clause = fill(scene.rng.choice(clauses), values)
    said = scene.wrapped("plain check", question, swap=partner)
    if not partner:
        scene.said_about.add(fact.slot)
        no = "no" if fact.slot in _ONESELF else "plain no"
        return said, scene.statement("yes" if true else no, clause)
    clause = to_you(clause)
    part = "recalled.yes" if true else "recalled.no"
    return said, sentences(scene.form(part, {"you": clause, "You": clause[:1].upper() + clause[1:]}))


def _usable(forms: list[str], values: dict[str, str]) -> list[str]:
    return [form for form in forms if fields(form) <= values.keys()]


def _pronouns(fact: Trait) -> dict[str, str]:
    relative = next((fact.values[k] for k in ("sib", "spouse", "child") if k in fact.values), "")
    return pronouns(relative in ("sister", "wife", "girlfriend", "daughter"))
