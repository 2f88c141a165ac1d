"""Topical-Chat's and MultiWOZ's own JSON: turns under keys that nobody else has, dialogues under their names.

Of Topical-Chat who speaks first is the user. MultiWOZ's user speaks first, too; its versions before 2.2
(`log`), those that track states (`dialogue`), the hub's columns (`turns`) and CamRest's (`dial`) are read.
What else stands beside the words (goals, states, acts, knowledge) is left out.
Sources: Gopalakrishnan et al. 2019, Topical-Chat; Budzianowski et al. 2018, MultiWOZ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import as_list, as_object, dialog
from convai.text.corpora.json_entries import dialogs
from convai.text.corpora.notes import Notes
from convai.text.corpora.program_shapes import multiwoz_key
from convai.text.corpora.roles import sides_of_people

_TOPICAL: Final = '{"content": [{"agent": "agent_1", "message": "hi"}, ...]}'
_MULTIWOZ: Final = '{"log": [{"text": "a room, please"}, {"text": "for how many nights?"}]}'
_NAMES: Final = ("dialogue_id", "dialogue_idx", "id")


def parse_topical(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every conversation of Topical-Chat's."""
    return dialogs(path, notes, _topical)


def parse_multiwoz(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every dialogue of MultiWOZ's."""
    return dialogs(path, notes, _multiwoz)


def _topical(value: Any, where: str) -> Dialog:
    entry = as_object(value, where, _TOPICAL)
    names, texts = list[str](), list[str]()
    for i, item in enumerate(as_list(entry.get("content"), where, "content"), 1):
        place = f"{where}, turn {i}"
        turn = as_object(item, place, '{"agent": "agent_1", "message": "hi"}')
        names.append(check_text(turn.get("agent"), f"{place}, agent"))
        texts.append(check_text(turn.get("message"), place))
    turns = [Turn(side, text) for side, text in zip(sides_of_people(names), texts, strict=True)]
    return dialog(where, turns)


def _multiwoz(value: Any, where: str) -> Dialog:
    entry = as_object(value, where, _MULTIWOZ)
    key = multiwoz_key(entry)
    if not key:
        raise DataError(f"{where}: no turns of MultiWOZ's; write it like {_MULTIWOZ}")
    turns = [
        Turn(side, check_text(text, f"{where}, {key} {number}"))
        for number, side, text in _said(key, entry[key], where)
        if text != ""  # nothing is said before the user's first words
    ]
    name = next((entry[name] for name in _NAMES if isinstance(entry.get(name), str)), "")
    return dialog(where, turns, id=name)


def _said(key: str, turns: Any, where: str) -> Iterator[tuple[int, int, Any]]:
    """The number of the item, the speaker and the words of each turn."""
    if key == "turns":
        for i, (speaker, text) in enumerate(_columns(turns, where), 1):
            yield i, speaker, text
        return
    for i, item in enumerate(as_list(turns, where, key), 1):
        turn = as_object(item, f"{where}, {key} {i}", _MULTIWOZ)
        if key == "log":
            yield i, AGENT if i % 2 == 0 else USER, turn.get("text")
        elif key == "dialogue":
            yield i, AGENT, turn.get("system_transcript", "")
            yield i, USER, turn.get("transcript")
        else:
            yield i, USER, _inside(turn, "usr", "transcript")
            yield i, AGENT, _inside(turn, "sys", "sent")


def _columns(turns: Mapping[str, Any], where: str) -> Iterator[tuple[int, Any]]:
    speakers = as_list(turns.get("speaker"), where, "speaker")
    texts = as_list(turns.get("utterance"), where, "utterance")
    if len(speakers) != len(texts):
        raise DataError(f"{where}: {len(speakers)} speakers of {len(texts)} turns; give each turn one")
    for i, (speaker, text) in enumerate(zip(speakers, texts, strict=True), 1):
        if speaker not in (USER, AGENT):
            raise DataError(f"{where}, turns {i}: 'speaker' is {str(speaker)[:20]!r}; use 0 or 1")
        yield speaker, text


def _inside(turn: Mapping[str, Any], key: str, text: str) -> Any:
    """What one of both said in an item; nothing where only the other one did."""
    held = turn.get(key)
    return held.get(text, "") if isinstance(held, dict) else ""
