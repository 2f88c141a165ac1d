"""Chats of role-play programs: CharacterAI (as CAI Tools and dumpers write them; PIPPA), Agnai, RisuAI.

The character is the agent; PIPPA says who it is, as a card would. Of several candidates of a reply the one
that was chosen is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.text.cards.card import new_card
from convai.text.cards.persona import card_persona
from convai.text.corpora.building import as_list, as_object, dialog
from convai.text.corpora.json_entries import dialogs
from convai.text.corpora.notes import Notes
from convai.text.corpora.program_shapes import roleplay_key

_EXAMPLES: Final = {
    "msgs": '{"src": {"is_human": true, "name": "Bo"}, "text": "hi"}',
    "turns": '{"author": {"is_human": true}, "candidates": [{"raw_content": "hi"}]}',
    "messages": '{"userId": "u1", "msg": "hi"}',
    "message": '{"role": "user", "data": "hi"}',
    "conversation": '{"message": "hi", "is_human": true}',
}


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every chat."""
    return dialogs(path, notes, lambda value, where: _chat(value, where, notes))


def _chat(value: Any, where: str, notes: Notes) -> Dialog:
    entry = as_object(value, where, '{"msgs": [...]} of CharacterAI, {"messages": [...]} of Agnai')
    kind = roleplay_key(entry)
    if not kind:
        raise DataError(f"{where}: no chat of CharacterAI, Agnai or RisuAI; export it again")
    held = entry["data"] if kind == "message" else entry
    turns, names = list[Turn](), dict[str, None]()
    for i, item in enumerate(_oldest_first(as_list(held.get(kind), where, kind)), 1):
        place = f"{where}, message {i}"
        user, name, text = _said(kind, as_object(item, place, _EXAMPLES[kind]))
        if not isinstance(text, str) or not text.strip():
            notes.omit("wordless message")
            continue
        if not user and isinstance(name, str) and name.strip():
            names[" ".join(name.split())] = None
        turns.append(Turn(USER if user else AGENT, check_text(text, place)))
    persona = Persona((), next(iter(names), ""))
    return dialog(where, turns, (Persona(), _described(entry) if kind == "conversation" else persona))


def _described(entry: dict[str, Any]) -> Persona:
    """Who PIPPA's bot is: its description and its definition, less the example dialogues in that."""
    texts = [entry.get(key) for key in ("bot_description", "bot_definitions")]
    described = "\n".join(text for text in texts if isinstance(text, str) and text.strip())
    name = entry.get("bot_name")
    return card_persona(new_card(name if isinstance(name, str) else "", described), own=True).persona


def _oldest_first(items: list[Any]) -> list[Any]:
    """In the order of their times, where all have one: CharacterAI's pages are newest first."""
    times = [item.get("create_time") if isinstance(item, dict) else None for item in items]
    if not all(isinstance(time, str) for time in times):
        return items
    return [items[i] for i in sorted(range(len(items)), key=lambda i: str(times[i]))]


def _said(kind: str, message: dict[str, Any]) -> tuple[bool, object, object]:
    """Whether the user speaks, who does, and the words."""
    if kind == "msgs":
        source = message.get("src")
        source = source if isinstance(source, dict) else {}
        return bool(source.get("is_human")), source.get("name"), message.get("text")
    if kind == "turns":
        author = message.get("author")
        author = author if isinstance(author, dict) else {}
        candidates = [c for c in message.get("candidates") or () if isinstance(c, dict)]
        chosen = message.get("primary_candidate_id")
        shown = next((c for c in candidates if c.get("candidate_id") == chosen), None)
        shown = shown or (candidates[0] if candidates else {})
        return bool(author.get("is_human")), author.get("name"), shown.get("raw_content")
    if kind == "conversation":
        return message.get("is_human") is True, "", message.get("message")
    if kind == "messages":
        user = bool(message.get("userId"))
        return user, message.get("handle"), message.get("msg")
    return message.get("role") == "user", message.get("name"), message.get("data")
