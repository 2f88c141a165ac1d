"""ShareGPT JSON or JSONL: `{"conversations": [{"from": "human", "value": ...}]}`, also with role and content.

A `system` turn before the others (or a `system` key) is the agent's persona.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import Dialog
from convai.text.corpora.building import as_object
from convai.text.corpora.json_entries import dialogs
from convai.text.corpora.messages import entry_name, said
from convai.text.corpora.notes import Notes

_EXAMPLE: Final = '{"conversations": [{"from": "human", "value": "hi"}, ...]}'


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every conversation."""
    return dialogs(path, notes, _dialog)


def _dialog(value: Any, where: str) -> Dialog:
    entry = as_object(value, where, _EXAMPLE)
    found = said(entry.get("conversations"), where, "conversations", "turn")
    return found.beside(entry, where).dialog(where, id=entry_name(entry, where))
