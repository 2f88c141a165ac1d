"""Saves of KoboldAI and of KoboldCpp's page: a story in pieces (`prompt`, `actions`), in which people talk.

Who speaks is told from the marks of the page's instruct mode, or from names before the lines, of which the
page's settings know two. The memory is the agent's persona. A story in which nobody speaks is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import as_object, dialog, persona_from_text
from convai.text.corpora.json_entries import dialogs
from convai.text.corpora.notes import Notes
from convai.text.corpora.transcripts import has_speakers, transcript

_INPUT: Final = "{{[INPUT]}}"
_OUTPUT: Final = "{{[OUTPUT]}}"
_TEXT_KEYS: Final = ("Selected Text", "text", "msg")


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every save."""
    return dialogs(path, notes, _dialog)


def _dialog(value: Any, where: str) -> Dialog:
    entry = as_object(value, where, '{"prompt": "Bo: hi", "actions": ["\\nAnn: hello"], "memory": ""}')
    story = "".join([_text(entry.get("prompt")), *_actions(entry.get("actions"))])
    settings = entry.get("savedsettings")
    settings = settings if isinstance(settings, dict) else {}
    opponents = [name for name in _text(settings.get("chatopponent")).split("||$||") if name.strip()]
    agent = opponents[0].strip() if opponents else ""
    memory = entry.get("memory")
    persona = persona_from_text(memory, f"{where}, memory") if isinstance(memory, str) else Persona()
    turns = _turns(story, settings, opponents)
    if len(turns) < 2:
        if not has_speakers(story):
            raise DataError(
                f"{where}: a story of KoboldAI's in which nobody speaks by name; running text goes to "
                "`convai train --layout stream --text FILE`"
            )
        found = transcript(story, where)
        sentences = (*persona.sentences, *(check_text(text, where) for text in found.persona))
        return dialog(where, found.turns, (Persona(), Persona(sentences, agent)))
    said = [Turn(side, check_text(words, f"{where}, turn {i}")) for i, (side, words) in enumerate(turns, 1)]
    return dialog(where, said, (Persona(), Persona(persona.sentences, agent)))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _actions(value: object) -> Iterator[str]:
    """The pieces behind the first, of a list or of an object with numbers for keys."""
    if isinstance(value, dict):
        held = value.get("actions")
        value = held if isinstance(held, dict | list) else value
    pieces = value
    if isinstance(value, dict):
        pieces = [value[key] for key in sorted(filter(str.isdecimal, value), key=int)]
    for piece in pieces if isinstance(pieces, list) else []:
        if isinstance(piece, dict):
            piece = next((piece[key] for key in _TEXT_KEYS if isinstance(piece.get(key), str)), "")
        yield _text(piece)


def _turns(story: str, settings: dict[str, Any], opponents: list[str]) -> list[tuple[int, str]]:
    """(who, words) of each turn, as far as the settings or the page's own marks tell."""
    marks: dict[str, int] = {_INPUT: USER, _OUTPUT: AGENT}
    for key, side in (("instruct_starttag", USER), ("instruct_endtag", AGENT)):
        tag = _text(settings.get(key)).replace("\\n", "\n").strip()
        if len(tag) > 2 and tag in story:
            marks[tag] = side
    if not any(mark in story for mark in marks):
        user = _text(settings.get("chatname")).strip() or "You"
        names = {user: USER, **{name.strip(): AGENT for name in opponents}}
        pattern = re.compile(rf"^[ \t]*({'|'.join(map(re.escape, names))}):", re.MULTILINE)
        if not opponents:
            return []
        return _divided(story, pattern, names)
    return _divided(story, re.compile("|".join(map(re.escape, marks))), marks)


def _divided(story: str, pattern: re.Pattern[str], sides: dict[str, int]) -> list[tuple[int, str]]:
    """What stands behind every mark; before the first one the agent greets."""
    found = list[tuple[int, str]]()
    at, side = 0, AGENT
    for mark in [*pattern.finditer(story), None]:
        words = story[at : mark.start() if mark else len(story)].strip()
        if words:
            found.append((side, words))
        if mark:
            at, side = mark.end(), sides[mark[1] if mark.re.groups else mark[0]]
    return found
