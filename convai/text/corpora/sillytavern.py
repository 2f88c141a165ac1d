"""SillyTavern's chats: a header line, then a message a line with `name`, `is_user` and `mes`.

The character is the agent. Of several swipes the one shown is the reply; messages of the system's are left
out. Group chats have several characters: the first of them to speak is the agent, the others are partners.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import as_object, dialog
from convai.text.corpora.json_entries import entries
from convai.text.corpora.notes import Notes

_EXAMPLE: Final = '{"name": "Ann", "is_user": false, "mes": "hello"}'


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue: a file is one chat, unless another header begins the next."""
    first, turns, agent = 1, list[Turn](), ""
    try:
        for entry in entries(path, notes):
            for value in entry.value if isinstance(entry.value, list) else [entry.value]:
                message = as_object(value, entry.where, _EXAMPLE)
                if "mes" not in message:
                    if turns:
                        yield first, _chat(f"{path}:{first}", turns, agent)
                    first, turns, agent = entry.line, [], _text(message.get("character_name"))
                elif not message.get("is_system"):
                    agent = agent or ("" if message.get("is_user") else _text(message.get("name")))
                    turns.append(_turn(message, agent, entry.where))
        if turns:
            yield first, _chat(f"{path}:{first}", turns, agent)
    except DataError as error:
        notes.error(error)


def _turn(message: dict[str, Any], agent: str, where: str) -> Turn:
    """One message; another character than the agent is a partner."""
    text = check_text(message["mes"], where)
    name = _text(message.get("name"))
    is_agent = not message.get("is_user") and (not agent or not name or name == agent)
    return Turn(AGENT if is_agent else USER, text)


def _text(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _chat(where: str, turns: list[Turn], agent: str) -> Dialog:
    return dialog(where, turns, (Persona(), Persona((), agent)))
