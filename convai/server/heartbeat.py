"""A door's signs of life, and what it does when another one's are missing: its replies are taken up here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from convai.server.logs import log_failure
from convai.store.leases import Claimed, Orphan
from convai.store.records import Message
from convai.store.shared import Shared

logger: Final = logging.getLogger("convai.server")
BEAT: Final = 0.4
"""Seconds between two signs of life, and between two looks for replies whose door gives none."""
STEADY: Final = 6
"""Signs of life before replies of others are taken up: they may only have been late, too."""
_SWEEP: Final = 120
"""Signs of life between two times that what is old is forgotten."""


class Heartbeat:
    """One door's. `in_thread` calls what waits for the database; one that is `draining` takes nothing up."""

    def __init__(
        self, shared: Shared, in_thread: Callable[..., Awaitable[Any]], draining: Callable[[], bool]
    ) -> None:
        self._shared, self._in_thread, self._draining = shared, in_thread, draining
        self._beats = 0

    async def beat(
        self,
        take_up: Callable[[Orphan, Claimed], Awaitable[None]],
        say: Callable[[Orphan, Message], Awaitable[None]],
        again: Callable[[], None],
    ) -> None:
        """Go on until cancelled.

        `take_up` goes on with a reply that is ours now; `say` tells of one that was whole, or dropped, when
        its writer died; `again` is called where the database did not know this door. A database that is away
        costs time and nothing else.
        """
        leases = self._shared.leases
        while True:
            try:
                if await self._in_thread(leases.beat, self._shared.changes.held):
                    again()
                self._beats += 1
                if self._beats > STEADY and not self._draining():
                    for orphan in await self._in_thread(leases.orphans):
                        claimed = await self._in_thread(leases.claim, orphan)
                        if claimed is not None:
                            logger.warning("reply %s is gone on with here: its door is gone", orphan.message)
                            await take_up(orphan, claimed)
                    for orphan, kept in await self._in_thread(leases.unsaid):
                        await say(orphan, kept)
                if self._beats % _SWEEP == 0:
                    await self._in_thread(self._shared.sweep)
            except Exception as error:
                self._beats = 0
                log_failure("the database is not there; once more", error)
            await asyncio.sleep(BEAT)
