"""Plain text: a turn a line, a blank line between dialogues, names and persona lines if you like.

`persona:` lines before the turns are the agent's (`partner's persona:` the user's). If every turn of a
dialogue has a prefix (`user:`, `agent:`, or two names), it says who speaks: the first name to appear is
the user, the second the agent, any other a partner too. Else speakers alternate, the user first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.core.text_files import lines
from convai.text.corpora.building import dialog
from convai.text.corpora.notes import Notes
from convai.text.corpora.roles import ROLES, sides_of_people

_PERSONA: Final = {
    "persona": AGENT,
    "your persona": AGENT,
    "agent's persona": AGENT,
    "partner's persona": USER,
    "user's persona": USER,
}
_PREFIX = re.compile(r"\s*\*{0,2}([^\W\d_][\w .'’\"()&-]{0,39}?)\s*\*{0,2}(?::\*{0,2}(?:\s|$)|：\*{0,2})")
_PREFIX_CHARS: Final = 64

_Line = tuple[int, str]


def blocks(path: Path) -> Iterator[list[_Line]]:
    """Runs of lines that are not blank, each line with its number."""
    return _blocks(lines(path))


def parse_text(text: str, where: str) -> Dialog:
    """The one dialogue in a text. Raises DataError, beginning with `where` and the line, for all else."""
    found = list(_blocks(enumerate(text.removeprefix("\ufeff").split("\n"), 1)))
    if len(found) != 1:
        number = found[1][0][0] if found else 1
        problem = "a second dialogue behind a blank line; one is expected" if found else "no dialogue in it"
        raise DataError(f"{where}:{number}: {problem}")
    return _dialog(where, found[0])


def _blocks(numbered: Iterable[_Line]) -> Iterator[list[_Line]]:
    block: list[_Line] = []
    for line, text in numbered:
        if text.strip():
            block.append((line, text))
        elif block:
            yield block
            block = []
    if block:
        yield block


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every block."""
    found = list(blocks(path))
    if len(found) > 1 and all(len(block) == 1 and _prefix(block[0][1])[0] for block in found):
        found = [[block[0] for block in found]]  # a blank line between any two turns, as texts are pasted
    for block in found:
        try:
            parsed = _dialog(path, block)
        except DataError as error:
            notes.error(error)
        else:
            yield block[0][0], parsed


def _prefix(text: str) -> tuple[str, str]:
    """(the name before a colon in lower case or '', what follows)."""
    match = _PREFIX.match(text[:_PREFIX_CHARS])
    return (match[1].lower(), text[match.end() :]) if match else ("", text)


def _dialog(path: Path | str, block: list[_Line]) -> Dialog:
    personas: tuple[list[str], list[str]] = ([], [])
    said: list[_Line] = []
    for line, text in block:
        name, rest = _prefix(text)
        if name in _PERSONA and not said:
            personas[_PERSONA[name]].append(check_text(rest, f"{path}:{line}, persona"))
        else:
            said.append((line, text))
    speakers, texts = _speakers(path, said)
    turns = [
        Turn(speaker, check_text(text, f"{path}:{line}"))
        for speaker, (line, _), text in zip(speakers, said, texts, strict=True)
    ]
    both = (Persona(tuple(personas[USER])), Persona(tuple(personas[AGENT])))
    return dialog(f"{path}:{block[0][0]}", turns, both)


def _speakers(path: Path | str, said: list[_Line]) -> tuple[list[int], list[str]]:
    """Who says each line, and the line without its prefix."""
    split = [_prefix(text) for _, text in said]
    names = [name for name, _ in split]
    roles = [name in ROLES for name in names]
    if all(names):
        rest = [text for _, text in split]
        if all(roles):
            return [ROLES[name] for name in names], rest
        if not any(roles):
            return sides_of_people(names), rest
    if any(roles):
        odd = roles.index(False)
        raise DataError(
            f"{path}:{said[odd][0]}: no 'user:' or 'agent:' before this turn, though other turns of the "
            "dialogue have one; give every turn one, or none"
        )
    return [i % 2 for i in range(len(said))], [text for _, text in said]
