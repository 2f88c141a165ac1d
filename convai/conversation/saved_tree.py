"""The tree of a conversation as JSON, and from it again: personas, messages, the end of what is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from convai.conversation.cast import NO_NOTE, Note
from convai.conversation.conversation import Conversation, Message
from convai.conversation.saved_group import group_entry, group_of
from convai.core.character import Character
from convai.core.dialog import AGENT, USER, Persona, check_lines
from convai.core.errors import DataError, SettingsError
from convai.core.limits import MAX_WHOLE
from convai.core.safe_text import one_line
from convai.core.settings import DecodingConfig
from convai.core.settings_values import laid_over
from convai.text.cards import card_of, character_of, parse_card
from convai.text.cards.books import book_json, read_book
from convai.text.corpora.building import as_list, as_object, kind, sentences

MAX_MESSAGES: Final = 20_000
MAX_PERSONAS: Final = 1_000
COMPLETE: Final = "complete"
INTERRUPTED: Final = "interrupted"
_KEYS: Final = {
    "version",
    "title",
    "created",
    "updated",
    "persona",
    "leaf",
    "personas",
    "messages",
    "note",
    "books",
    "group",
}
MAX_BOOKS: Final = 20
_MESSAGE_KEYS: Final = {
    "id",
    "parent",
    "speaker",
    "text",
    "status",
    "attempt",
    "persona",
    "created",
    "details",
}


def entry_of(conversation: Conversation) -> dict[str, Any]:
    """A conversation as JSON."""
    return {
        "title": conversation.title,
        "created": conversation.created,
        "updated": conversation.updated,
        "persona": conversation.version,
        "leaf": conversation.leaf,
        "personas": [
            {
                "version": version,
                "name": persona.name,
                "sentences": list(persona.sentences),
                **_card_entry(conversation.characters.get(version)),
            }
            for version, persona in conversation.personas.items()
        ],
        **_notes_entry(conversation),
        "messages": [
            {
                "id": message.id,
                "parent": message.parent,
                "speaker": message.speaker,
                "text": message.text,
                "status": INTERRUPTED if message.interrupted else COMPLETE,
                **({"attempt": message.attempt} if message.attempt else {}),
                "persona": message.persona,
                "created": message.created,
                "details": dict(message.details),
            }
            for message in conversation.messages
        ],
    }


def _card_entry(character: Character | None) -> dict[str, Any]:
    return {} if character is None else {"card": dict(card_of(character).document)}


def _notes_entry(conversation: Conversation) -> dict[str, Any]:
    note, found = conversation.note, dict[str, Any]()
    if note:
        found["note"] = {"text": note.text, "depth": note.depth}
    if conversation.books:
        found["books"] = [book_json(book) for book in conversation.books]
    if conversation.group:
        found["group"] = group_entry(conversation.group)
    return found


def conversation_of(entry: Mapping[str, Any], where: str) -> Conversation:
    """A conversation from its JSON.

    Raises DataError, beginning with `where` and the place, for anything that `entry_of` would not write.
    """
    _known(entry, _KEYS, where)
    personas, characters = _personas(entry.get("personas", []), where)
    listed = as_list(entry.get("messages"), where, "messages")
    if len(listed) > MAX_MESSAGES:
        raise DataError(f"{where}: {len(listed):,} messages; at most {MAX_MESSAGES:,}")
    found: dict[str, Message] = {}
    for i, item in enumerate(listed):
        message = _message(item, f"{where}, message {i + 1}", found, personas)
        if message.id in found:
            raise DataError(f"{where}, message {i + 1}: a second one with the id {message.id[:40]!r}")
        found[message.id] = message
    leaf = entry.get("leaf")
    if leaf is not None and (not isinstance(leaf, str) or leaf not in found):
        raise DataError(f"{where}, leaf: there is no such message")
    version = whole_number(entry.get("persona", 1), f"{where}, persona", 1)
    if version not in personas:
        raise DataError(f"{where}, persona: there is no version {version} of it")
    title = entry.get("title", "")
    if not isinstance(title, str):
        raise DataError(f"{where}, title: expected text, found {kind(title)}")
    conversation = Conversation(personas[version])
    conversation.personas, conversation.version = dict(sorted(personas.items())), version
    conversation.characters = characters
    conversation.note = _note(entry.get("note"), f"{where}, note")
    books = as_list(entry.get("books", []), where, "books")[:MAX_BOOKS]
    conversation.books = tuple(read_book(book, f"{where}, books") for book in books)
    if "group" in entry:
        conversation.group = group_of(entry["group"], f"{where}, group", personas)
    conversation.title = one_line(title)
    for name in ("created", "updated"):
        setattr(conversation, name, whole_number(entry.get(name, 0), f"{where}, {name}"))
    for message in found.values():
        conversation.keep(message)
    conversation.leaf = leaf
    return conversation


def decoding_of(value: object, where: str) -> dict[str, Any]:
    """Decoding settings by name, each of which may be. Raises DataError beginning with `where`."""
    given = as_object(value, where, '{"top_p": 0.9}')
    try:
        laid_over(DecodingConfig(min_length=0, max_length=1024), given)
    except SettingsError as error:
        raise DataError(f"{where}: {error}") from None
    return given


def whole_number(value: object, where: str, least: int | None = 0) -> int:
    """A whole number, `least` or more. Raises DataError beginning with `where`."""
    if isinstance(value, int) and not isinstance(value, bool) and -MAX_WHOLE <= value <= MAX_WHOLE:
        if least is None or value >= least:
            return value
    found = value if isinstance(value, int | float) else kind(value)
    raise DataError(f"{where} is {found}; use a whole number{'' if least is None else f', {least} or more'}")


def _note(value: object, where: str) -> Note:
    if value is None:
        return NO_NOTE
    entry = as_object(value, where, '{"text": "It rains.", "depth": 4}')
    _known(entry, {"text", "depth"}, where)
    try:
        return Note(str(entry.get("text", "")), whole_number(entry.get("depth", 4), f"{where}, depth"))
    except SettingsError as error:
        raise DataError(f"{where}: {error}") from None


def _personas(value: object, where: str) -> tuple[dict[int, Persona], dict[int, Character]]:
    listed = as_list(value, where, "personas")
    if len(listed) > MAX_PERSONAS:
        raise DataError(f"{where}: {len(listed):,} personas; at most {MAX_PERSONAS:,}")
    found: dict[int, Persona] = {}
    characters: dict[int, Character] = {}
    for i, item in enumerate(listed, 1):
        place = f"{where}, persona {i}"
        entry = as_object(item, place, '{"version": 1, "name": "", "sentences": ["i bake."]}')
        _known(entry, {"version", "name", "sentences", "card"}, place)
        version = whole_number(entry.get("version"), f"{place}, version", 1)
        if version in found:
            raise DataError(f"{place}: a second version {version}")
        name = entry.get("name", "")
        if not isinstance(name, str):
            raise DataError(f"{place}, name: expected text, found {kind(name)}")
        found[version] = Persona(sentences(entry.get("sentences", []), place), one_line(name))
        if "card" in entry:
            characters[version] = character_of(parse_card(json.dumps(entry["card"]), f"{place}, card"))
    return found or {1: Persona()}, characters


def _message(
    value: object, where: str, before: Mapping[str, Message], personas: Mapping[int, Persona]
) -> Message:
    entry = as_object(value, where, '{"id": "a", "parent": null, "speaker": 0, "text": "hi"}')
    _known(entry, _MESSAGE_KEYS, where)
    id, parent, speaker = entry.get("id"), entry.get("parent"), entry.get("speaker")
    if not isinstance(id, str) or not id:
        raise DataError(f"{where}, id: expected a name, found {kind(id)}")
    if parent is not None and (not isinstance(parent, str) or parent not in before):
        raise DataError(f"{where}, parent: no message before this one has that id")
    if isinstance(speaker, bool) or speaker not in (USER, AGENT):
        raise DataError(f"{where}, speaker: use 0 for the user, 1 for the agent")
    status = entry.get("status", COMPLETE)
    if status not in (COMPLETE, INTERRUPTED):
        raise DataError(f"{where}, status: use {COMPLETE} or {INTERRUPTED}")
    persona = whole_number(entry.get("persona", min(personas)), f"{where}, persona", 1)
    if persona not in personas:
        raise DataError(f"{where}, persona: there is no version {persona} of it")
    return Message(
        id=id,
        parent=parent,
        speaker=speaker,
        text=check_lines(entry.get("text"), where),
        attempt=whole_number(entry.get("attempt", 0), f"{where}, attempt"),
        interrupted=status == INTERRUPTED,
        persona=persona,
        created=whole_number(entry.get("created", 0), f"{where}, created"),
        details=as_object(entry.get("details", {}), f"{where}, details", "{}"),
    )


def _known(entry: Mapping[str, object], keys: set[str], where: str) -> None:
    if unknown := sorted(entry.keys() - keys):
        there = ", ".join(sorted(keys))
        raise DataError(f"{where}: unknown field {json.dumps(unknown[0][:40])}; there are {there}")
