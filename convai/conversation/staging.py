"""Who is in a conversation and what is written into it, as it is kept: characters, user, notes, lorebooks."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from convai.conversation.cast import NO_NOTE, Note
from convai.conversation.conversation import NOBODY
from convai.conversation.group import NO_GROUP, Group
from convai.conversation.saved_group import group_entry, group_of
from convai.core.character import Character, Lorebook
from convai.core.dialog import Persona, check_text
from convai.core.errors import ConvaiError, DataError
from convai.core.limits import MAX_WHOLE
from convai.core.safe_text import one_line
from convai.text.cards import Card, card_of, character_of
from convai.text.cards.books import book_json, book_of

MAX_CARD: Final = 2 * 2**20
"""Characters of a card that is kept in a database, its pictures left out."""
MAX_PARTNER: Final = 64
"""Sentences of what a user says of themselves."""


@dataclass(frozen=True, slots=True)
class Staging:
    """What is kept of a conversation beside persona and turns. `characters` by the version of the persona."""

    characters: Mapping[int, Character] = field(default_factory=dict)
    partner: Persona = NOBODY
    note: Note = NO_NOTE
    books: tuple[Lorebook, ...] = ()
    group: Group = NO_GROUP

    def as_json(self) -> str:
        """The staging as text."""
        return json.dumps(
            {
                "cards": {
                    str(version): dict(card_of(one).document) for version, one in self.characters.items()
                },
                "partner": {"name": self.partner.name, "sentences": list(self.partner.sentences)},
                "note": {"text": self.note.text, "depth": self.note.depth},
                "books": [book_json(book) for book in self.books],
                **({"group": group_entry(self.group)} if self.group else {}),
            },
            separators=(",", ":"),
        )


NOTHING_STAGED: Final = Staging()


@functools.lru_cache(maxsize=512)
def staging_of(text: str) -> Staging:
    """The staging from its text, as `as_json` wrote it: the same objects for the same text."""
    value = json.loads(text)
    cards = {int(version): character_of(Card(document)) for version, document in value["cards"].items()}
    partner, note, group = value["partner"], value["note"], value.get("group")
    return Staging(
        cards,
        Persona(tuple(partner["sentences"]), partner["name"]),
        Note(note["text"], note["depth"]),
        tuple(map(book_of, value["books"])),
        NO_GROUP if group is None else group_of(group, "group", range(1, MAX_WHOLE)),
    )


def without_pictures(card: Card, where: str) -> Card:
    """The card as it is kept: without what stands in it as data. Raises DataError where it is too long."""
    data = {**card.data}
    for name in ("assets", "avatar", "thumbnail", "portrait"):
        data.pop(name, None)
    document: dict[str, Any] = {**card.document, "data": data} if card.data is not card.document else data
    size = len(json.dumps(document))
    if size > MAX_CARD:
        raise DataError(
            f"{where}: {size:,} characters without its pictures; at most {MAX_CARD:,} are kept of a card"
        )
    return Card(document, card.notes)


def checked_partner(partner: Persona) -> Persona:
    """What a user says of themselves, each sentence on a clean line. Raises DataError."""
    if len(partner.sentences) > MAX_PARTNER:
        raise DataError(f"user: {len(partner.sentences)} sentences; at most {MAX_PARTNER}")
    told = tuple(check_text(text, f"user sentence {i}") for i, text in enumerate(partner.sentences, 1))
    return Persona(told, one_line(partner.name)[:100].rstrip())


def told_partner(value: object) -> Persona:
    """Who a user wants to be known as, from `{"name", "sentences"}`. Raises DataError."""
    if not isinstance(value, dict) or value.keys() - {"name", "sentences"}:
        raise DataError('you: send {"name": "Bob", "sentences": ["i am a smith."]}')
    name, sentences = value.get("name", ""), value.get("sentences", [])
    if not isinstance(name, str) or not isinstance(sentences, list):
        raise DataError("you: name is a text, sentences a list of texts")
    if not all(isinstance(sentence, str) for sentence in sentences):
        raise DataError("you: sentences is a list of texts")
    partner = checked_partner(Persona(tuple(sentences), name))
    if partner == NOBODY:
        raise DataError("you: give a name, or a sentence")
    return partner


def partner_json(partner: Persona) -> str:
    """Who a user is, as it is kept."""
    return json.dumps({"name": partner.name, "sentences": list(partner.sentences)})


def partner_in(text: str) -> Persona:
    """Who a user is, as `partner_json` wrote it."""
    value = json.loads(text)
    return Persona(tuple(value["sentences"]), value["name"])


def character_in(text: str) -> Character:
    """The character in a card's JSON that was kept. Raises ConvaiError where it is damaged."""
    try:
        return _character(text)
    except (ValueError, KeyError, TypeError):
        raise ConvaiError("the card that was kept is damaged; import it again") from None


@functools.lru_cache(maxsize=128)
def _character(text: str) -> Character:
    return character_of(Card(json.loads(text)))
