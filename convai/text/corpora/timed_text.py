"""Transcripts with a time before every turn, and logs of chat rooms.

`[10:15] Ann: hello`, `10:15 Ann: hello`, `Ann (10:15): hello`, `[Ann] [10:15] hello`, tabs between the three,
`[10:15] <ann> hello`; or a time and a name on lines of their own above what is said. Other lines go on with
the one above; notices, and dates on lines of their own, are left out. A blank line, another day, a clock that
goes back or a silence of six hours begins another dialogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from convai.core.dialog import Dialog
from convai.core.text_files import lines
from convai.text.corpora.notes import Notes
from convai.text.corpora.posts import NOTICE, WORDLESS, Post, agent_among, dialogs_of, moment, runs

_MONTH: Final = r"(?:[A-Z][a-z]{2}|[A-Z][a-z]{3,8})\.?"
_DATE: Final = (
    rf"(?:(?P<date>\d{{4}}-\d\d-\d\d)|\d{{1,4}}[/.-](?:\d{{1,2}}|[A-Za-z]{{3}})[/.-]\d{{2,4}}"
    rf"|{_MONTH} \d{{1,2}}(?:, \d{{4}})?|\d{{1,2}}\.? {_MONTH} \d{{4}})(?:,| at|T)?[ \t]*"
)
"""A day; only the first way to write it is understood, of the others the clock."""
_CLOCK: Final = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::\d\d)?(?:[.,]\d+)?\s?(?P<half>[aApP]\.?[mM]\.?)?Z?"
_TIME: Final = rf"(?:{_DATE})?{_CLOCK}"
_NAME: Final = r"(?P<name>[^\W\d_][\w .'’\"()&-]{0,39}?)"
_NICK_NAME: Final = r"<[ @+%&~!]?(?P<nick>[^<>\s]{1,40})>"
"""As chat rooms have it, behind the sign of who may do what there."""
_BEFORE = re.compile(
    rf"\s*(?P<opened>[\[(])?{_TIME}(?(opened)[\])])\s*[-–]?\s*(?:{_NICK_NAME}|{_NAME}\s*:)\s(?P<text>.*)"
)
_BEHIND = re.compile(rf"\s*{_NAME}\s*[\[(]{_TIME}[\])]\s*:?\s(?P<text>.*)")
_TURNS: Final = (
    _BEFORE,
    _BEHIND,
    re.compile(rf"\s*\[(?P<name>[^\[\]]{{1,40}})\]\s*\[{_TIME}\]\s(?P<text>.*)"),
    re.compile(rf"\s*{_TIME}\t[@+%&~]?(?P<name>[^\W_][^\t]{{0,39}})\t(?P<text>.*)"),
    re.compile(rf"\s*{_NICK_NAME}\s(?P<text>.*)"),
)
_DAY: Final = r"(?:(?:\d{1,2}[/.]\d{1,2}[/.]\d{2,4}|[Tt]oday|[Yy]esterday)(?:,| at)?\s+)?"
_HEADS: Final = (
    re.compile(rf"\s*[\[(]?{_TIME}[\])]?\s+(?:[-–—]\s*)?(?=[^\W\d_a-z]){_NAME}:?\s*(?P<text>)"),
    re.compile(rf"\s*{_NAME}(?:\s*[-–—,|]\s*|\s\s+|\t)[\[(]?{_DAY}{_CLOCK}[\])]?\s*(?P<text>)"),
    re.compile(rf"\s*\[{_DATE}{_CLOCK}\]\s+(?P<name>\S[^:\n]{{0,39}}?)\s*(?P<text>)"),
    re.compile(rf"\s*{_DATE}{_CLOCK}\t(?P<name>\S[^\t]{{0,59}}?)\s*(?P<text>)"),
)
"""A time and a name that are a line of their own: transcripts of meetings, what is copied out of chats."""
_MOMENT = re.compile(rf"\s*{_DATE}{_CLOCK}(?:\s*\([^()]{{1,80}}\))?\s*")
"""A date and a time alone, above the line with the name: what writes out a phone's messages."""
_NAME_CHARS: Final = 60
_ONE_DAY = re.compile(
    rf"[\W_]*(?:[A-Z][a-z]{{2,9}}\W+)?(?:\d{{1,4}}[/.-]\d{{1,2}}[/.-]\d{{1,4}}|{_MONTH} \d{{1,2}}\W+\d{{4}}"
    rf"|\d{{1,2}}\.? {_MONTH} \d{{4}})\W*(?:\w{{1,9}}\W*)?"
)
"""A line that says nothing but which day follows."""
_SIGNS: Final = r"\*{1,4}|-!-|-{2,}|={2,}|-->|<--|\*"
_NUMBERS: Final = rf"(?:{_MONTH}\s+)?[\d:., T-]{{4,30}}(?:\s?[aApP]\.?[mM]\.?)?"
_NOTICE = re.compile(
    rf"\s*(?:[\[(]{_NUMBERS}[\])]\s.*|(?:{_NUMBERS}\s+)?(?:{_SIGNS})\s.*|[-=*]{{3,}}"
    r"|Exported \d+ message\(s\)|Transcribed by https?://\S+)\s*"
)
"""Without a name: a time in brackets, the marks of chat programs, rules, and what exporters write below."""
_STICKER = re.compile(r"\[(?:sticker|photo|video|file|voice message|album|location)\]", re.IGNORECASE)
_MOST_BEFORE: Final = 6
"""Lines before the first turn: a title, who was there, which day it is."""
_LOOKED_AT: Final = 50
_LEVELS: Final = {"info", "debug", "warning", "warn", "error", "critical", "fatal", "trace", "notice"}
_MARKUP: Final = {"p", "b", "i", "div", "span", "br", "html", "body", "ul", "li", "td", "tr", "table", "a"}

_Line = tuple[int, re.Match[str], str]


def is_timed(first_lines: Sequence[str]) -> bool:
    """Whether a text begins as such a transcript: a time and a name before most turns, two people or more."""
    told = [line for _, line in _under_moments(enumerate(first_lines))]
    start = _first_turn(told)
    if start is None:
        return False
    alone = _begins_alone(told[start])
    found = [match for line in told[start:] if (match := _turn(line, alone)) or not is_aside(line)]
    names = {_name(match) for match in found if match}
    if len(names) < 2 or {name.lower() for name in names} & (_LEVELS | _MARKUP):
        return False
    return sum(map(bool, found)) * (6 if alone else 2) > len(found)


def _first_turn(told: Sequence[str]) -> int | None:
    """Where the first turn is: at the beginning, or behind what a program, or a day, has before it."""
    for i, line in enumerate(told[: _MOST_BEFORE + 1]):
        if _begins_alone(line) or _turn(line, False):
            return i if i == 0 or is_aside(told[i - 1]) else None
    return None


def is_aside(line: str) -> bool:
    """Whether a line is nobody's: a notice, a rule, a day."""
    return bool(_NOTICE.fullmatch(line) or _ONE_DAY.fullmatch(line))


def _under_moments(numbered: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The lines, a date and a time alone and the name in the next as one line with a tab between them."""
    held: tuple[int, str] | None = None
    for number, line in numbered:
        if held is not None:
            start, above = held
            held = None
            if line.strip() and len(line.strip()) <= _NAME_CHARS:
                stamp = re.sub(r"\s*\([^()]*\)\s*$", "", above).strip()
                yield start, f"{stamp}\t{line.strip()}"
                continue
            yield start, above
        if _MOMENT.fullmatch(line):
            held = (number, line)
        else:
            yield number, line
    if held is not None:
        yield held


def _begins_alone(line: str) -> bool:
    """Whether a file that begins with this line has times and names on lines of their own."""
    return any(head.fullmatch(line) for head in _HEADS)


def _turn(line: str, alone: bool) -> re.Match[str] | None:
    patterns = _HEADS if alone else _TURNS
    return next((match for pattern in patterns if (match := pattern.fullmatch(line))), None)


def turn_of(line: str) -> tuple[str, str] | None:
    """Who says what in a line, the time left out; None for a line that is no turn."""
    match = _turn(line, False)
    return None if match is None else (_name(match), match["text"])


def _name(match: re.Match[str]) -> str:
    groups = match.groupdict()
    return (groups.get("nick") or groups.get("name") or "").strip()


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every run of turns."""
    blocks: list[list[_Line]] = [[]]
    first = [line for _, line in islice(_told(path), 2 * _LOOKED_AT) if line.strip()]
    start = _first_turn(first) or 0
    blank, alone = False, bool(first) and _begins_alone(first[start])
    for number, line in _told(path):
        match = _turn(line, alone)
        if not line.strip():
            blank = True
            continue
        if match:
            if blank and blocks[-1]:
                blocks.append([])
            blocks[-1].append((number, match, match["text"]))
        elif is_aside(line) or not blocks[-1]:
            notes.omit(NOTICE)  # somebody joined; a heading
            blank = blank or bool(_ONE_DAY.fullmatch(line))
            continue
        else:
            begun, head, text = blocks[-1][-1]
            blocks[-1][-1] = (begun, head, f"{text}\n{line}")
        blank = False
    if all(len(block) == 1 for block in blocks):  # a blank line between any two turns
        blocks = [[block[0] for block in blocks]]
    posts = [
        [_post(line) for line in block if line[2].strip() and not _STICKER.fullmatch(line[2].strip())]
        for block in blocks
        if block
    ]
    notes.omit(WORDLESS, sum(map(len, blocks)) - sum(map(len, posts)))
    agent = agent_among([post for block in posts for post in block])
    yield from dialogs_of(path, (run for block in posts for run in _forward(block)), agent, notes)


def _told(path: Path) -> Iterator[tuple[int, str]]:
    return _under_moments(lines(path))


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
