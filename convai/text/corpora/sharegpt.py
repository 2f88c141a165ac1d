"""ShareGPT JSON or JSONL: `{"conversations": [{"from": "human", "value": ...}]}`.

A `system` turn before the others (or a `system` key) is the agent's persona.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import as_list, as_object, dialog, kind, persona_from_text
from convai.text.corpora.json_text import entries
from convai.text.corpora.notes import Notes

SPEAKERS: Final = {
    "human": USER,
    "user": USER,
    "gpt": AGENT,
    "assistant": AGENT,
    "chatgpt": AGENT,
    "bing": AGENT,
    "bard": AGENT,
}
_EXAMPLE: Final = '{"conversations": [{"from": "human", "value": "hi"}, ...]}'


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every conversation."""
    for entry in entries(path):
        try:
            parsed = _dialog(entry.value, entry.where)
        except DataError as error:
            notes.error(error)
        else:
            yield entry.line, parsed


def _dialog(value: object, where: str) -> Dialog:
    entry = as_object(value, where, _EXAMPLE)
    system = entry.get("system")
    persona = [] if system is None else list(persona_from_text(system, where).sentences)
    turns: list[Turn] = []
    for i, item in enumerate(as_list(entry.get("conversations"), where, "conversations"), 1):
        place = f"{where}, turn {i}"
        turn = as_object(item, place, '{"from": "human", "value": "hi"}')
        sender = turn.get("from")
        if sender == "system":
            if turns:
                raise DataError(f"{place}: a system turn amid the others; put the persona before them")
            persona.extend(persona_from_text(turn.get("value"), place).sentences)
        elif isinstance(sender, str) and sender.lower() in SPEAKERS:
            turns.append(Turn(SPEAKERS[sender.lower()], check_text(turn.get("value"), place)))
        else:
            found = repr(sender[:20]) if isinstance(sender, str) else kind(sender)
            raise DataError(f"{place}: 'from' is {found}; use system, human or gpt")
    sentences = tuple(check_text(sentence, where) for sentence in persona)
    name = entry.get("id")
    id = check_text(name, f"{where}, id") if isinstance(name, str) and name.strip() else ""
    return dialog(where, turns, (Persona(), Persona(sentences)), id=id)
