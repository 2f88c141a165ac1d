"""Facts that a person tells of themselves in a turn: plain statements that last, and short answers.

Pronouns are replaced by what they stand for where somebody can say it (`Resolve`; the coreference module), so
that a fact can be read without the conversation it was told in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from convai.conversation.memory.attributes import SELF, attributes
from convai.conversation.memory.durable import lasts
from convai.conversation.memory.remarks import remarks
from convai.conversation.memory.statements import CORRECTS, MOST_READ, Statement, named, statements
from convai.core.dialog import USER, Turn
from convai.text.claims.answers import answered
from convai.text.claims.words import normal

Resolve = Callable[[Sequence[Turn]], Sequence[Turn]]
"""Turns as they were understood: pronouns of the third person replaced; `LinkReader.resolved` is one."""

MOST_FACTS: Final = 8
"""Facts that are taken from one turn."""
LOOK_BACK: Final = 12
"""Turns before it that say who is meant."""
_PRONOUN: Final = re.compile(
    r"\b(?:he|she|it|they|his|her|him|them|their|its|he's|she's|they're)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Found:
    """A fact as it was told. `text`: to be read by itself; `said`: the turn's own words; `corrects`: it was
    put as a correction ("no, ...", "actually ..."). `implied`: what it is about, where it only follows from
    what was said ("i walked my dog": there is a dog). `aside`: it is a remark, in the words it was made in.
    """

    text: str
    said: str
    corrects: bool = False
    implied: str = ""
    aside: bool = False


def found_in(
    turns: Sequence[Turn], resolve: Resolve | None = None, speaker: int = USER, *, asides: bool = False
) -> list[Found]:
    """The facts in the last of `turns`, where it is the `speaker`'s; at most MOST_FACTS. With `asides`,
    what else it tells comes behind them (`remarks`).
    """
    if not turns or turns[-1].speaker != speaker:
        return []
    last = turns[-1].text[:MOST_READ]
    near = turns[-LOOK_BACK - 1 : -1]
    names = {name: who for turn in near if turn.speaker == speaker for name, who in named(turn.text).items()}
    names |= named(last)
    text = last
    if resolve is not None and _PRONOUN.search(last):
        text = resolve([*near, Turn(speaker, last)])[-1].text
    facts = []
    if near and near[-1].speaker != speaker and (answer := answered(last, near[-1].text)):
        plain = normal(answer)
        facts.append(Statement(answer, plain))
    facts += [stated for stated in statements(text, names) if lasts(stated.plain)]
    kept: dict[str, Found] = {}
    for fact in facts:
        kept.setdefault(fact.plain, Found(_sentence(fact.text), last, fact.corrects))
    found = [*kept.values(), *_implied(last, set(kept))][:MOST_FACTS]
    if not asides:
        return found
    aside = remarks(text, [one.text for one in found])
    return [*found, *(Found(one, last, bool(CORRECTS.search(one)), aside=True) for one in aside)]


_COUNT: Final = "two|three|four|five|six|seven|eight|[2-8]"
_OWNED: Final = re.compile(
    rf"\bmy ((?:(?:{_COUNT}|own|older|younger|big|little|twin|new|old|sweet|oldest|youngest|elder) ){{0,2}})"
    r"(dogs?|cats?|puppy|kitten|parrot|horses?|rabbits?|hamster|kids|children|sons?|daughters?|wife|husband|"
    r"girlfriend|boyfriend|fianc[eé]e?|brothers?|sisters?|siblings|twins|grandkids|grandchildren|grandson|"
    r"granddaughter|nieces?|nephews?)\b(?!')(?: (?:is |was )?(?:named|called) ([a-z]+))?",
    re.IGNORECASE,
)
_PLURAL: Final = re.compile(
    r"(?:dogs|cats|horses|rabbits|kids|children|sons|daughters|brothers|sisters|siblings|twins|"
    r"grandkids|grandchildren|nieces|nephews)$",
    re.IGNORECASE,
)


def _implied(text: str, stated: set[str]) -> list[Found]:
    """Whom the speaker has, where they are only mentioned."""
    found = {}
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        if sentence.endswith("?") or re.search(
            r"\b(?:if|wish|ex|late|used to|your|would)\b|[\"“”]", sentence.lower()
        ):
            continue
        for before, noun, name in _OWNED.findall(sentence):
            noun, before = (
                noun.lower(),
                " ".join(w for w in before.lower().split() if w not in ("own", "new", "old", "sweet")),
            )
            if (
                any(re.search(rf"\b{noun}\b", one) and not _may_go(one, noun) for one in stated)
                or noun in found
            ):
                continue
            plural = _PLURAL.match(noun) is not None
            count = re.match(rf"(?:{_COUNT})\b", before)
            article = "" if plural or count else ("an " if (before or noun)[0] in "aeiou" else "a ")
            called = f" named {name}" if name else ""
            found[noun] = Found(
                f"i have {article}{before + ' ' if before else ''}{noun}{called}.", text, implied=noun
            )
    return list(found.values())


def _may_go(stated: str, noun: str) -> bool:
    """Whether another fact may take the place of a statement that names somebody in passing: "i live in lima
    with my dog" is about the home.
    """
    about = attributes(stated)
    return any(one.subject == SELF for one in about) and not any(
        noun in one.claim.slot or noun in one.subject for one in about
    )


def _sentence(text: str) -> str:
    """A statement with a full stop."""
    return re.sub(r"^My\b", "my", text.strip(" ,.!?")) + "."
