"""The rules of a conversation's tree, which one in memory and one on a disk both go by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from convai.core.dialog import AGENT, USER
from convai.core.errors import ConvaiError


class Conflict(ConvaiError):
    """The conversation has moved on, or is not in the state that the operation needs."""


class Node(Protocol):
    """A message of a tree."""

    @property
    def id(self) -> str: ...
    @property
    def parent(self) -> str | None: ...
    @property
    def speaker(self) -> int: ...


NodeT = TypeVar("NodeT", bound=Node)


def answered_by_another(message: Node) -> str | None:
    """What another reply hangs on: a user's message itself, or what a reply answers."""
    return message.id if message.speaker == USER else message.parent


def last_said(path: Sequence[NodeT]) -> NodeT:
    """The user's last message, which `undo` takes back. Raises Conflict where nothing was said."""
    for message in reversed(path):
        if message.speaker == USER:
            return message
    raise Conflict("there is nothing to take back")


def check_answerable(last: Node | None) -> None:
    """Raise Conflict where the last message is a reply, so that none is to follow."""
    if last is not None and last.speaker == AGENT:
        raise Conflict("the last message is a reply; draw it again, or say something")


def check_goes_on(message: Node, followed: bool) -> None:
    """Raise Conflict where `message` is no reply that can be gone on with."""
    if message.speaker != AGENT:
        raise Conflict("only a reply can be gone on with")
    if followed:
        raise Conflict("something was said after this reply; draw another one instead")


def newest_below(links: Iterable[tuple[str, str | None]], id: str) -> str:
    """The newest message among `id` and all that follow it: where `switch` leads.

    `links`: every message and its parent, oldest first.
    """
    newest, below = id, {id}
    for child, parent in links:  # parents come before their children
        if parent in below:
            below.add(child)
            newest = child
    return newest
