"""Dialogues as bare lists: of texts that take turns, or of exchanges, under whatever key.

`["hi", "hello"]`, `{"dialog": ["hi", "hello"]}`, `{"conversation": [{"human": "hi", "assistant": "hello"}]}`,
and text-generation-webui's histories, `{"internal": [["hi", "hello"]], "visible": [...]}` (once `data`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import Dialog
from convai.core.errors import DataError
from convai.text.corpora.building import as_object
from convai.text.corpora.json_entries import dialogs
from convai.text.corpora.messages import entry_name, said
from convai.text.corpora.notes import Notes
from convai.text.corpora.shapes import LIST_KEYS, lowered

_BEGINS: Final = "<|BEGIN-VISIBLE-CHAT|>"
"""What the user 'says' in text-generation-webui's histories where the character speaks first."""

_SPEAKERS: Final = ("speakers", "roles", "speaker", "role", "names")
"""What the list is called that has who speaks each of a list of texts."""


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every list."""
    return dialogs(path, notes, _dialog)


def _dialog(value: Any, where: str) -> Dialog:
    if isinstance(value, list):
        return said(value, where, "turns", "turn").dialog(where)
    entry = lowered(as_object(value, where, '{"dialog": ["hi", "hello"]}'))
    history = entry.get("internal") or (entry.get("data") if "data_visible" in entry else None)
    if isinstance(history, list):
        pairs = [item for item in history if isinstance(item, list) and len(item) == 2]
        spoken = [["" if user == _BEGINS else user, agent] for user, agent in pairs]
        return said(spoken, where, "internal", "turn").dialog(where)
    key = next((key for key in LIST_KEYS if isinstance(entry.get(key), list)), None)
    if key is None:
        raise DataError(f"{where}: no list of turns; write it like ['hi', 'hello']")
    found = said(_with_speakers(entry, key), where, key, "turn")
    return found.beside(entry, where).dialog(where, id=entry_name(entry, where))


def _with_speakers(entry: dict[str, Any], key: str) -> list[Any]:
    """The texts of a list as messages, where another list beside it says who speaks each."""
    texts = entry[key]
    for names in (entry.get(beside) for beside in _SPEAKERS):
        if isinstance(names, list) and len(names) == len(texts) and _are_texts(names) and _are_texts(texts):
            return [{"speaker": name, "text": text} for name, text in zip(names, texts, strict=True)]
    return list(texts)


def _are_texts(items: list[Any]) -> bool:
    return all(isinstance(item, str) and item.strip() for item in items)
