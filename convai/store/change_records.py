"""What is told of a conversation and read of its stream, as values."""

from __future__ import annotations

import enum
import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from convai.store.records import Branch, Conversation


class DrawnToken(NamedTuple):
    """A token of a reply, as it is told: its id, and the seed that it was drawn with."""

    id: int
    seed: int


@dataclass(slots=True)
class Posted:
    """Changes of one conversation that are to be numbered and told.

    `makes` give the frames of changes, told their numbers; `drawn` belongs to those that are tokens.
    `begins`: the place of the change with which a reply begins, whose `live` it is; `ends`: a reply has
    ended, or was given up.
    """

    conversation: str
    makes: list[partial[str]] = field(default_factory=list)
    drawn: list[DrawnToken | None] = field(default_factory=list)
    reply: str | None = None
    """The reply that what begins, tokens and ends belong to."""
    begins: int | None = None
    live: str | None = None
    ends: bool = False
    last: bool = False
    """The conversation is gone: what was told before is, too."""
    at: tuple[str, int] | None = None
    """The stream and its newest number, as far as the door knows."""
    key: str = field(default_factory=lambda: secrets.token_hex(8))
    """So that it is told once, should an answer of the database be lost."""


class Refused(enum.Enum):
    """Why nothing of what a door tells of a reply was numbered."""

    ELSEWHERE = enum.auto()
    """Another door has taken the reply up."""
    FORGOTTEN = enum.auto()
    """The database has crashed, and does not know any more that it is being written here: tell it anew."""


class Followed(NamedTuple):
    """A stream: its newest number, who writes which reply, and some of its frames with their numbers."""

    stream: str
    last: int
    writer: str | None
    live: dict[str, Any] | None
    frames: list[tuple[int, str]]


class Numbered(NamedTuple):
    """Frames that were told: the first one's number."""

    stream: str
    first: int
    frames: list[str]


class Snapshot(NamedTuple):
    """A conversation, and its stream at the same moment; the branch ends before a reply in the making."""

    followed: Followed
    conversation: Conversation
    branch: Branch
    shown: str
