"""SillyTavern's chats: a header line, then a message a line with `name`, `is_user` and `mes`.

The character is the agent: the header's, or the first to speak where that one never does (newer versions
write "unused" there). Of several swipes the one shown is the reply; messages of the system's are left out.
Group chats have several characters, of whom all but the agent are partners.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import as_object, dialog
from convai.text.corpora.json_entries import entries
from convai.text.corpora.notes import Notes

_EXAMPLE: Final = '{"name": "Ann", "is_user": false, "mes": "hello"}'


class _Said(NamedTuple):
    user: bool
    name: str
    """The character's; empty for the user, and for one without a name."""
    text: str


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue: a file is one chat, unless another header begins the next."""
    first, said, agent = 1, list[_Said](), ""
    try:
        for entry in entries(path, notes):
            for value in entry.value if isinstance(entry.value, list) else [entry.value]:
                message = as_object(value, entry.where, _EXAMPLE)
                if "mes" not in message:
                    if said:
                        yield first, _chat(f"{path}:{first}", said, agent)
                    first, said, agent = entry.line, [], _text(message.get("character_name"))
                elif (
                    not message.get("is_system") and message["mes"] != ""
                ):  # a reply that was stopped at once
                    name = "" if message.get("is_user") else _text(message.get("name"))
                    user = bool(message.get("is_user"))
                    said.append(_Said(user, name, check_text(message["mes"], entry.where)))
        if said:
            yield first, _chat(f"{path}:{first}", said, agent)
    except DataError as error:
        notes.error(error)


def _text(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _chat(where: str, said: list[_Said], agent: str) -> Dialog:
    names = [message.name for message in said if not message.user and message.name]
    if names and agent not in names:
        agent = names[0]
    turns = [
        Turn(USER if user or (name and agent and name != agent) else AGENT, text) for user, name, text in said
    ]
    return dialog(where, turns, (Persona(), Persona((), agent)))
