"""Replies in the making, saved now and then, all together: the disk is asked once a second, not once a reply."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from convai.server.service import Service, log_failure

if TYPE_CHECKING:
    from convai.server.writing import Writing

SAVE_EVERY: Final = 1.0
"""Seconds of a reply that a crash may cost."""


class Drafts:
    """What has been drawn since the last time it was saved. Belongs to one event loop."""

    def __init__(self, service: Service, every: float = SAVE_EVERY) -> None:
        self._service, self._every = service, every
        self._changed: set[Writing] = set()
        self._task: asyncio.Task[None] | None = None

    def changed(self, writing: Writing) -> None:
        """More of this reply is there."""
        self._changed.add(writing)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="convai-drafts")

    def settled(self, writing: Writing) -> None:
        """This reply is at its end: whoever ends it puts it into the store."""
        self._changed.discard(writing)

    async def _run(self) -> None:
        try:
            while self._changed:
                await asyncio.sleep(self._every)
                drafts = [writing.draft() for writing in self._changed]
                self._changed.clear()
                try:
                    await self._service.in_thread(self._service.store.save_drafts, drafts)
                except Exception as error:  # the replies go on; their ends are saved, or fail, by themselves
                    log_failure("replies in the making could not be saved", error)
        finally:
            self._task = None
