"""Claims on what belongs to somebody, and on facts of their lives that are told in set phrases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from convai.text.claims.claim import Claim
from convai.text.claims.jobs import job
from convai.text.claims.states import parted_from
from convai.text.claims.words import FAMILY, HOUSING, NUMBERS, content, lemma

_NUMBER: Final = rf"(\d+|{'|'.join(NUMBERS)})"
_HOURS: Final = {"noon": "12", "midnight": "0"}
_HOUR: Final = rf"(?:half past |around |about )?(\d+|{'|'.join(NUMBERS)}|noon|midnight)\b"


def of_relations(clause: str) -> Iterator[Claim]:
    """Claims of what belongs to the speaker: "my dog is called max"."""
    yield from _of_names(clause)
    yield from _of_family(clause)
    yield from _of_days(clause)


def _of_names(clause: str) -> Iterator[Claim]:
    if name := re.search(r"\b(?:my name is|i am called|people call me|everyone calls me) ([a-z]+)", clause):
        yield Claim("name", frozenset({name[1]}))
    favorite = re.search(r"\bmy favorite ([a-z]+)(?: [a-z]+)? (?:is|are) (.*)", clause)
    if favorite:
        yield Claim(f"favorite {favorite[1]}", content(favorite[2]))
    if birthday := re.search(r"\bmy birthday is (?:in|on) (.*)", clause):
        yield Claim("birthday", content(birthday[1]))
    called = re.search(r"\bmy ([a-z ]+?)(?: is|'s name is) (?:called |named )?([a-z]+)$", clause)
    if called and called[1] != "name" and ("name is" in clause or "called" in clause or "named" in clause):
        yield Claim(f"name of {lemma(called[1].split()[-1])}", frozenset({called[2]}))


def of_others(clause: str) -> Iterator[Claim]:
    """What somebody of the speaker's does, how old they are, where they live."""
    said = re.search(rf"\bmy ({FAMILY})(?: (?!is\b|was\b|lives\b|works\b|who\b)([a-z]+))? (.*)", clause)
    if said is None:
        return
    who, name, rest = said.groups()
    if name and re.match(rf"(?:is (?:{_NUMBER}|an? )|lives (?:in|on)\b|works as\b)", rest):
        if name not in ("also", "still", "now", "actually", "just", "often"):
            yield Claim(f"name of {lemma(who)}", frozenset({name}))
    elif name:
        return
    if age := re.match(rf"is (?:now |only |just |about )?{_NUMBER}(?: years? old| now)?$", rest):
        yield Claim(f"age of {who}", frozenset({NUMBERS.get(age[1], age[1])}))
    if work := re.match(r"(?:is|works as) an? ([a-z ]+)", rest):
        if (claim := next(job(work[1]), None)) is not None:
            yield Claim(f"job of {who}", claim.value)
    if place := re.match(r"lives (?:in|on) (.*)", rest):
        if words := content(place[1]) - HOUSING:
            yield Claim(f"home of {who}", words)


def _of_family(clause: str) -> Iterator[Claim]:
    gone = re.search(r"\bmy (?:[a-z]+ )?([a-z]+) moved out", clause)
    if gone:
        if gone[1] in ("wife", "husband"):
            yield Claim("married", frozenset({"no"}))
    elif not parted_from(clause) and (
        spouse := re.search(r"\bmy (wife|husband|girlfriend|boyfriend)\b(?! (?:[a-z]+ )?was\b)", clause)
    ):
        yield Claim("partner", frozenset({spouse[1]}))
        if spouse[1] in ("wife", "husband"):
            yield Claim("married", frozenset({"yes"}))
    if mine := re.search(
        r"\bmy (?:two |three |four |\d )?(kids|children|sons?|daughters?|brothers?|sisters?)\b", clause
    ):
        yield Claim(f"has {lemma(mine[1])}", frozenset({"some"}))
    if re.search(r"\bi (?:have|was) never (?:been )?married", clause):
        yield Claim("wed", frozenset({"no"}))
    elif re.search(
        r"\bi (?:am|was|have been|got) (?:happily |once |twice )?(?:married|divorced|widowed)", clause
    ):
        yield Claim("wed", frozenset({"yes"}))
    if re.search(r"\bi (?:just )?(?:lost my job|got fired)\b", clause):
        yield Claim("works", frozenset({"no"}))
    if re.search(r"\bi (?:got|was) promoted\b|\b(?:my )?work is (?:great|good|going)", clause):
        yield Claim("works", frozenset({"yes"}))


def _of_days(clause: str) -> Iterator[Claim]:
    if grew := re.search(r"\bi grew up (?:in|on) (.*)", clause):
        yield Claim("raised", content(grew[1]))
    if age := re.search(r"\bi (?:just )?turned (\d+)", clause):
        yield Claim("age", frozenset({age[1]}))
    for slot, pattern in (
        ("rises", rf"\bi (?:usually |always )?(?:get|wake) up (?:every day )?at {_HOUR}"),
        ("beds", rf"\bi (?:usually |always )?(?:go to (?:bed|sleep) at|stay up until) {_HOUR}"),
    ):
        if hour := re.search(pattern, clause):
            yield Claim(slot, frozenset({NUMBERS.get(hour[1], _HOURS.get(hour[1], hour[1]))}))
    if never := re.search(r"\bi have never (?:even )?(?:been to|seen|visited) (.*)", clause):
        if words := content(never[1]) - {"before"}:
            yield Claim("been to", words, holds=False)
    if there := re.search(
        r"\bi (?:(?:often|always|just|usually) )?(?:go|went|have been|travel|live|was born) "
        r"(?:to|in|by|near|at) (.*)",
        clause,
    ):
        yield Claim("been to", content(there[1]))
