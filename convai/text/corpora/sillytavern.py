"""SillyTavern's chats: a header line, then a message a line with `name`, `is_user` and `mes`.

The character is the agent: the header's, or the first to speak where that one never does (newer versions
write "unused" there). Of several swipes the one shown is the reply, the others are wrong ones beside it;
messages of the system's are left out.
Group chats have several characters, of whom all but the agent are partners.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

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
    swiped: tuple[str, ...] = ()
    """What else was written in its place."""


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
                    text = check_text(message["mes"], entry.where)
                    said.append(_Said(user, name, text, () if user else _swiped(message, text, entry.where)))
        if said:
            yield first, _chat(f"{path}:{first}", said, agent)
    except DataError as error:
        notes.error(error)


def _text(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _swiped(message: dict[str, Any], shown: str, where: str) -> tuple[str, ...]:
    swipes = message.get("swipes")
    if not isinstance(swipes, list):
        return ()
    texts = [check_text(one, f"{where}, swipes") for one in swipes if isinstance(one, str) and one.strip()]
    return tuple(dict.fromkeys(text for text in texts if text != shown))


def _chat(where: str, said: list[_Said], agent: str) -> Dialog:
    names = [message.name for message in said if not message.user and message.name]
    if names and agent not in names:
        agent = names[0]
    turns = []
    for user, name, text, swiped in said:
        partner = user or bool(name and agent and name != agent)
        turns.append(Turn(USER, text) if partner else Turn(AGENT, text, swiped))
    return dialog(where, turns, (Persona(), Persona((), agent)))
