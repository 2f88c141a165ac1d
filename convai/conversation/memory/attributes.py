"""What a fact is about, so that one told anew takes the place of the old one: attributes and their values.

The claims are those that find contradictions (`convai.text.claims`), read of the speaker and, in the same
way, of whoever is the speaker's: "my sister moved to quito" is a claim on where the sister lives. Changes
("moved to", "quit", "got married") are claims on how things are since.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from convai.conversation.memory.lasting_words import PEOPLE
from convai.text.claims.claim import Claim
from convai.text.claims.opposed import opposed
from convai.text.claims.reading import claims
from convai.text.claims.words import content, lemma, normal

SELF: Final = ""
"""The subject of claims on the speaker."""

_CHANGES: Final = tuple(
    (re.compile(pattern), anew)
    for pattern, anew in (
        (
            r"\bi (?:just |have |have just |recently )*(?:moved|relocated|have moved)(?: back)?(?: here)? "
            r"to (?:live in )?(.+)",
            r"i live in \1",
        ),
        (
            r"\bi (?:just |have |recently )*(?:started|began)(?: working| a (?:new )?job)? as (an? .+)",
            r"i am \1",
        ),
        (r"\bi (?:just |have |recently )*got (?:a|another) (?:new )?job as (an? .+)", r"i am \1"),
        (r"\bi (?:just |have |recently )*(?:became|have become) (an? .+)", r"i am \1"),
        (r"\bi (?:work|am working) now as (an? .+)", r"i am \1"),
        (r"\bi (?:earn my money|make my living) as (an? .+)", r"i am \1"),
        (r"\bi have a job as (an? .+)", r"i am \1"),
        (r"\bi have been (an? .+?) (?:for|since) .*", r"i am \1"),
        (r"\bi (?:just )?(?:got|am getting|have got|am now) married\b.*", r"i am married"),
        (r"\bi (?:just )?(?:got|am getting) divorced\b.*", r"i am divorced"),
        (
            r"\b(?:my home is|home for me is|my house is|my flat is|i have (?:a|an) (?:\w+ )?(?:flat|"
            r"apartment|house|home)|i am (?:living|based|located)|"
            r"i have lived|i have been living|i reside) in (.+)",
            r"i live in \1",
        ),
        (
            r"\bi (?:just )?(?:sold|lost|gave away) my (car|truck|motorcycle|boat|bike|house|dog|cat|"
            r"horse)\b.*",
            r"i have no \1",
        ),
        (
            r"\bmy (dog|cat|horse|rabbit|hamster|parrot|snake|fish|turtle)(?: \w+)? (?:died|passed away|"
            r"ran away)\b.*",
            r"i have no \1",
        ),
        (r"\bi (?:just )?(?:quit|gave up|stopped) ([a-z]+ing)\b(.*)", r"i do not \1\2"),
        (r"\bi do not (\w+ing)\b", r"i never \1"),
        (r"\bi (?:can not|do not) (\w+) (.*?)(?: any ?more)\b", r"i do not \1 \2"),
        (r"\bi am no longer (.*)", r"i am not \1"),
        (r"\bi no longer (.*)", r"i do not \1"),
        (r"\bi (?:once |have |also )*(?:lived|worked|studied|taught)\b", r"i once stayed"),
        (r"\bi am called (\w+)", r"my name is \1"),
    )
)
"""A change → the claim on how things are since."""
_TAIL: Final = re.compile(
    r"\s*(?:,|\b(?:now|last (?:year|month|week|summer|winter|spring|fall)|this (?:year|month)|"
    r"(?:a|two|three|\d+|few) (?:few )?(?:years?|months?|weeks?|days?) ago|recently|these days|currently|"
    r"instead|after all|"
    r"any ?more|since .*|by the way|not .*|for (?:work|my job|school|love|\d+ years|years|many years).*|"
    r"with my .*|"
    r"in (?:january|february|march|april|may|june|july|august|september|october|november|december|"
    r"\d{4}).*))+\s*$"
)
_RELATED: Final = re.compile(
    r"my ((?:[a-z-]+ ){0,2}?)([a-z-]+?)((?: [a-z]+)?) (is|was|has|lives|works|plays|loves|likes|hates|"
    r"moved|teaches|studies|drives|speaks|owns|"
    r"just moved|started|just started|became|got|died|passed)\b (.+)"
)
_SINGLES: Final = (
    (re.compile(r"\bmy birthday is (?:in |on )?(.*)"), "birthday"),
    (
        re.compile(
            r"\bi (?:drive|have|own|bought|just bought) (?:an? )?(?:\w+ )?(mustang|jeep|toyota|honda|ford|"
            r"tesla|bmw|audi|fiat|volvo|subaru|chevy|beetle)\b"
        ),
        "drive",
    ),
    (re.compile(r"\bmy ([a-z]+)(?:'s)? name is ([a-z]+)"), "name of {1}"),
    (re.compile(r"\bi have an? (?:[a-z]+ )?([a-z]+) (?:named|called) ([a-z]+)"), "name of {1}"),
    (
        re.compile(
            r"\bi (?:play|am learning|learn) (?:the )?(guitar|piano|violin|cello|flute|drums|trumpet|harp|"
            r"banjo|saxophone|accordion)\b"
        ),
        "instrument",
    ),
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """A claim on `subject`: SELF, or who it is of the speaker's ("sister", "dog rex")."""

    subject: str
    claim: Claim


@lru_cache(16384)
def attributes(text: str) -> tuple[Attribute, ...]:
    """The attributes that a fact is about; none where the rules read none."""
    plain = _TAIL.sub("", normal(text).rstrip(" .!"))
    found = [Attribute(SELF, claim) for claim in _claims(plain)]
    for pattern, slot in _SINGLES:
        if match := pattern.search(plain):
            groups = [group for group in match.groups() if group]
            value = frozenset(groups[-1:]) if "{1}" in slot or slot == "instrument" else content(groups[-1])
            found.append(Attribute(SELF, Claim(slot.format("", lemma(groups[0])), value)))
    if related := _RELATED.match(plain):
        subject = _subject(related[1], related[2], related[3])
        if subject:
            verb = {"is": "am", "has": "have"}.get(related[4], related[4])
            verb = lemma(verb) if verb.endswith("s") and verb not in ("was",) else verb
            found += [Attribute(subject, claim) for claim in _claims(f"i {verb} {related[5]}")]
    return tuple(dict.fromkeys(found))


def _claims(plain: str) -> list[Claim]:
    anew = plain
    for pattern, changed in _CHANGES:
        anew = pattern.sub(changed, anew)
    return claims(anew, others=False)


def _subject(before: str, noun: str, name: str) -> str:
    words = [
        word
        for word in before.split()
        if word not in ("older", "younger", "big", "little", "dear", "old", "twin", "best", "lovely")
    ]
    noun = lemma({"mom": "mother", "mum": "mother", "dad": "father"}.get(noun, noun))
    if noun not in PEOPLE and not any(lemma(word) in PEOPLE for word in words):
        return ""
    if words and lemma(words[-1]) in PEOPLE and noun not in PEOPLE:  # "my sister ann"
        noun, name = lemma(words.pop()), noun
    return " ".join(filter(None, (noun, name.strip())))


_ALONE: Final = ("live", "job", "age", "name", "married", "from", "birthday")
"""Slots whose value says it all, however it is put."""


def takes_place_of(new: str, old: str, *, corrects: bool = False) -> bool:
    """Whether the fact `new` makes `old` untrue: the same attribute of the same one, with another value.

    `corrects`: it was put as a correction, so that "my sister" may be "my sister ann", and jobs and tastes
    are compared by their kind alone.
    """
    for one in attributes(new):
        for other in attributes(old):
            if not _same_subject(one.subject, other.subject, corrects):
                continue
            if opposed(one.claim, other.claim):
                return True
            if corrects and _same_slot(one.claim, other.claim):
                return True
    return False


def _same_subject(one: str, other: str, corrects: bool) -> bool:
    if one == other:
        return True
    return corrects and bool(one and other) and (one.startswith(other + " ") or other.startswith(one + " "))


def _same_slot(one: Claim, other: Claim) -> bool:
    """Whether two claims give one thing two values: "i play the harp", "no, i play the flute"."""
    if one.slot != other.slot or not (one.holds and other.holds) or one.value == other.value:
        return False
    return one.slot in (
        "do play",
        "do drive",
        "do study",
        "do teach",
        "do speak",
        "instrument",
        "allergic",
        "do collect",
    )


def same(new: str, old: str) -> bool:
    """Whether two facts say the same: equal words, or one value of one attribute with little else said."""
    one, other = content(normal(new)), content(normal(old))
    if one == other:
        return True
    mine = {attribute for attribute in attributes(new) if attribute.claim.slot in _ALONE}
    theirs = {attribute for attribute in attributes(old) if attribute.claim.slot in _ALONE}
    return bool(mine) and mine == theirs and len(one ^ other) <= 2
