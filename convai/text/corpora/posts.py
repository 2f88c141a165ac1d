"""What people wrote to each other, as dialogues: who is the agent, and where one ends and another begins.

A silence of six hours begins another dialogue. Who speaks second in the file is the agent, in all of it, and
everybody else the user's side, unless an export says who exported it, or who is a program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from convai.core.dialog import AGENT, USER, Dialog, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import dialog
from convai.text.corpora.notes import Notes

SILENCE: Final = timedelta(hours=6)
WORDLESS: Final = "wordless message"
"""What a picture, a sticker or a call is counted as."""
NOTICE: Final = "notice"
UNANSWERED: Final = "unanswered message"


@dataclass(frozen=True, slots=True)
class Post:
    """One message: the line of the file that it is told by, who wrote it, and when."""

    line: int
    name: str
    text: str
    at: datetime | None = None


def moment(value: object) -> datetime | None:
    """An ISO date and time without its zone, or seconds (or milliseconds) since 1970; None for all else."""
    try:
        if isinstance(value, str) and not value.replace(".", "", 1).isdecimal():
            return datetime.fromisoformat(value).replace(tzinfo=None)
        seconds = float(value)  # type: ignore[arg-type]
        return datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC).replace(tzinfo=None)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def agent_among(posts: Iterable[Post], partner: str = "") -> str:
    """Whose turns are the agent's: the first one who is not `partner`, or else who speaks second."""
    names = list(dict.fromkeys(post.name for post in posts))
    others = [name for name in names if name != partner] if partner in names else names[1:]
    return others[0] if others else ""


def runs(posts: Sequence[Post]) -> Iterator[list[Post]]:
    """Messages with no long silence between two of them."""
    run: list[Post] = []
    for post in posts:
        last = run[-1].at if run else None
        if last is not None and post.at is not None and post.at - last > SILENCE:
            yield run
            run = []
        run.append(post)
    if run:
        yield run


def dialogs_of(
    path: Path, divided: Iterable[list[Post]], agent: str, notes: Notes
) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every run of messages that somebody answered."""
    for run in divided:
        where = f"{path}:{run[0].line}"
        if len(run) < 2:  # a message that nobody answered is no dialogue
            notes.omit(UNANSWERED)
            continue
        try:
            turns = [
                Turn(AGENT if post.name == agent else USER, check_text(post.text, f"{path}:{post.line}"))
                for post in run
            ]
            yield run[0].line, dialog(where, turns)
        except DataError as error:
            notes.error(error)
