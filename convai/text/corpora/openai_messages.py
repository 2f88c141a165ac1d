"""OpenAI's fine-tuning JSONL: `{"messages": [{"role": ..., "content": ...}]}` a line.

Source: OpenAI API reference, chat completions, `messages`. The system message is the agent's persona, a
sentence or line each; `content` may be a list of text parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import as_list, as_object, dialog, kind, persona_from_text
from convai.text.corpora.files import lines
from convai.text.corpora.json_text import decode_line, dump
from convai.text.corpora.notes import Notes

ROLES: Final = {"user": USER, "assistant": AGENT}
PERSONA_ROLES: Final = ("system", "developer")
_EXAMPLE: Final = '{"messages": [{"role": "user", "content": "hi"}, ...]}'


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every line that is not blank."""
    for line, text in lines(path):
        if not text.strip():
            continue
        where = f"{path}:{line}"
        try:
            value = as_object(decode_line(text, where), where, _EXAMPLE)
            parsed = from_messages(value.get("messages"), where)
        except DataError as error:
            notes.error(error)
        else:
            yield line, parsed


def from_messages(messages: object, where: str) -> Dialog:
    """A Dialog from a list of messages. Raises DataError beginning with `where`."""
    persona: list[str] = []
    turns: list[Turn] = []
    for i, item in enumerate(as_list(messages, where, "messages"), 1):
        place = f"{where}, message {i}"
        message = as_object(item, place, '{"role": "user", "content": "hi"}')
        role = message.get("role")
        if role in PERSONA_ROLES:
            if turns:
                raise DataError(f"{place}: a {role} message amid the turns; put the persona before them")
            persona.extend(persona_from_text(_content(message, place), place).sentences)
        elif isinstance(role, str) and role in ROLES:
            turns.append(Turn(ROLES[role], check_text(_content(message, place), place)))
        else:
            raise DataError(f"{place}: role {_quoted(role)} is no speaker; use system, user or assistant")
    return dialog(where, turns, (Persona(), Persona(tuple(check_text(s, where) for s in persona))))


def _quoted(value: object) -> str:
    return repr(value[:20]) if isinstance(value, str) else kind(value)


def _content(message: dict[str, Any], where: str) -> object:
    content = message.get("content")
    if not isinstance(content, list):
        return content
    parts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise DataError(f"{where}: content that is not text; keep only parts of type 'text'")
        parts.append(part["text"])
    return "\n".join(parts)


def render(dialogs: Iterable[Dialog]) -> Iterator[str]:
    """A line a dialogue. The partner's persona, candidates, ids and labels have no place in the format."""
    for n, d in enumerate(dialogs, 1):
        where = f"dialogue {n}"
        messages = [{"role": "system", "content": "\n".join(d.persona.sentences)}] if d.persona else []
        for i, turn in enumerate(d.turns, 1):
            role = "assistant" if turn.speaker == AGENT else "user"
            messages.append({"role": role, "content": check_text(turn.text, f"{where}, turn {i}")})
        yield dump({"messages": messages}, where) + "\n"
