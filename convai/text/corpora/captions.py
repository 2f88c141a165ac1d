"""Captions that say who speaks, as programs for meetings write them: `<v Ann>hi`, or `Ann: hi` in a cue.

What one person says in several cues on end is one turn. A cue without a name goes on with the one before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from convai.core.dialog import Dialog
from convai.core.text_files import lines
from convai.text.corpora.notes import Notes
from convai.text.corpora.posts import NOTICE, Post, agent_among, dialogs_of, runs

CUE: Final = re.compile(
    r"\s*(?:(?P<hour>\d{1,3}):)?(?P<minute>\d\d):\d\d[.,]\d{3} --> (?:\d{1,3}:)?\d\d:\d\d[.,]\d{3}.*"
)
"""The line with the times of a cue."""
_VOICE: Final = re.compile(r"<v(?:\.[^\s<>]{1,40})*\s+([^<>]{1,60})>")
_NAMED: Final = re.compile(r"([^\W\d_][\w .,'’()-]{0,39}?):\s+(?=\S)")
_TAG: Final = re.compile(r"</?[a-z][^<>]{0,60}>", re.IGNORECASE)

_IDENTIFIER: Final = re.compile(r"\d+|[\da-f-]{2,40}/[\d-]+")
"""What stands above the times of a cue."""

_Cue = tuple[int, re.Match[str], list[str]]


def is_captions(first_lines: Sequence[str]) -> bool:
    """Whether a text begins as captions of two people or more, most cues with a name."""
    if not first_lines or not any(map(CUE.fullmatch, first_lines[:10])):
        return False
    found = [_spoken(cue) for cue in _cues(enumerate(first_lines, 1))]
    names = [name for name, words in found if name and words]
    return len(set(names)) > 1 and 2 * len(names) > len(found)


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every run of cues without a long silence."""
    posts = list[Post]()
    for cue in _cues(lines(path)):
        name, words = _spoken(cue)
        name = name or (posts[-1].name if posts else "")
        if not words or not name:
            notes.omit(NOTICE)
        elif posts and posts[-1].name == name:
            posts[-1] = Post(posts[-1].line, name, f"{posts[-1].text} {words}", posts[-1].at)
        else:
            posts.append(Post(cue[0], name, words, _moment(cue[1])))
    yield from dialogs_of(path, runs(posts), agent_among(posts), notes)


def _cues(numbered: Iterable[tuple[int, str]]) -> Iterator[_Cue]:
    """The cues with their lines; the number or name above the next one's times is no word of it."""
    cue: _Cue | None = None
    for number, line in numbered:
        times = CUE.fullmatch(line)
        if times:
            if cue is not None:
                if cue[2] and _IDENTIFIER.fullmatch(cue[2][-1]):
                    cue[2].pop()
                yield cue
            cue = (number, times, [])
        elif cue is not None and line.strip():
            cue[2].append(line.strip())
    if cue is not None:
        yield cue


def _spoken(cue: _Cue) -> tuple[str, str]:
    """Who speaks in a cue, or an empty text, and the words."""
    text = " ".join(cue[2])
    name = ""
    if voice := _VOICE.search(text):
        name = voice[1].strip()
    elif named := _NAMED.match(text):
        name, text = named[1].strip(), text[named.end() :]
    return name, " ".join(_TAG.sub(" ", text).split())


def _moment(times: re.Match[str]) -> datetime:
    hour = int(times["hour"] or 0)
    return datetime(2000, 1, 1 + min(hour // 24, 30), hour % 24, int(times["minute"]) % 60)
