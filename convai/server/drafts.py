"""Replies in the making, saved now and then, all together: the disk is asked once a second at most."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from convai.server.logs import log_failure
from convai.server.service import Service
from convai.store import Draft

SAVE_EVERY: Final = 2.0
"""Seconds of a reply that a crash may cost."""
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
        self._changed: set[Unfinished] = set()
        self._task: asyncio.Task[None] | None = None

    def changed(self, writing: Unfinished) -> None:
        """More of this reply is there."""
        self._changed.add(writing)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="convai-drafts")

    async def _save(self, writings: list[Unfinished]) -> None:
        drafts = [writing.draft() for writing in writings if not writing.settled]
        try:
            await self._service.in_store(self._service.store.save_drafts, drafts)
        except Exception as error:  # the replies go on; their ends are saved, or fail, by themselves
            log_failure("replies in the making could not be saved", error)

    async def _run(self) -> None:
        try:
            while self._changed:
                await asyncio.sleep(self._every / 2)
                waiting, self._changed = list(self._changed), set()
                for start in range(0, len(waiting), _TOGETHER):
                    await self._save(waiting[start : start + _TOGETHER])
                    await asyncio.sleep(self._every / 2 * _TOGETHER / len(waiting))
        finally:
            self._task = None
