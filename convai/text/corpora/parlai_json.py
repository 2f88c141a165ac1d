"""Multi-Session Chat's and Blended Skill Talk's own JSON, with the personas of both.

Of Multi-Session Chat the session itself is read; those before it, which stand in the files of their own, are
left out. In Blended Skill Talk speaker 1, who was given replies to choose from, is the agent.
Sources: Xu et al. 2021, Beyond Goldfish Memory; Smith et al. 2020, Can You Put it All Together.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import as_list, as_object, dialog, sentences
from convai.text.corpora.json_entries import dialogs
from convai.text.corpora.notes import Notes

_EXAMPLE: Final = (
    '{"personas": [["i ski."], ["i bake."]], "dialog": [{"id": "Speaker 1", "text": "hi"}, ...]}'
)
_OPENING: Final = ("free_turker_utterance", "guided_turker_utterance")


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every entry."""
    return dialogs(path, notes, lambda value, where: _dialog(value, where, notes))


def _dialog(value: Any, where: str, notes: Notes) -> Dialog:
    entry = as_object(value, where, _EXAMPLE)
    items = as_list(entry.get("dialog"), where, "dialog")
    opening = [entry[key] for key in _OPENING if isinstance(entry.get(key), str) and entry[key].strip()]
    turns = [Turn(i, check_text(text, f"{where}, {_OPENING[i]}")) for i, text in enumerate(opening)]
    names = list[str]()
    for i, item in enumerate(items, 1):
        place = f"{where}, turn {i}"
        if isinstance(item, list):
            if len(item) != 2 or item[0] not in (USER, AGENT):
                raise DataError(f"{place}: not a speaker and a text; write it like [0, 'hi']")
            turns.append(Turn(int(item[0]), check_text(item[1], place)))
            continue
        turn = as_object(item, place, '{"id": "Speaker 1", "text": "hi"}')
        name = str(turn.get("id") or f"Speaker {2 - i % 2}")
        if name not in names:
            names.append(name)
        side = AGENT if name == "Speaker 2" or (name != "Speaker 1" and names.index(name) == 1) else USER
        turns.append(Turn(side, check_text(turn.get("text"), place)))
    notes.omit("earlier session", len(entry.get("previous_dialogs") or ()))
    context = entry.get("additional_context")
    labels = {"context": check_text(context, where)} if isinstance(context, str) and context.strip() else {}
    return dialog(where, turns, _personas(entry, where), labels=labels)


def _personas(entry: dict[str, Any], where: str) -> tuple[Persona, Persona]:
    for key in ("personas", "init_personas"):
        both = as_list(entry.get(key) or [], where, key)
        if any(both):
            found = [Persona(sentences(one, f"{where}, {key}")) for one in both[:2]]
            return found[0], found[1] if len(found) > 1 else Persona()
    return Persona(), Persona()
