"""What of a character, and of the user, stands where in a prompt: beside the persona, as turns, at a depth.

Where the model's frame has a system block, texts about the character stay as the card has them, a line each.
Where it has none, the model knows a character by what it says of itself: the persona, in the first person,
and of the other texts their sentences, likewise.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from convai.core.character import Character
from convai.core.dialog import AGENT, Persona, Turn
from convai.core.errors import SettingsError
from convai.core.safe_text import kept_lines, one_line
from convai.text.cards.first_person import first_person
from convai.text.cards.macros import SOMEBODY, YOU, Macros
from convai.text.cards.prose import sentences, without_pictures
from convai.text.insertions import Insertion

MAX_NOTE: Final = 10_000
"""Characters of an author's note."""
MAX_DEPTH: Final = 1_000
_I: Final = re.compile(r"\b(?:i'm|i’m|i am|i've|i’ve|i was|i|me|my|mine|myself)\b", re.IGNORECASE)
_OF_YOU: Final = {
    "i'm": "you are",
    "i’m": "you are",
    "i am": "you are",
    "i've": "you have",
    "i’ve": "you have",
    "i was": "you were",
    "i": "you",
    "me": "you",
    "my": "your",
    "mine": "yours",
    "myself": "yourself",
}


@dataclass(frozen=True, slots=True)
class Note:
    """A text that somebody writes into a conversation, `depth` turns before its end. Raises SettingsError."""

    text: str
    depth: int = 4

    def __post_init__(self) -> None:
        if len(self.text) > MAX_NOTE:
            raise SettingsError(f"a note of {len(self.text):,} characters; use at most {MAX_NOTE:,}")
        if not 0 <= self.depth <= MAX_DEPTH:
            raise SettingsError(f"a note at depth {self.depth}; use 0 (behind the last turn) to {MAX_DEPTH}")

    def __bool__(self) -> bool:
        return bool(self.text.strip())


NO_NOTE: Final = Note("")


@dataclass(frozen=True, slots=True)
class Company:
    """A member of a group that speaks, by its name, and the `others` who are there.

    `cards`: those of the others that are shown beside its own.
    """

    speaker: str
    others: tuple[str, ...]
    cards: tuple[Character, ...] = ()


def system_texts(character: Character, macros: Macros, *, blocks: bool) -> Iterator[Insertion]:
    """The character's own texts beside its persona."""
    if blocks:
        yield from _lines(macros.replaced(character.system_prompt), "system", ahead=True)
        described = " ".join((character.description, character.personality, character.system_prompt))
        called = character.called
        if called and called.lower() not in macros.replaced(described).lower() and described.strip():
            yield Insertion(f"You are {called}.", None, "description", ahead=True)
        yield from _lines(macros.replaced(character.description), "description", ahead=True)
        if character.personality:
            text = macros.replaced(character.personality)
            yield from _lines(
                f"{called}'s personality: {text}" if called else text, "personality", ahead=True
            )
        if character.scenario:
            yield from _lines(f"Scenario: {macros.replaced(character.scenario)}", "scenario")
        return
    for text, kind in ((character.scenario, "scenario"), (character.system_prompt, "system")):
        told = first_person(sentences(macros.marked(text)), character.called)
        for sentence in map(macros.named, told):
            if sentence not in character.sentences:
                yield Insertion(sentence, None, kind)


def _lines(text: str, kind: str, *, ahead: bool = False) -> Iterator[Insertion]:
    for line in text.split("\n"):
        if line.strip():
            yield Insertion(line.strip(), None, kind, ahead=ahead)


def partner_texts(partner: Persona, *, blocks: bool) -> Iterator[Insertion]:
    """What the model knows of who it talks with."""
    name = one_line(partner.name)
    if blocks:
        if name:
            yield Insertion(f"The user is called {name}.", None, "user")
        for sentence in partner.sentences:
            yield Insertion(f"{name or 'The user'} has told you: {sentence}", None, "user")
        return
    if name:
        yield Insertion(f"you are called {name}.", None, "user")
    for sentence in partner.sentences:
        yield Insertion(to_you(sentence), None, "user")


def company_texts(company: Company, macros: Macros, own: str) -> Iterator[Insertion]:
    """Who else is there, where the frame has blocks; with their cards, where these are shown (`join`)."""
    there = company.others
    if there:
        names = f"{', '.join(there[:-1])} and {there[-1]}" if len(there) > 1 else there[0]
        are, begins = ("are", "their names") if len(there) > 1 else ("is", "that name")
        yield Insertion(
            f"{names} {are} in this conversation, too; what they say begins with {begins}. "
            f"You speak as {own} alone.",
            None,
            "group",
        )
    for other in company.cards:
        of = replace(macros, char=one_line(other.called))
        texts = [of.replaced(text) for text in (other.description, other.personality, other.scenario)]
        if not any(texts):
            texts = [f"{of.char} says: {of.replaced(sentence)}" for sentence in other.sentences]
        named = any(of.char.lower() in text.lower() for text in texts)
        for text in texts if named else (f"About {of.char}:", *texts):
            yield from _lines(text, "group")


def to_you(sentence: str) -> str:
    """What somebody says of themselves, said to them: "i am a nurse" → "you are a nurse"."""
    return _I.sub(lambda match: _OF_YOU[" ".join(match[0].lower().split())], sentence)


def example_turns(character: Character, macros: Macros) -> tuple[tuple[Turn, ...], ...]:
    """The example dialogues with their macros replaced."""
    return tuple(
        tuple(Turn(turn.speaker, text) for turn in dialogue if (text := one_line(macros.replaced(turn.text))))
        for dialogue in character.examples
    )


def greetings(character: Character, macros: Macros) -> tuple[str, ...]:
    """What the character may say first, in the lines that the card has."""
    found = (kept_lines(without_pictures(macros.replaced(text))) for text in character.greetings)
    return tuple(dict.fromkeys(text for text in found if text))


def macros_for(
    character: Character,
    partner: Persona,
    seed: int,
    said: bool,
    company: Company | None = None,
    began: int = 0,
) -> Macros:
    """The macros of a conversation. `said`: of what is said to the user, who is `you` where nobody knows.

    `began`: when it was begun, in ms since 1970 UTC (0: nobody knows); told in this machine's own time.
    """
    user = one_line(partner.name) or (YOU if said else SOMEBODY)
    fields = {
        "description": character.description,
        "personality": character.personality,
        "scenario": character.scenario,
        "persona": " ".join(partner.sentences),
        "charprompt": character.system_prompt,
        "charjailbreak": character.post_history,
    }
    group = "" if company is None else ", ".join((company.speaker, *company.others))
    return Macros(one_line(character.called), user, seed, _local(began), fields=fields, group=group)


def _local(began: int) -> datetime.datetime | None:
    """A time on this machine's clock; None where it is unknown, or beyond the calendar."""
    if began <= 0:
        return None
    try:
        return datetime.datetime.fromtimestamp(began / 1000, datetime.UTC).astimezone()
    except (OverflowError, OSError, ValueError):  # a file may say anything
        return None


def greeting_used(character: Character, macros: Macros, first: Turn | None) -> int | None:
    """Which of the greetings the first turn is, counted from 0."""
    if first is None or first.speaker != AGENT:
        return None
    said = [one_line(without_pictures(macros.replaced(text))) for text in character.greetings]
    return said.index(first.text) if first.text in said else None


def another_greeting(found: Sequence[str], now: str, shown: Sequence[str]) -> str | None:
    """The greeting that takes the place of `now`, where it is one of several; `shown` stand there already."""
    if len(found) < 2 or now not in found:
        return None
    fresh = [text for text in found if text not in shown]
    return fresh[0] if fresh else found[(found.index(now) + 1) % len(found)]
