"""Transcripts with a time before every turn, and logs of chat rooms.

`[10:15] Ann: hello`, `10:15 Ann: hello`, `Ann (10:15): hello`, `[10:15] <ann> hello`. Other lines go on with
the one above. A blank line, a clock that goes back or a silence of six hours begins another dialogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from convai.core.dialog import Dialog
from convai.core.text_files import lines
from convai.text.corpora.notes import Notes
from convai.text.corpora.posts import NOTICE, WORDLESS, Post, agent_among, dialogs_of, moment, runs

_TIME: Final = (
    r"(?:(?P<date>\d{4}-\d\d-\d\d)[T ,]+)?(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::\d\d)?(?:[.,]\d+)?\s?"
    r"(?P<half>[aApP]\.?[mM]\.?)?Z?"
)
_NAME: Final = r"(?P<name>[^\W\d_][\w .'’\"()&-]{0,39}?)"
_BEFORE = re.compile(
    rf"\s*(?P<opened>[\[(])?{_TIME}(?(opened)[\])])\s*[-–]?\s*(?:<(?P<nick>[^<>\s]{{1,40}})>|{_NAME}\s*:)\s(?P<text>.*)"
)
_BEHIND = re.compile(rf"\s*{_NAME}\s*[\[(]{_TIME}[\])]\s*:?\s(?P<text>.*)")
_NICK = re.compile(r"\s*<(?P<nick>[^<>\s]{1,40})>\s(?P<text>.*)")
_DAY: Final = r"(?:(?:\d{1,2}[/.]\d{1,2}[/.]\d{2,4}|[Tt]oday|[Yy]esterday)(?:,| at)?\s+)?"
_HEADS: Final = (
    re.compile(rf"\s*[\[(]?{_TIME}[\])]?\s+(?:[-–—]\s*)?(?=[^\W\d_a-z]){_NAME}:?\s*(?P<text>)"),
    re.compile(rf"\s*{_NAME}(?:\s*[-–—,|]\s*|\s\s+|\t)[\[(]?{_DAY}{_TIME}[\])]?\s*(?P<text>)"),
)
"""A time and a name that are a line of their own: transcripts of meetings, what is copied out of chats."""
_CLOCK: Final = r"[\d:., T-]{4,30}(?:\s?[aApP]\.?[mM]\.?)?"
_NOTICE = re.compile(rf"\s*(?:[\[(]{_CLOCK}[\])]\s.*|(?:{_CLOCK}\s+)?(?:\*{{1,3}}|-!-|-{{2,}}|={{2,}})\s.*)")
"""Without a name: a time in brackets, or the marks of chat programs."""
_LEVELS: Final = {"info", "debug", "warning", "warn", "error", "critical", "fatal", "trace", "notice"}
_MARKUP: Final = {"p", "b", "i", "div", "span", "br", "html", "body", "ul", "li", "td", "tr", "table", "a"}

_Line = tuple[int, re.Match[str], str]


def is_timed(first_lines: Sequence[str]) -> bool:
    """Whether a text begins as such a transcript: a time and a name before most turns, two people or more."""
    alone = bool(first_lines) and _begins_alone(first_lines[0])
    found = [_turn(line, alone) for line in first_lines]
    names = {_name(match) for match in found if match}
    if not first_lines or found[0] is None or len(names) < 2:
        return False
    return sum(map(bool, found)) * (6 if alone else 2) > len(found) and not {
        name.lower() for name in names
    } & (_LEVELS | _MARKUP)


def _begins_alone(line: str) -> bool:
    """Whether a file that begins with this line has times and names on lines of their own."""
    return any(head.fullmatch(line) for head in _HEADS)


def _turn(line: str, alone: bool) -> re.Match[str] | None:
    if alone:
        return next((match for head in _HEADS if (match := head.fullmatch(line))), None)
    return _BEFORE.fullmatch(line) or _BEHIND.fullmatch(line) or _NICK.fullmatch(line)


def _name(match: re.Match[str]) -> str:
    groups = match.groupdict()
    return (groups.get("nick") or groups.get("name") or "").strip()


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every run of turns."""
    blocks: list[list[_Line]] = [[]]
    blank, alone = False, None
    for number, line in lines(path):
        if alone is None and line.strip():
            alone = _begins_alone(line)
        match = _turn(line, bool(alone))
        if not line.strip():
            blank = True
            continue
        if match:
            if blank and blocks[-1]:
                blocks.append([])
            blocks[-1].append((number, match, match["text"]))
        elif _NOTICE.fullmatch(line) or not blocks[-1]:
            notes.omit(NOTICE)  # somebody joined; a heading
        else:
            start, first, text = blocks[-1][-1]
            blocks[-1][-1] = (start, first, f"{text}\n{line}")
        blank = False
    if all(len(block) == 1 for block in blocks):  # a blank line between any two turns
        blocks = [[block[0] for block in blocks]]
    posts = [[_post(line) for line in block if line[2].strip()] for block in blocks if block]
    notes.omit(WORDLESS, sum(map(len, blocks)) - sum(map(len, posts)))
    agent = agent_among([post for block in posts for post in block])
    yield from dialogs_of(path, (run for block in posts for run in _forward(block)), agent, notes)


def _forward(block: list[Post]) -> Iterator[list[Post]]:
    """Runs in which the clock does not go back."""
    start = 0
    for i in range(1, len(block) + 1):
        before, at = block[i - 1].at, block[i].at if i < len(block) else None
        if i == len(block) or (before is not None and at is not None and at < before):
            yield from runs(block[start:i])
            start = i


def _post(line: _Line) -> Post:
    number, match, text = line
    groups = match.groupdict()
    at: datetime | None = None
    if groups.get("hour"):
        hour, half = int(groups["hour"]), (groups.get("half") or "").lower()
        if half:
            hour = hour % 12 + (12 if half.startswith("p") else 0)
        day = groups.get("date") or "2000-01-01"
        at = moment(f"{day} {hour:02}:{groups['minute']}")
    return Post(number, _name(match), text, at)
