"""Facts that a person tells of themselves in a turn: plain statements that last, and short answers.

Pronouns are replaced by what they stand for where somebody can say it (`Resolve`; the coreference module), so
that a fact can be read without the conversation it was told in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from convai.conversation.memory.answers import answered
from convai.conversation.memory.durable import lasts
from convai.conversation.memory.statements import MOST_READ, Statement, named, statements
from convai.core.dialog import USER, Turn
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
    put as a correction ("no, ...", "actually ...").
    """

    text: str
    said: str
    corrects: bool = False


def found_in(turns: Sequence[Turn], resolve: Resolve | None = None, speaker: int = USER) -> list[Found]:
    """The facts in the last of `turns`, where it is the `speaker`'s; at most MOST_FACTS."""
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
    return list(kept.values())[:MOST_FACTS]


_TRAIL: Final = re.compile(
    r",? (?:by the way|btw|actually|though|tho|lol|haha+|you know|of course|as well|too|myself)$", re.I
)


def _sentence(text: str) -> str:
    """A statement with a full stop, without what only leads on."""
    text = text.strip(" ,.!?")
    while trail := _TRAIL.search(text):
        text = text[: trail.start()].rstrip(" ,")
    return re.sub(r"^My\b", "my", text) + "."
