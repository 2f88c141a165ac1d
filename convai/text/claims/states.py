"""What is no more, and what is not yet: "i quit smoking", "i was a judge for years", "i want to be a pilot".

Such sentences deny what they name. They are read where the wording is plain, as all claims are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from convai.text.claims.claim import Claim
from convai.text.claims.words import content, job_words, lemma

_LOVED: Final = "wife|husband|girlfriend|boyfriend|fiance|fiancee|partner"
_PARTED: Final = re.compile(
    rf"\bi (?:have |just |recently )*(?:broke|broken|break|split|separated) (?:up )?(?:with|from) (?:my|the) "
    rf"(?:[a-z]+ )??({_LOVED})\b"
    rf"|\bmy (?:[a-z]+ )?({_LOVED}) (?:[a-z]+ )?(?:has |just )*"
    r"(?:left me|dumped me|died|passed away|is dead)\b"
    rf"|\bi (?:was |have been |got )*(?:left|dumped) by my ({_LOVED})\b"
)
_STOPPED: Final = re.compile(
    r"\bi (?:have |just |recently |finally )*(?:quit|quitted|gave up|given up|stopped) ([a-z]+ing)\b ?(.*)"
)
_NO_LONGER: Final = re.compile(r"\bi (?:no longer ([a-z]+)|do not ([a-z]+))\b ?(.*)")
_WAS: Final = re.compile(
    r"\bi (?P<how>was|used to be|used to work as|worked as|once was|had been) (?:once )?an? (?P<what>.+?)"
    r"(?P<over> (?:for|until|till|before|in) .*)?$"
)
_WILL_BE: Final = re.compile(
    r"\bi (?:(?:would (?:love|like)|want|hope|plan|dream|am (?:studying|training|learning|going)) "
    r"(?:to (?:be|become)|of (?:being|becoming))|(?:study|train) to (?:be|become)) an? ([a-z ]+?)"
    r"(?: (?:when|one day|some ?day|later|in|at|like|and|but|because|after|soon)\b.*)?$"
)
_TO_BE_WED: Final = re.compile(
    r"\bi am (?:newly )?engaged\b(?! in)|\bi am (?:getting|going to get) married\b|\bmy fiancee?\b"
)
_WHEN: Final = frozenset("year month week last ago since".split())
"""Words that say when, and not what."""


def of_states(clause: str) -> Iterator[Claim]:
    """Claims on what was so, or is to be so: each denies that it is so now."""
    if parted := parted_from(clause):
        yield Claim("partner", frozenset({parted}), holds=False)
        if parted in ("wife", "husband"):
            yield Claim("married", frozenset({"no"}))
    elif _TO_BE_WED.search(clause):
        yield Claim("married", frozenset({"no"}))
    if stopped := _STOPPED.search(clause):
        yield from _no_more(stopped[1], stopped[2])
    elif (over := _NO_LONGER.search(clause)) and (over[1] or clause.endswith("any more")):
        yield from _no_more(over[1] or over[2], over[3].removesuffix("any more"))
    if was := _WAS.search(clause):
        words = re.findall(r"[a-z]+", was["what"])
        sure = was["over"] or was["how"] != "was" or words[-1] in job_words()
        if sure and len(words) < 4 and _names_people(words[-1]):
            yield Claim("be", content(was["what"]), holds=False)
    elif coming := _WILL_BE.search(clause):
        if hoped := content(coming[1]):
            yield Claim("be", hoped, holds=False)


def parted_from(clause: str) -> str:
    """The one of wife, husband and so on whom the speaker has no more; nothing where none is named so."""
    found = _PARTED.search(clause)
    return next((group for group in found.groups() if group), "") if found else ""


def _no_more(verb: str, object_: str) -> Iterator[Claim]:
    verb = lemma(verb)
    if verb == "work":
        yield Claim("works", frozenset({"no"}))
        return
    if verb in ("have", "own", "be"):
        return
    what = content(re.split(r"\b(?:because|since|after|when)\b", object_)[0])
    what = frozenset(word for word in what if word not in _WHEN and not word.isdecimal())
    if verb == "drink" and not what:
        what = frozenset({"alcohol"})
    yield Claim(f"do {verb}", what, holds=False)


def _names_people(noun: str) -> bool:
    """Whether a noun says who somebody is: by its ending, or as a job."""
    return noun in job_words() or bool(
        re.search(r"(?:er|or|man|woman|ist|ian|ant|ess|nun|monk|boy|girl)$", noun)
    )
