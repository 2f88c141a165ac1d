"""A conversation that several doors may have open, as `convai.server.doors` sees it."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from convai.server.protocol.replay import ReplayBuffer


class SharedRoom(Protocol):
    """A conversation that somebody has open here; `convai.server.room.Room` is one."""

    owner: str
    id: str
    buffer: ReplayBuffer
    deleted: bool
    abroad: Abroad

    @property
    def empty(self) -> bool:
        """Whether nobody reads it here."""

    def wake(self) -> None:
        """There is something new in the buffer."""

    def restate(self) -> None:
        """Everybody is to get the whole anew."""

    def record(self) -> dict[str, Any]:
        """What another door needs to go on with the reply that begins."""

    def retell(self) -> None:
        """Tell of the reply that is written here anew, as far as it has come."""

    async def lost(self) -> None:
        """The reply that is written here belongs to another door."""

    async def stop(self, message: str) -> None:
        """Stop a reply that is written here, if it is that one."""


class Abroad:
    """What is known here of a conversation's life at other doors."""

    def __init__(self) -> None:
        self.followed = False
        self.told = 0
        """The newest number that somebody has told of."""
        self.writing: str | None = None
        """The reply that another door is writing."""
        self.settled = asyncio.Event()
        self.catching: asyncio.Lock = asyncio.Lock()
        self.read = asyncio.Event()
        """Somebody reads it elsewhere."""
