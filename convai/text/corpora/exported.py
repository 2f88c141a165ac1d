"""Conversations as `convai` exports them: a tree of messages, of which the branch that is shown is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import as_list, as_object, dialog, sentences
from convai.text.corpora.json_entries import dialogs
from convai.text.corpora.notes import Notes

_EXAMPLE: Final = '{"leaf": "b", "messages": [{"id": "a", "parent": null, "speaker": 0, "text": "hi"}, ...]}'


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every conversation."""
    return dialogs(path, notes, _dialog)


def _dialog(value: Any, where: str) -> Dialog:
    entry = as_object(value, where, _EXAMPLE)
    tree = {}
    for i, item in enumerate(as_list(entry.get("messages"), where, "messages"), 1):
        message = as_object(item, f"{where}, message {i}", _EXAMPLE)
        tree[message.get("id")] = (i, message)
    turns: list[Turn] = []
    at = entry.get("leaf")
    while at is not None:
        if at not in tree:
            raise DataError(f"{where}: a branch that goes in circles or ends nowhere; export it again")
        number, message = tree.pop(at)
        place = f"{where}, message {number}"
        if message.get("speaker") not in (USER, AGENT):
            raise DataError(f"{place}: 'speaker' is neither 0 nor 1; export it again")
        turns.append(Turn(message["speaker"], check_text(message.get("text"), place)))
        at = message.get("parent")
    personas = as_list(entry.get("personas") or [], where, "personas")
    used = next((p for p in personas if isinstance(p, dict) and p.get("version") == entry.get("persona")), {})
    persona = Persona(sentences(used.get("sentences") or [], where), str(used.get("name") or ""))
    return dialog(where, turns[::-1], (Persona(), persona))
