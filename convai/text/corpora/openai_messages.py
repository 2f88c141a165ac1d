"""OpenAI's fine-tuning data: `{"messages": [{"role": ..., "content": ...}]}`, or bare lists of messages.

Source: OpenAI API reference, chat completions, `messages`; supervised fine-tuning, `weight`. The system
message is the agent's persona, a sentence or line each; `content` may be a list of text parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, Dialog, check_text
from convai.text.corpora.building import as_object
from convai.text.corpora.json_entries import dialogs
from convai.text.corpora.json_text import dump
from convai.text.corpora.messages import entry_name, said
from convai.text.corpora.notes import Notes

_EXAMPLE: Final = '{"messages": [{"role": "user", "content": "hi"}, ...]}'


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every list of messages."""
    return dialogs(path, notes, _dialog)


def _dialog(value: Any, where: str) -> Dialog:
    if isinstance(value, list):
        return said(value, where, "messages").dialog(where)
    entry = as_object(value, where, _EXAMPLE)
    found = said(entry.get("messages"), where, "messages")
    return found.beside(entry, where).dialog(where, id=entry_name(entry, where))


def render(dialogs: Iterable[Dialog]) -> Iterator[str]:
    """A line a dialogue. The partner's persona, candidates, ids and labels have no place in the format."""
    for n, d in enumerate(dialogs, 1):
        where = f"dialogue {n}"
        messages: list[dict[str, Any]] = []
        if d.persona:
            messages.append({"role": "system", "content": "\n".join(d.persona.sentences)})
        for i, turn in enumerate(d.turns, 1):
            role = "assistant" if turn.speaker == AGENT else "user"
            content = check_text(turn.text, f"{where}, turn {i}")
            weight = {} if turn.target else {"weight": 0}
            messages.append({"role": role, "content": content, **weight})
        yield dump({"messages": messages}, where) + "\n"
