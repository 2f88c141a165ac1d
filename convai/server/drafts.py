"""Replies in the making, saved now and then, all together: the disk is asked once a second at most."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from convai.server.logs import log_failure
from convai.server.service import Service
from convai.store import Draft

SAVE_EVERY: Final = 2.0
"""Seconds of a reply that a crash may cost."""
SAVE_SHARED: Final = 15.0
"""The same where doors tell each other every token by way of the database, which has them all then: so much
is lost where it crashes together with the door that writes."""
SAVE_SLOW: Final = 60.0
"""The same of a reply that has grown by less than `FEW` tokens meanwhile: they are not worth a statement."""
FEW: Final = 16
_TOGETHER: Final = 50
"""Replies in one transaction: more of them would keep the event loop from its work for too long."""


class Unfinished(Protocol):
    """A reply that is being written."""

    settled: bool

    def draft(self) -> Draft:
        """The reply as far as it is to be saved."""


class Drafts:
    """What has been drawn since the last time it was saved. Belongs to one event loop."""

    def __init__(self, service: Service, every: float = SAVE_EVERY) -> None:
        self._service, self._every = service, every
        self._shared = service.doors is not None
        self._changed: set[Unfinished] = set()
        self._saved: WeakKeyDictionary[Unfinished, float] = WeakKeyDictionary()
        """When those were saved that have been."""
        self._grown: WeakKeyDictionary[Unfinished, int] = WeakKeyDictionary()
        """Tokens since then."""
        self._task: asyncio.Task[None] | None = None

    def changed(self, writing: Unfinished) -> None:
        """More of this reply is there."""
        self._changed.add(writing)
        if self._shared:
            self._grown[writing] = self._grown.get(writing, 0) + 1
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="convai-drafts")

    async def _save(self, writings: list[Unfinished]) -> None:
        drafts = [writing.draft() for writing in writings if not writing.settled]
        try:
            await self._service.in_store(self._service.store.save_drafts, drafts)
        except Exception as error:  # the replies go on; their ends are saved, or fail, by themselves
            log_failure("replies in the making could not be saved", error)

    def due(self, now: float) -> list[Unfinished]:
        """Those that are to be saved now: the first time soon, so that the branch leads there."""
        self._changed = {one for one in self._changed if not one.settled}
        due = [one for one in self._changed if now - self._saved.get(one, -math.inf) >= self._rest(one)]
        self._changed.difference_update(due)
        self._saved.update(dict.fromkeys(due, now))
        self._grown.update(dict.fromkeys(due, 0))
        return due

    def _rest(self, writing: Unfinished) -> float:
        """Seconds between two times that it is saved."""
        if not self._shared:
            return 0.0
        return SAVE_SHARED if self._grown.get(writing, 0) >= FEW else SAVE_SLOW

    async def _run(self) -> None:
        try:
            while self._changed:
                await asyncio.sleep(self._every / 2)
                waiting = self.due(time.monotonic())
                for start in range(0, len(waiting), _TOGETHER):
                    await self._save(waiting[start : start + _TOGETHER])
                    await asyncio.sleep(self._every / 2 * _TOGETHER / len(waiting))
        finally:
            self._task = None
