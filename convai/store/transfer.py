"""A conversation as JSON, whole, and as plain text, the branch that is shown; and from either again.

The JSON, version 1:

    {"format": "convai.conversation", "version": 1, "title": "", "created": 0, "updated": 0,
     "settings": {"top_p": 0.9}, "persona": 1, "leaf": "b",
     "personas": [{"version": 1, "name": "Ann", "sentences": ["i bake bread."]}],
     "messages": [{"id": "a", "parent": null, "speaker": 0, "text": "hi"},
                  {"id": "b", "parent": "a", "speaker": 1, "text": "hello", "status": "complete",
                   "persona": 1, "created": 0, "details": {}}]}

Every message stands behind its parent. The ids are names inside the file: what is imported gets new ones.
The text is convai's plain text format, so it can be trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Persona, check_text
from convai.core.errors import DataError, SettingsError
from convai.core.limits import MAX_WHOLE
from convai.core.safe_text import one_line
from convai.core.settings import DecodingConfig
from convai.core.settings_values import laid_over
from convai.store.records import COMPLETE, INTERRUPTED, Conversation, Message
from convai.text.corpora.building import as_list, as_object, kind, sentences
from convai.text.corpora.json_text import decode_line
from convai.text.corpora.plain_text import parse_text

FORMAT: Final = "convai.conversation"
VERSION: Final = 1
MAX_FILE: Final = 32 * 2**20
"""Characters of a file to import."""
MAX_MESSAGES: Final = 20_000
MAX_PERSONAS: Final = 1_000
_KEYS: Final = {
    "format",
    "version",
    "title",
    "created",
    "updated",
    "settings",
    "persona",
    "leaf",
    "personas",
    "messages",
}
_MESSAGE_KEYS: Final = {"id", "parent", "speaker", "text", "status", "persona", "created", "details"}
_EXAMPLE: Final = '{"format": "convai.conversation", "version": 1, "messages": []}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What a file holds: parents are indices into `messages`, and below the index of the child."""

    title: str
    settings: Mapping[str, Any]
    personas: tuple[tuple[int, Persona], ...]
    persona: int
    leaf: int | None
    messages: tuple[ImportedMessage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedMessage:
    """One message of a file."""

    parent: int | None
    speaker: int
    text: str
    status: str
    persona: int
    created: int
    details: Mapping[str, Any]


def to_json(
    conversation: Conversation, personas: Mapping[int, Persona], tree: Iterable[Message]
) -> dict[str, Any]:
    """The whole conversation, every branch. A reply that is being written counts as interrupted."""
    said = [message for message in tree if message.text]
    kept = {message.id for message in said}
    return {
        "format": FORMAT,
        "version": VERSION,
        "title": conversation.title,
        "created": conversation.created,
        "updated": conversation.updated,
        "settings": dict(conversation.settings),
        "persona": conversation.persona_version,
        "leaf": conversation.leaf if conversation.leaf in kept else None,
        "personas": [
            {"version": version, "name": persona.name, "sentences": list(persona.sentences)}
            for version, persona in personas.items()
        ],
        "messages": [
            {
                "id": message.id,
                "parent": message.parent,
                "speaker": message.speaker,
                "text": message.text,
                "status": COMPLETE if message.status == COMPLETE else INTERRUPTED,
                "persona": message.persona,
                "created": message.created,
                "details": dict(message.details),
            }
            for message in said
        ],
    }


def dumps(value: Mapping[str, Any]) -> str:
    """JSON to read, with escapes only where UTF-8 cannot hold a text (half a surrogate pair)."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, indent=1) + "\n"
    return text


def to_text(persona: Persona, branch: Iterable[Message]) -> str:
    """The branch as plain text: `persona:` lines, then `user:` and `agent:` lines."""
    lines = [f"persona: {sentence}" for sentence in persona.sentences]
    lines += [f"{'agent' if m.speaker == AGENT else 'user'}: {m.text}" for m in branch if m.text]
    return "".join(f"{line}\n" for line in lines)


def rows(
    conversation: str, ids: Sequence[str], messages: Iterable[ImportedMessage], now: int
) -> Iterator[dict[str, object]]:
    """Rows for the table of messages, which get `ids`; those without a time get `now`."""
    for number, message in enumerate(messages, 1):
        yield {
            "id": ids[number - 1],
            "conversation": conversation,
            "parent": None if message.parent is None else ids[message.parent],
            "number": number,
            "speaker": message.speaker,
            "text": message.text,
            "status": message.status,
            "writer": None,
            "persona": message.persona,
            "details": json.dumps(dict(message.details)),
            "request": None,
            "created": message.created or now,
        }


def from_text(text: str, where: str) -> Imported:
    """A conversation from plain text; see convai.text.corpora.plain_text. Raises DataError with the line."""
    if len(text) > MAX_FILE:
        raise DataError(f"{where}: over {MAX_FILE:,} characters; is this a conversation?")
    dialog = parse_text(text, where)
    messages = tuple(
        ImportedMessage(
            parent=i - 1 if i else None,
            speaker=turn.speaker,
            text=turn.text,
            status=COMPLETE,
            persona=1,
            created=0,
            details={},
        )
        for i, turn in enumerate(dialog.turns)
    )
    return Imported(
        title="",
        settings={},
        personas=((1, dialog.persona),),
        persona=1,
        leaf=len(messages) - 1,
        messages=messages,
    )


def from_json(text: str, where: str) -> Imported:
    """A conversation from its JSON.

    Raises DataError, beginning with `where` and the place, for anything that `to_json` would not write.
    """
    if len(text) > MAX_FILE:
        raise DataError(f"{where}: over {MAX_FILE:,} characters; is this a conversation?")
    entry = as_object(decode_line(text.removeprefix("\ufeff"), where), where, _EXAMPLE)
    if entry.get("format") != FORMAT:
        raise DataError(f"{where}: no exported conversation; it begins like {_EXAMPLE}")
    version = _whole(entry.get("version"), f"{where}, version", 1)
    if version > VERSION:
        raise DataError(f"{where}: exported by a later convai (version {version}); update convai")
    _known(entry, _KEYS, where)
    personas = _personas(entry.get("personas", []), where)
    listed = as_list(entry.get("messages"), where, "messages")
    if len(listed) > MAX_MESSAGES:
        raise DataError(f"{where}: {len(listed):,} messages; at most {MAX_MESSAGES:,}")
    index: dict[str, int] = {}
    messages = []
    for i, item in enumerate(listed):
        id, message = _message(item, f"{where}, message {i + 1}", index, personas)
        if id in index:
            raise DataError(f"{where}, message {i + 1}: a second one with the id {id[:40]!r}")
        index[id] = i
        messages.append(message)
    leaf = entry.get("leaf")
    if leaf is not None and (not isinstance(leaf, str) or leaf not in index):
        raise DataError(f"{where}, leaf: there is no such message")
    persona = _whole(entry.get("persona", 1), f"{where}, persona", 1)
    if persona not in personas:
        raise DataError(f"{where}, persona: there is no version {persona} of it")
    title = entry.get("title", "")
    if not isinstance(title, str):
        raise DataError(f"{where}, title: expected text, found {kind(title)}")
    return Imported(
        title=one_line(title),
        settings=_settings(entry.get("settings", {}), f"{where}, settings"),
        personas=tuple(sorted(personas.items())),
        persona=persona,
        leaf=None if leaf is None else index[leaf],
        messages=tuple(messages),
    )


def _personas(value: object, where: str) -> dict[int, Persona]:
    listed = as_list(value, where, "personas")
    if len(listed) > MAX_PERSONAS:
        raise DataError(f"{where}: {len(listed):,} personas; at most {MAX_PERSONAS:,}")
    found: dict[int, Persona] = {}
    for i, item in enumerate(listed, 1):
        place = f"{where}, persona {i}"
        entry = as_object(item, place, '{"version": 1, "name": "", "sentences": ["i bake."]}')
        _known(entry, {"version", "name", "sentences"}, place)
        version = _whole(entry.get("version"), f"{place}, version", 1)
        if version in found:
            raise DataError(f"{place}: a second version {version}")
        name = entry.get("name", "")
        if not isinstance(name, str):
            raise DataError(f"{place}, name: expected text, found {kind(name)}")
        found[version] = Persona(sentences(entry.get("sentences", []), place), one_line(name))
    return found or {1: Persona()}


def _message(
    value: object, where: str, before: Mapping[str, int], personas: Mapping[int, Persona]
) -> tuple[str, ImportedMessage]:
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
    persona = _whole(entry.get("persona", min(personas)), f"{where}, persona", 1)
    if persona not in personas:
        raise DataError(f"{where}, persona: there is no version {persona} of it")
    message = ImportedMessage(
        parent=None if parent is None else before[parent],
        speaker=speaker,
        text=check_text(entry.get("text"), where),
        status=status,
        persona=persona,
        created=_whole(entry.get("created", 0), f"{where}, created", 0),
        details=as_object(entry.get("details", {}), f"{where}, details", "{}"),
    )
    return id, message


def _settings(value: object, where: str) -> dict[str, Any]:
    given = as_object(value, where, '{"top_p": 0.9}')
    try:
        laid_over(DecodingConfig(min_length=0, max_length=1024), given)
    except SettingsError as error:
        raise DataError(f"{where}: {error}") from None
    return given


def _known(entry: Mapping[str, object], keys: set[str], where: str) -> None:
    if unknown := sorted(entry.keys() - keys):
        there = ", ".join(sorted(keys))
        raise DataError(f"{where}: unknown field {json.dumps(unknown[0][:40])}; there are {there}")


def _whole(value: object, where: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_WHOLE:
        raise DataError(f"{where}: use a whole number, {least} or more")
    return value
