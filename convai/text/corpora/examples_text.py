"""Example dialogues of a character as text: `{{user}}:` and `{{char}}:` before the turns.

`<START>` or `END_OF_DIALOG` stands between two dialogues, or a blank line where no other mark does. The
character is the agent: `{{char}}`, or who speaks in the most dialogues where names are written out; everybody
else is the user. A line without a name belongs to the turn before it; lines before the first turn describe
somebody, and are left out and counted, as dialogues of one turn are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from convai.core.dialog import AGENT, USER, Dialog, Turn, check_text
from convai.core.errors import DataError
from convai.core.text_files import lines
from convai.text.cards.examples import BETWEEN, SAID, speaker
from convai.text.corpora.building import dialog
from convai.text.corpora.notes import Notes

_MACRO: Final = re.compile(r"\s*\{\{\s*(?:user|char|random_user_\d{1,3})\s*\}\}\s*:", re.IGNORECASE)
_NAME: Final = 200
"""Characters of a line in which a name ends."""

_Line = tuple[int, str]
_Said = tuple[int, str, list[str]]
"""Line, speaker and words of a turn."""


def is_examples(first_lines: Sequence[str]) -> bool:
    """Whether a text is a character's examples: it has marks between two, or turns of `{{char}}`."""
    return any(BETWEEN.match(line) or _MACRO.match(line) for line in first_lines)


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every example."""
    found = list[list[_Said]]()
    for block in _blocks(path):
        turns, before = _turns(block)
        notes.omit("descriptive line", before)
        if len(turns) > 1:
            found.append(turns)
        elif turns:
            notes.omit("one-turn example")
    character = _character(found)
    for said in found:
        line = said[0][0]
        try:
            spoken = [
                Turn(AGENT if who == character else USER, check_text(" ".join(words), f"{path}:{number}"))
                for number, who, words in said
            ]
            parsed = dialog(f"{path}:{line}", spoken)
        except DataError as error:
            notes.error(error)
        else:
            yield line, parsed


def _blocks(path: Path) -> Iterator[list[_Line]]:
    every = [(number, text.rstrip("\r\n")) for number, text in lines(path)]
    marked = any(BETWEEN.match(text) for _, text in every)
    block = list[_Line]()
    for number, text in every:
        if BETWEEN.match(text) or (not marked and not text.strip()):
            yield block
            block = []
        elif text.strip():
            block.append((number, text))
    yield block


def _turns(block: Sequence[_Line]) -> tuple[list[_Said], int]:
    """The turns of a block, and how many lines stand before the first of them."""
    found, before = list[_Said](), 0
    for number, text in block:
        name = SAID.match(text[:_NAME])
        if name:
            found.append((number, speaker(name[1]), [text[name.end() :].strip()]))
        elif found:
            found[-1][2].append(text.strip())
        else:
            before += 1
    return [turn for turn in found if any(turn[2])], before


def _character(found: Sequence[Sequence[_Said]]) -> str:
    """Who is the agent: `{{char}}`, or who speaks in the most dialogues, of equals the second to speak."""
    names = [list(dict.fromkeys(who for _, who, _ in said)) for said in found]
    among = Counter(who for one in names for who in one if who not in ("user", "you"))
    if among["char"] or not among:
        return "char"
    most = max(among.values())
    equals = [who for who, number in among.items() if number == most]
    return next((one[1] for one in names if len(one) > 1 and one[1] in equals), equals[0])
