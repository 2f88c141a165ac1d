"""What this door tells others: changes are gathered, numbered in the database, and then told here as well."""

from __future__ import annotations

import asyncio
import functools
import json
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from convai.server.logs import log_failure
from convai.server.protocol import Change
from convai.server.protocol.changes import (
    Deleted,
    Failed,
    FinishedReply,
    Path,
    Started,
    Stopped,
    TokenDrawn,
)
from convai.server.protocol.wire import encode
from convai.server.shared_room import SharedRoom
from convai.store.change_log import ChangeLog
from convai.store.change_records import DrawnToken, Numbered, Posted, Refused

FLUSH: Final = 0.02
"""Seconds from one telling of changes to the next: what comes meanwhile is gathered."""
GATHER: Final = 0.03
"""The same for what comes from engines elsewhere: longer, so that it need not wait a second time."""
PATIENCE: Final = 5.0
"""Seconds for which other doors, or the database, have time."""
_LONGEST: Final = 0.4
"""Seconds between two attempts to tell what all readers wait for, while the database is away."""
InThread = Callable[..., Awaitable[Any]]


class Telling:
    """Belongs to one event loop."""

    def __init__(
        self,
        changes: ChangeLog,
        in_thread: InThread,
        arrived: Callable[[SharedRoom, Numbered], None],
        lost: Callable[[SharedRoom], None],
    ) -> None:
        """`arrived`: changes of a room's have their numbers; `lost`: its reply is another door's."""
        self._changes, self._in_thread = changes, in_thread
        self._arrived, self._lost = arrived, lost
        self._posts: dict[str, tuple[SharedRoom, Posted]] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._told_at = -math.inf
        """When changes were told last."""
        self._clock = time.monotonic
        self.flown: set[str] = set()
        """Conversations whose changes are being numbered."""

    async def close(self) -> None:
        """Tell what is still to be told, unless the database is away: who comes back gets the whole anew."""
        await self.flushed()
        if self._flushing is not None:
            self._flushing.cancel()

    def emit(self, room: SharedRoom, change: Change, drawn: DrawnToken | None = None) -> None:
        """Number a change and tell everybody, soon."""
        if room.id not in self._posts:
            self._posts[room.id] = room, Posted(room.id)
        _, post = self._posts[room.id]
        if isinstance(change, Started):
            post.begins, post.ends = len(post.makes), False
            post.live, post.reply = json.dumps(room.record()), change.message.id
        elif isinstance(change, FinishedReply):
            post.reply, post.ends = change.message.id, True
        elif isinstance(change, Stopped | Failed):
            post.reply, post.ends = change.id, True
        elif isinstance(change, TokenDrawn):
            post.reply = change.message
        post.last |= isinstance(change, Deleted)
        post.makes.append(functools.partial(encode, change))
        post.drawn.append(drawn)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush(), name="convai-changes")

    async def flushed(self) -> None:
        """Wait until all that was told so far is numbered, or the database does not answer for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while self._flushing is not None:
                    await asyncio.wait([self._flushing])

    async def _flush(self) -> None:
        try:
            while self._posts:
                if (early := self._told_at + FLUSH - self._clock()) > 0:
                    await asyncio.sleep(early)
                self._told_at = self._clock()
                posts, self._posts = self._posts, {}
                rooms = [room for room, _ in posts.values()]
                for room, post in posts.values():
                    post.at = (room.buffer.stream, room.buffer.last) if room.abroad.followed else None
                self.flown = set(posts)
                for room, numbered in zip(rooms, await self._append(posts), strict=True):
                    if isinstance(numbered, Numbered):
                        self._arrived(room, numbered)
                    elif numbered is Refused.FORGOTTEN:
                        self._retell(room, posts[room.id][1])
                    else:
                        self._lost(room)
                self.flown = set()
        finally:
            self._flushing = None

    def _retell(self, room: SharedRoom, refused: Posted) -> None:
        """The database has forgotten that a reply is written here: tell it again, as far as it has come.

        What was told behind its tokens, and is not numbered yet, comes after that.
        """
        _, waiting = self._posts.pop(room.id, (room, Posted(room.id)))
        told: list[Change] = [make.args[0] for make in (*refused.makes, *waiting.makes)]
        room.retell()
        for change in told:
            if isinstance(change, FinishedReply | Stopped | Failed) and change.message is not None:
                # whoever has read the conversation meanwhile knows nothing of a reply that was being written
                self.emit(room, Path(keep=change.message.parent, messages=(change.message,)))
            elif not isinstance(change, TokenDrawn):
                self.emit(room, change)

    async def _append(self, posts: dict[str, tuple[SharedRoom, Posted]]) -> list[Numbered | Refused]:
        """Until it is done: a database that is away for a while costs time and nothing else."""
        pause = 0.05
        while True:
            try:
                every = [post for _, post in posts.values()]
                return await self._changes.append_in_loop(every, self._in_thread)
            except Exception as error:
                log_failure("changes could not be told; once more", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST)
