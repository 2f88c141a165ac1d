"""A door's signs of life, and what it does when another one's are missing: its replies are taken up here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from convai.server.contact import Contact
from convai.server.logs import log_failure
from convai.store.leases import Claimed, Orphan
from convai.store.records import Message
from convai.store.shared import Shared

logger: Final = logging.getLogger("convai.server")
BEAT: Final = 0.4
"""Seconds between two signs of life."""
LOOK: Final = 0.2
"""Seconds between two looks at which doors live, and for replies of those that do not."""
STEADY: Final = 6
"""Signs of life before replies of others are taken up: they may only have been late, too, where the database
was away; a door that is new, and finds one that was not, waits for the first alone."""
_SWEEP: Final = 120
"""Signs of life between two times that what is old is forgotten."""
_AFTER: Final = 15
"""Looks for replies once a door is gone: what it asked of the database may be done after its death."""
_ANYWAY: Final = 50
"""Looks at the doors between two looks for replies though no door is gone."""
_SIDE_BY_SIDE: Final = 4
"""Replies that are taken up at the same time."""
TakeUp = Callable[[Orphan, Claimed], Awaitable[None]]
"""Goes on with a reply that is ours now. What it raises, it has begun nothing: it is tried again."""
Say = Callable[[Orphan, Message], Awaitable[None]]
"""Tells of a reply that was whole, or dropped, when its writer died."""


class Heartbeat:
    """One door's. `in_thread` calls what waits for the database; one that is `draining` takes nothing up.

    Signs of life have a task and a thread of their own: however many replies are being taken up, and however
    many people wait for the database, this door is not taken for dead for that.
    """

    def __init__(
        self, shared: Shared, in_thread: Callable[..., Awaitable[Any]], draining: Callable[[], bool]
    ) -> None:
        self._shared, self._in_thread, self._draining = shared, in_thread, draining
        self.contact = Contact(lambda: shared.changes.held)
        self._beats = 0
        self._new = True
        self._unsure: dict[str, Orphan] = {}
        """Replies that may be ours, and that nobody writes: the database went away while they were claimed or
        taken up."""

    async def beat(self, again: Callable[[], None]) -> None:
        """Give signs of life until cancelled. A database that is away costs time and nothing else.

        `again` is called where the database did not know this door.
        """
        while True:
            try:
                with self.contact.asking():
                    new = await asyncio.to_thread(self._shared.leases.beat, self._shared.changes.held)
                if new:
                    again()
                if self._new and await asyncio.to_thread(self._shared.leases.settled):
                    self._beats = STEADY
                self._new = False
                self._beats += 1
                if self._beats % _SWEEP == 0:
                    await self._in_thread(self._shared.sweep)
            except Exception as error:
                self._failed(error)
            await asyncio.sleep(BEAT)

    async def look(self, take_up: TakeUp, say: Say) -> None:
        """Look for replies of doors that are gone until cancelled.

        To look for doors costs little, and to look for replies the more the more are being written.
        """
        leases = self._shared.leases
        known, looks, quiet = frozenset[str](), 0, _ANYWAY
        while True:
            more = False
            try:
                if self._beats > STEADY and not self._draining():
                    living: frozenset[str] = await asyncio.to_thread(leases.living)
                    if known - living:
                        looks = _AFTER
                    known, quiet = living, quiet + 1
                    due = looks > 0 or quiet > _ANYWAY
                    if self._unsure or (due and await asyncio.to_thread(leases.missing)):
                        more = await self._settle(take_up, say)
                    if due and not more:
                        looks, quiet = looks - (looks > 0), 0
            except Exception as error:
                self._failed(error)
                quiet = _ANYWAY
            if not more:
                await asyncio.sleep(LOOK)

    async def watch(self, leave: Callable[[], None]) -> None:
        """Have readers leave as long as this door is cut off from the database, until cancelled."""
        while True:
            if self.contact.cut_off:
                leave()
            await asyncio.sleep(BEAT)

    async def _settle(self, take_up: TakeUp, say: Say) -> bool:
        """Take up what is found; returns whether there may be more of it."""
        leases, gate, count = self._shared.leases, asyncio.Semaphore(_SIDE_BY_SIDE), 0

        async def one(orphan: Orphan) -> None:
            nonlocal count
            async with gate:
                unsure = orphan.message in self._unsure
                self._unsure[orphan.message] = orphan
                claimed = await self._in_thread(leases.claim, orphan, ours=unsure)
                if claimed is not None:
                    logger.warning("reply %s is gone on with here: its door is gone", orphan.message)
                    count += 1
                    await take_up(orphan, claimed)
                del self._unsure[orphan.message]

        found = {orphan.message: orphan for orphan in await self._in_thread(leases.orphans)}
        every = [one(orphan) for orphan in (self._unsure | found).values()]
        failures = [error for error in await asyncio.gather(*every, return_exceptions=True) if error]
        if failures:
            raise failures[0]
        for orphan, kept in await self._in_thread(leases.unsaid):
            await say(orphan, kept)
        return count > 0

    def _failed(self, error: BaseException) -> None:
        self._beats = 0
        log_failure("the database is not there; once more", error)
