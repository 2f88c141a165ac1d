"""What somebody says in passing of themselves and of their world, kept as it was said.

Plain statements (`statements`, `durable`) are what a memory can compare and correct. People tell most things
otherwise: "purple, always purple", "nope, no car, failed the test three times". Whatever a turn tells, and no
statement of it has, is a remark: its sentences in their own words, without questions, commands, what is about
the listener, and the weather. Whether one matters is decided when somebody asks (`recalling`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from typing import Final

from convai.conversation.memory.lasting_words import DATED, PASSING
from convai.conversation.memory.statements import (
    CORRECTS,
    MOST_READ,
    spaced,
    unquoted_sentences,
    without_lead,
)
from convai.text.claims.words import EMPTY, lemma, normal

WORDS: Final = 40
"""Words of a remark at most; a longer turn makes several."""
CHARACTERS: Final = 280
"""Characters of one."""
MOST: Final = 4
"""Remarks of a turn."""
_FEWEST: Final = 2
"""Words with content that a remark has at least, beside what the turn's statements say already."""

_OWN: Final = re.compile(
    r"\b(?:i|i'm|im|i've|ive|i'd|i'll|my|me|mine|we|we're|we've|our|us|ours)\b", re.IGNORECASE
)
_LISTENER: Final = re.compile(
    r"\b(?:you|you're|your|yours|u|ur|yourself|you've|you'd|you'll)\b", re.IGNORECASE
)
_CLAUSE: Final = re.compile(
    r"\s*[,;:()]\s*|\s+[-–—]+\s+|\.\.+\s*|…\s*|,?\s+(?:but|and|because|so)\s+", re.IGNORECASE
)
_OF_THINGS: Final = re.compile(
    r"(?:it|it's|its|that|that's|thats|this|these|those|what|how|such)\b|there(?:'s|s)?\b(?!.*\d)",
    re.IGNORECASE,
)
"""How what is about the moment, or about what was just said, begins, unless it has the speaker in it."""
_GOES_ON: Final = re.compile(
    r"(?:he|she|they|it|his|her|their|its|he's|she's|they're|it's|because|cause|cos|since)\b", re.IGNORECASE
)
"""How a sentence begins that cannot be read without the one before it."""
_PUT_RIGHT: Final = re.compile(
    r"(?:it|that|they)(?: is|'s|s| are|'re|re) (?:[\w']+ ){0,3}[\w']+,? not (?:[\w']+ ){0,3}[\w']+\W*$",
    re.IGNORECASE,
)
"""One thing in the place of another: "it's kos, not crete"."""
_OF_SOMEBODY: Final = re.compile(r"\b(?:he|she|his|her|he's|she's|hes|shes)\b", re.IGNORECASE)
"""Whom a sentence tells of that begins like one about things: "that'd be Niamh, she's a nurse"."""
_COMMAND: Final = re.compile(
    r"(?!(?:please )?(?:(?:don't|dont|do not) (?:ever )?|never )(?:serve|give|offer|feed|cook|"
    r"buy|make|get|send|put) (?:me|us)\b)"  # what is not to be served is disliked
    r"(?:please |just |now )*(?:tell|give|let|say|show|wait|stop|help|ask|imagine|think|remind|write|"
    r"describe|explain|talk|try|remember|listen|look|pretend|ignore|forget|sing|play (?:me|us)|"
    r"(?:don't|dont|do not) (?!get|have|like|do|drink|eat|know|own|drive|smoke|really|actually))\b",
    re.IGNORECASE,
)
_ASKED: Final = re.compile(
    r"(?:who|what|what's|where|when|why|how|which|whose|do|does|did|is|are|was|were|can|could|will|would|"
    r"should|have|has|am|any|and|or|really|right|ok)\b",
    re.IGNORECASE,
)
_OF_TODAY: Final = re.compile(
    r"\b(?:today|tonight|yesterday|just now|this (?:morning|evening|afternoon|minute)|last night)\b"
)
CHANGED: Final = re.compile(
    r"\b(?:instead|no longer|no more|any ?more|not .* now|moved|quit|sold|gave up|given up|gone|off|"
    r"over|finished|done with|cancell?ed|put back|pushed|shifted|postponed|changed|binned|switched|"
    r"swapped|dropped|let (?:me|him|her) go|left|lost|stopped|split|ended|scrap(?:ped)?|scratch|"
    r"paid (?:\w+ )*back|made (?:it )?up|sacked|fired|closed|died|retired|broke up|fixed|healed|"
    r"got rid|gave (?:it|him|her|them) (?:up|away)|ditched|traded|turned into|rather than)\b"
)
"""Words by which something ends or becomes otherwise."""
_SMALL: Final = frozenset(
    """hi hello hey yeah yes yep yup nope nah oh ah ok okay thanks thank cheers bye lol haha hehe wow cool
    please sorry sure maybe guess think know mean say said tell told talk chat thing stuff kind sort something
    anything nothing everything someone anyone everyone one ones goodbye night morning evening afternoon today
    tonight tomorrow yesterday soon later again back more most else than too let get got go going gone come
    make made take see look like want need feel try way lot really honestly actually anyway basically
    literally totally though tho tbh btw god gosh damn welcome indeed true funny fun interesting wonder hope
    sound sounds agree understand idea question answer point reason weather rain raining sunny snow what who
    which where when why how because bc cause until while about around over into from by up down out off own
    just even ever still yet must should would might cool bad better best worse worst ask wake woke stop
    believe worry mind wait happen laugh joke glad moment minute second hour lunch dinner breakfast""".split()
)
"""Words that say nothing of somebody's life by themselves."""


def remarks(text: str, stated: Sequence[str] = ()) -> list[str]:
    """The remarks in a turn, in order. `stated`: the statements of it that are kept anyway."""
    known = {word for one in stated for word in telling(one)}
    found: list[str] = []
    passage: list[str] = []
    for sentence in _sentences(text):
        if passage and not _fits(" ".join(passage), sentence):
            found += _kept(passage, known)
            passage = []
        passage.append(sentence)
    return [*found, *_kept(passage, known)][:MOST]


def _kept(passage: list[str], known: set[str]) -> list[str]:
    """The passage, from the first sentence to the last that says more than is `known`; nothing if none."""
    more = [len(telling(sentence) - known) for sentence in passage]
    if sum(more) < _FEWEST:
        return []
    first = next(at for at, count in enumerate(more) if count)
    last = max(at for at, count in enumerate(more) if count)
    while first and _GOES_ON.match(passage[first]):
        first -= 1
    text = " ".join(passage[first : last + 1])
    return [text] if len(text) <= CHARACTERS else []


def _fits(passage: str, more: str) -> bool:
    whole = f"{passage} {more}"
    return len(whole) <= CHARACTERS and len(whole.split()) <= WORDS


def _sentences(text: str) -> Iterator[str]:
    """The sentences that may tell something, each with a full stop; a question that the speaker answers is
    joined with its answer.
    """
    asked = ""
    for sentence in unquoted_sentences(spaced(text[:MOST_READ]), short=True):
        plain = sentence.strip()
        if plain.rstrip(")\"' !").endswith("?"):
            begun = without_lead(plain)
            open = not _LISTENER.search(begun) and not _ASKED.match(begun)
            # "purple?", and of "needles are fine, but moths?" the last clause
            open &= len(re.split(r"[,;] | but ", begun)[-1].split()) <= 5
            asked = plain if open else ""
            continue
        told = _told(plain)
        puts_right = CORRECTS.search(told) or _PUT_RIGHT.match(told)
        if told and (asked or puts_right or not _of_the_moment(without_lead(told))):
            yield f"{asked} {told}".strip()
        asked = ""


def _of_the_moment(plain: str) -> bool:
    """Whether a sentence is a command, about a thing at hand, or of today alone."""
    if _COMMAND.match(plain) or (
        _OF_THINGS.match(plain) and not _OWN.search(plain) and not _OF_SOMEBODY.search(plain)
    ):
        return True
    small = plain.lower()
    lasts = DATED.search(small) or CHANGED.search(small) or re.search(r"\d", small)
    return bool(_OF_TODAY.search(small)) and not lasts


def _told(sentence: str) -> str:
    """The sentence, with a full stop, without clauses about the listener alone; nothing where all are."""
    if _LISTENER.search(sentence):
        parts = [part for part in _CLAUSE.split(sentence) if part and not _of_listener(part)]
        sentence = ", ".join(part.strip(" .!") for part in parts)
    return sentence if not sentence or sentence[-1] in ".!" else f"{sentence}."


def _of_listener(clause: str) -> bool:
    own, listener = _OWN.search(clause), _LISTENER.search(clause)
    return listener is not None and (own is None or own.start() > listener.start())


def without(text: str, words: Set[str]) -> str:
    """A remark without its clauses that have one of the telling `words`; nothing where little is left."""
    parts = [part.strip(" .!") for part in re.split(rf"{_CLAUSE.pattern}|(?<=[.!?])\s+", text) if part]
    kept = [part for part in parts if part and not telling(part) & words]
    if len(kept) == len(parts) or sum(len(telling(part)) for part in kept) < _FEWEST:
        return ""
    return ", ".join(kept) + "."


def telling(text: str) -> set[str]:
    """The words of a text that tell something, in their plain form."""
    words = re.findall(r"[^\W_]+", normal(text))
    return {
        lemma(word)
        for word in words
        if (len(word) > 1 or word.isdigit())  # "marathon's": its "s" tells nothing
        and word not in EMPTY
        and word not in _SMALL
        and word not in PASSING
    }
