"""A card as the persona of an agent, within what a model holds; and a persona as a card."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from convai.core.dialog import Persona
from convai.core.safe_text import kept_lines, one_line
from convai.text.cards.card import Card, new_card
from convai.text.cards.first_person import first_person
from convai.text.cards.macros import YOU, addressed
from convai.text.cards.prose import (
    MAX_TEXT,
    marked,
    missing,
    resolved,
    sentences,
    shortened,
    without_examples,
    without_pictures,
)

SENTENCES: Final = 12
"""Sentences that are taken of a card; the personas that models are trained on have four or five."""
CHARS: Final = 600
"""Characters of them together."""
_PROMPT: Final = ("description", "personality")
"""The fields that say who somebody is. Notes of the creator never are; greetings, examples and instructions
are for the models that cards are written for."""
_ELSE: Final = ("scenario", "system_prompt")
"""The fields that say it where those are blank."""
_NAMELESS: Final = "this character"
_BRACES: Final = re.compile(r"[{}<>]")


@dataclass(frozen=True, slots=True)
class CardPersona:
    """Who a card describes. `left_out` are the sentences that did not fit; `notes` say so, and what was odd.

    `greeting` is what the character says first, `creator_notes` are for the person who uses the card.
    """

    persona: Persona
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    greeting: str
    creator_notes: str


def card_persona(
    card: Card,
    *,
    user: str = "you",
    own: bool = False,
    most: int = SENTENCES,
    chars: int = CHARS,
    fits: Callable[[Persona], bool] | None = None,
) -> CardPersona:
    """The persona of a card: at most `most` sentences of together `chars` characters.

    `fits` says whether a model holds a persona; it is asked for each sentence more. What comes first in the
    description stays, the personality comes behind it. `{{user}}` is called `user`. `own`: in the first
    person.
    """
    notes = list(card.notes)
    called = one_line(_BRACES.sub("", card.called)) or _NAMELESS
    user = one_line(user) or "you"
    found: dict[str, str] = {}
    fields = _PROMPT if any(card.text(field).strip() for field in _PROMPT) else _ELSE
    for field in fields:
        text, examples = without_examples(card.text(field), card.name, called)
        if examples:
            lines = "1 line of its {} is" if examples == 1 else f"{examples} lines of its {{}} are"
            notes.append(f"{lines.format(field)} an example dialogue and no persona")
        if len(text) > MAX_TEXT:
            notes.append(f"only the first {MAX_TEXT:,} characters of its {field} were looked at")
        for macro in missing(text[:MAX_TEXT]):
            notes.append(f"nothing says here what {macro[:60]} is; what needs it of its {field} is left out")
        for sentence in sentences(marked(text[:MAX_TEXT], called, YOU if user.lower() == YOU else user)):
            if not _names(sentence, called):
                found.setdefault(sentence.casefold(), sentence)
    name = "" if called == _NAMELESS else called
    told = first_person(list(found.values()), name) if own else list(found.values())
    told = [addressed(sentence, YOU if user.lower() == YOU else user) for sentence in told]
    found = {sentence.casefold(): sentence for sentence in told}
    if name:
        introduction = f"my name is {name}."
        found = {introduction.casefold(): introduction, **found}
    kept: list[str] = []
    left_out: list[str] = []
    for sentence in found.values():
        short = shortened(sentence)
        full = bool(left_out) or len(kept) >= most or sum(map(len, kept)) + len(short) > chars
        if full or (fits is not None and not fits(Persona((*kept, short), name))):
            left_out.append(sentence)  # and all that follow: a gap in the middle would be odd
        else:
            kept.append(short)
            if short != sentence:
                notes.append(f"a sentence of {len(sentence):,} characters was cut")
    if left_out:
        notes.append(f"{len(left_out)} of {len(found)} sentences were left out; they do not fit")
    return CardPersona(
        persona=Persona(tuple(kept), name),
        left_out=tuple(left_out),
        notes=tuple(notes),
        greeting=kept_lines(without_pictures(resolved(card.text("first_mes")[:MAX_TEXT], called, user))),
        creator_notes=card.text("creator_notes") or card.text("creatorcomment"),
    )


def _names(sentence: str, called: str) -> bool:
    """Whether all that a sentence says is the name: `Character: Ann.`, or a heading."""
    if sentence.rstrip(".").casefold() == called.casefold():
        return True
    label, colon, value = sentence.partition(":")
    named = value.strip(" .\"'“”").casefold() == called.casefold()
    return bool(colon) and named and label.strip().casefold() in ("name", "full name", "character", "char")


def persona_card(persona: Persona, base: Card | None = None) -> Card:
    """A card that gives this persona; `base` is the one that it came from, whose other fields stay.

    A persona that is still the base's leaves that as it is; one without a name has the base's.
    """
    name = persona.name or (base.called if base else "")
    introduction = f"my name is {name}.".casefold()
    told = [sentence for sentence in persona.sentences if sentence.casefold() != introduction]
    if base is None:
        return new_card(name, "\n".join(told))
    if card_persona(base).persona == Persona(persona.sentences, name):
        return base
    fields = {"description": "\n".join(told), "personality": ""}
    if name != base.called:
        fields["name"] = name
        if base.text("nickname"):
            fields["nickname"] = name
    return base.changed(**fields)
