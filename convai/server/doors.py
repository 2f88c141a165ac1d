"""One door of several on one PostgreSQL: changes out and in, who reads elsewhere, replies of doors that died.

What a room tells is numbered in the database, some hundredths of a second of it in one transaction, and then
told here; a notification says that there is something of another door's, which is read and told as well. So
every reader at every door gets the same changes by the same numbers.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final
from weakref import WeakValueDictionary

from convai.server.convert import message_of
from convai.server.heartbeat import Heartbeat
from convai.server.logs import log_failure
from convai.server.protocol.changes import FinishedReply, Stopped
from convai.server.shared_room import SharedRoom
from convai.server.telling import PATIENCE, InThread, Telling
from convai.store.change_records import Followed, Numbered, Snapshot
from convai.store.change_statements import TOLD
from convai.store.leases import Claimed, Orphan
from convai.store.records import Message as Kept
from convai.store.shared import Shared

_ASK: Final = 0.5
"""Seconds for which doors have time to say that somebody reads there."""


class Doors:
    """This door's side. Everything but `_hear` runs in the event loop."""

    def __init__(self, shared: Shared, in_thread: InThread, draining: Callable[[], bool]) -> None:
        self.shared, self._in_thread = shared, in_thread
        self._heartbeat = Heartbeat(shared, in_thread, draining)
        self.contact = self._heartbeat.contact
        self._telling = Telling(shared.changes, in_thread, self._arrived, self._lost)
        # as they are: most that a token costs here begins with the first
        self.emit, self.flushed = self._telling.emit, self._telling.flushed
        self._known: WeakValueDictionary[str, SharedRoom] = WeakValueDictionary()
        self._leaving: dict[str, asyncio.Task[None]] = {}
        """Conversations that this door is about to hear no more of."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = threading.Event()
        self._hearing: threading.Thread | None = None
        self._open: Callable[[str, str], SharedRoom] | None = None

    def start(
        self,
        open: Callable[[str, str], SharedRoom],
        take_up: Callable[[Orphan, Claimed], Awaitable[None]],
        leave: Callable[[], None],
    ) -> None:
        """Begin: `open` gives an owner's room, `take_up` goes on with a reply that is ours now, `leave` sends
        readers to other doors, where this one is cut off from the database.
        """
        self._open = open
        loop = asyncio.get_running_loop()
        self._hearing = threading.Thread(target=self._hear, args=(loop,), name="convai-doors", daemon=True)
        self._hearing.start()
        self._start(self._heartbeat.beat(self._missed))
        self._start(self._heartbeat.look(take_up, self._say))
        self._start(self._heartbeat.watch(leave))

    async def close(self) -> None:
        """Tell what is still to be told, and leave the replies to others."""
        await self._telling.close()
        for task in list(self._tasks):
            task.cancel()
        self._ended.set()
        with suppress(Exception):
            await self._in_thread(self.shared.leases.leave)
        if self._hearing is not None:
            await asyncio.to_thread(self._hearing.join)

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work, name="convai-door")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- in ----------------------------------------------------------------------------------------

    def _lost(self, room: SharedRoom) -> None:
        self._start(room.lost())

    def _arrived(self, room: SharedRoom, numbered: Numbered) -> None:
        buffer, abroad = room.buffer, room.abroad
        last = numbered.first + len(numbered.frames) - 1
        abroad.told = max(abroad.told, last)
        if not abroad.followed:
            return
        if numbered.stream == buffer.stream and numbered.first == buffer.last + 1:
            for n, frame in enumerate(numbered.frames, numbered.first):
                buffer.put(n, frame)
            room.wake()
        if abroad.told > buffer.last or numbered.stream != buffer.stream:
            self._start(self._keep_up(room))

    async def follow(self, room: SharedRoom) -> Followed | None:
        """Have the changes of a room's conversation come here; what there is, where that begins now."""
        if room.abroad.followed:
            return None
        self._known[room.id] = room
        found = await self._follow(room)
        if not room.abroad.followed:
            first = found.frames[0][0] if found.frames else found.last + 1
            room.buffer.begin(found.stream, first - 1)
            for n, frame in found.frames:
                room.buffer.put(n, frame)
            room.abroad.followed = True
            self._elsewhere(room, found)
            if room.abroad.told > room.buffer.last:
                await self._catch_up(room)
        return found

    async def _follow(self, room: SharedRoom) -> Followed:
        """Have this door be told of a conversation from now on."""
        if (leaving := self._leaving.get(room.id)) is not None:
            await asyncio.wait([leaving])
        found: Followed = await self._in_thread(self.shared.changes.follow, room.id)
        return found

    async def _leave(self, conversations: list[str]) -> None:
        """Have this door be told of these no more: nobody has them open here."""
        with suppress(Exception):
            await self._in_thread(self.shared.changes.leave, conversations)
        for conversation in conversations:
            del self._leaving[conversation]

    async def snapshot(self, room: SharedRoom) -> Snapshot:
        """The whole conversation at one moment; the changes behind it come next. Raises NotFound."""
        await self.follow(room)
        snapshot: Snapshot = await self._in_thread(self.shared.changes.snapshot, room.owner, room.id)
        followed = snapshot.followed
        if followed.stream != room.buffer.stream or followed.last > room.buffer.last:
            room.abroad.told = max(room.abroad.told, followed.last)
            await self._catch_up(room)
        return snapshot

    async def look(self, room: SharedRoom) -> None:
        """Read what other doors have told, before this one hears of it. A database that is away: later."""
        with suppress(Exception):
            await self._catch_up(room)

    async def _keep_up(self, room: SharedRoom, anew: bool = False) -> None:
        """`_catch_up`, however long the database is away.

        `anew`: it may have forgotten who follows, and one that has crashed the stream itself.
        """
        pause = 0.05
        while True:
            try:
                if anew:
                    await self._follow(room)
                return await self._catch_up(room)
            except Exception as error:
                log_failure("what other doors told could not be read; once more", error)
                anew = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)

    async def _catch_up(self, room: SharedRoom) -> None:
        """Read what other doors have told."""
        async with room.abroad.catching:
            found: Followed = await self._in_thread(self.shared.changes.after, room.id, room.buffer.last)
            buffer = room.buffer
            if found.stream != buffer.stream:
                buffer.begin(found.stream, found.last)
                room.abroad.told = found.last
                room.restate()
            for n, frame in found.frames:
                if n == buffer.last + 1:
                    buffer.put(n, frame)
                    room.deleted |= '"type":"deleted"' in frame
            if found.last > buffer.last:  # some of them are gone already
                buffer.begin(found.stream, found.last)
                room.restate()
            self._elsewhere(room, found)
            room.wake()

    def _elsewhere(self, room: SharedRoom, found: Followed) -> None:
        there = found.live is not None and found.writer != self.shared.id
        room.abroad.writing = found.live["id"] if there and found.live is not None else None
        if room.abroad.writing is None:
            room.abroad.settled.set()
        else:
            room.abroad.settled.clear()

    def _hear(self, loop: asyncio.AbstractEventLoop) -> None:
        """The thread that listens."""

        def pass_on(call: Callable[..., None], *args: Any) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(call, *args)

        def hear(said: str) -> None:
            what, who, *rest = said.split()
            if what != TOLD:
                pass_on(self._heard, said)
            elif who != self.shared.id:  # of what is told here the loop knows, and it need not be woken
                told = zip(rest[::3], rest[1::3], rest[2::3], strict=True)
                pass_on(self._told, [(id, int(last), stream) for id, last, stream in told])

        self.shared.changes.listen(hear, functools.partial(pass_on, self._missed), self._ended)

    def _heard(self, said: str) -> None:
        match said.split():
            case ["stop", conversation, message]:
                if (room := self._known.get(conversation)) is not None:
                    self._start(room.stop(message))
            case ["who", conversation]:
                if (room := self._known.get(conversation)) is not None and not room.empty:
                    self._start(self._tell(f"here {conversation} {self.shared.id}"))
            case ["here", conversation, who]:
                if (room := self._known.get(conversation)) is not None and who != self.shared.id:
                    room.abroad.read.set()

    def _told(self, news: list[tuple[str, int, str]]) -> None:
        """Another door has told changes of conversations up to these numbers of these streams."""
        left = [id for id, *_ in news if id not in self._known and id not in self._leaving]
        if left:
            self._leaving |= dict.fromkeys(left, self._start(self._leave(left)))
        for conversation, last, stream in news:
            if (room := self._known.get(conversation)) is None:
                continue
            anew = stream != room.buffer.stream  # the database has crashed: its numbers began again
            if not anew:
                room.abroad.told = max(room.abroad.told, last)
            if conversation not in self._telling.flown and room.abroad.followed:
                if anew or room.abroad.told > room.buffer.last:
                    self._start(self._keep_up(room, anew))

    def _missed(self) -> None:
        """Something may have been told while nobody listened, or the database took this door for gone."""
        for room in list(self._known.values()):
            if room.abroad.followed:
                self._start(self._keep_up(room, anew=True))

    async def _tell(self, said: str) -> None:
        with suppress(Exception):
            await self._in_thread(self.shared.changes.tell, said)

    # -- asking other doors ------------------------------------------------------------------------

    async def stop(self, room: SharedRoom, message: str | None) -> None:
        """Have the door that writes a reply stop it; returns when it has, or does not answer."""
        writing = room.abroad.writing
        if writing is None or message not in (None, writing):
            return
        await self._tell(f"stop {room.id} {writing}")
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await room.abroad.settled.wait()

    async def read_elsewhere(self, room: SharedRoom) -> bool:
        """Whether somebody reads this conversation at another door."""
        room.abroad.read.clear()
        await self._tell(f"who {room.id}")
        with suppress(TimeoutError):
            async with asyncio.timeout(_ASK):
                await room.abroad.read.wait()
        return room.abroad.read.is_set()

    # -- doors that died -----------------------------------------------------------------------------

    async def _say(self, orphan: Orphan, kept: Kept) -> None:
        """Tell the end of a reply whose writer has gone before it could."""
        assert self._open is not None
        room = self._open(orphan.owner, orphan.conversation)
        await self.follow(room)
        message = message_of(kept, request=kept.request)
        if kept.status == "complete":
            self.emit(room, FinishedReply(message=message, reason="stop"))
        else:
            self.emit(room, Stopped(id=kept.id, by="shutdown", message=message))
