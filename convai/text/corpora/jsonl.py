"""This project's own JSON Lines: personas, turns with speakers, id, source, labels; nothing is lost.

`{"personas": [["user sentence", ...], ["agent sentence", ...]], "turns": [{"speaker": 0, "text": "hi"},
{"speaker": 1, "text": "hello", "distractors": [...]}]}`. Speakers are counted from 0 (the user); a persona
may also be `{"name": ..., "sentences": [...]}`. A turn of `"weight": 0` is history and no target.

More than two speakers are brought down to the two roles: the first to speak is the user, the second the
agent, everybody else speaks for the user's side, since a reply only needs to know which words were its
own. The numbers of the file stay in `labels["original_speakers"]`, one a turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import as_list, as_object, dialog, kind, sentences, two_sides, wrong_replies
from convai.text.corpora.json_entries import dialogs
from convai.text.corpora.json_text import dump
from convai.text.corpora.messages import is_target
from convai.text.corpora.notes import Notes
from convai.text.corpora.splits import SPLIT_KEYS, split_named

MAX_SPEAKERS: Final = 1000
_KEYS: Final = {"personas", "turns", "id", "source", "labels", "split"}
_TURN_KEYS: Final = {"speaker", "text", "distractors", "weight"}
_EXAMPLE: Final = '{"turns": [{"speaker": 0, "text": "hi"}, {"speaker": 1, "text": "hello"}]}'


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every object; warns of keys it does not know."""
    return dialogs(path, notes, lambda value, where: _dialog(value, where, notes))


def _dialog(value: object, where: str, notes: Notes) -> Dialog:
    entry = as_object(value, where, _EXAMPLE)
    if "turns" not in entry:
        raise DataError(f"{where}: no 'turns'; write it like {_EXAMPLE}")
    _warn_unknown(entry, _KEYS, where, notes)
    labels = as_object(entry.get("labels") or {}, f"{where}, labels", '{"topic": "food"}')
    numbers: list[int] = []
    spoken: list[tuple[str, tuple[str, ...], bool]] = []
    for i, item in enumerate(as_list(entry["turns"], where, "turns"), 1):
        place = f"{where}, turn {i}"
        turn = as_object(item, place, '{"speaker": 0, "text": "hi"}')
        _warn_unknown(turn, _TURN_KEYS, place, notes)
        numbers.append(_speaker(turn.get("speaker"), place))
        text = check_text(turn.get("text"), place)
        wrong = wrong_replies(turn["distractors"], place) if "distractors" in turn else ()
        spoken.append((text, wrong, is_target(turn, place)))
    user, agent = two_sides(numbers)
    if any(number not in (USER, AGENT) for number in numbers):
        labels = {"original_speakers": numbers, **labels}
    turns = [
        Turn(AGENT if n == agent else USER, text, wrong, target=target)
        for n, (text, wrong, target) in zip(numbers, spoken, strict=True)
    ]
    personas = [
        _persona(p, f"{where}, persona of speaker {i}") for i, p in enumerate(_persona_list(entry, where))
    ]
    personas += [Persona()] * (max(user, agent) + 1 - len(personas))
    return dialog(
        where,
        turns,
        (personas[user], personas[agent] if agent >= 0 else Persona()),
        id=_name(entry.get("id"), f"{where}, id"),
        source=_name(entry.get("source"), f"{where}, source"),
        labels=labels,
    )


def _warn_unknown(value: dict[str, Any], known: set[str], where: str, notes: Notes) -> None:
    for key in value.keys() - known:
        if key in SPLIT_KEYS and split_named(value[key]):
            continue
        notes.warn(f"{where}: the key {key[:40]!r} is not read; known are {', '.join(sorted(known))}")


def _speaker(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MAX_SPEAKERS:
        found = value if isinstance(value, int) and not isinstance(value, bool) else kind(value)
        raise DataError(f"{where}: 'speaker' is {found}; use 0 for the user, 1 for the agent")
    return value


def _persona_list(entry: dict[str, Any], where: str) -> list[Any]:
    items = as_list(entry.get("personas") or [], where, "personas")
    if any(isinstance(item, str) for item in items):
        raise DataError(f"{where}: 'personas' holds text; give each speaker a list of sentences: [[], [...]]")
    return items


def _persona(value: object, where: str) -> Persona:
    if isinstance(value, dict):
        name = _name(value.get("name"), f"{where}, name")
        return Persona(sentences(value.get("sentences") or [], where), name)
    return Persona(sentences(value, where))


def _name(value: object, where: str) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return check_text(value, where)


def render(dialogs: Iterable[Dialog]) -> Iterator[str]:
    """A line a dialogue; reading them gives equal dialogues. Empty fields are left out."""
    for n, d in enumerate(dialogs, 1):
        where = f"dialogue {n}"
        named = any(p.name for p in d.personas)
        entry: dict[str, Any] = {
            **({"id": d.id} if d.id else {}),
            **({"source": d.source} if d.source else {}),
            "personas": [
                {"name": p.name, "sentences": list(p.sentences)} if named else list(p.sentences)
                for p in d.personas
            ],
            "turns": [_turn(turn, f"{where}, turn {i}") for i, turn in enumerate(d.turns, 1)],
            **({"labels": dict(d.labels)} if d.labels else {}),
        }
        yield dump(entry, where) + "\n"


def _turn(turn: Turn, where: str) -> dict[str, Any]:
    said: dict[str, Any] = {"speaker": turn.speaker, "text": check_text(turn.text, where)}
    if turn.distractors:
        said["distractors"] = list(turn.distractors)
    if not turn.target:
        said["weight"] = 0
    return said
