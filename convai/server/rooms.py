"""The open conversations of a server: which room is whose, and which are kept for those who come back."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final
from weakref import WeakValueDictionary

from convai.server.drafts import Drafts
from convai.server.logs import log_failure
from convai.server.protocol.changes import Failed
from convai.server.room import Room
from convai.server.service import Service
from convai.store import NotFound, StoreError
from convai.store.leases import Claimed, Orphan

KEPT: Final = 120.0
"""Seconds for which the latest changes are kept for those who come back."""
_LEFT: Final = 1000
"""Conversations that nobody reads whose latest changes are kept for those who come back."""
TakeUp = Callable[[Room, Claimed], Awaitable[None]]
"""Goes on with a reply that another door has begun."""


class Rooms:
    """The open conversations of a server, and the latest of those that were left."""

    def __init__(self, service: Service, left: int = _LEFT) -> None:
        self._service, self._most = service, left
        self._drafts = Drafts(service)
        self._rooms: OrderedDict[tuple[str, str], Room] = OrderedDict()
        self._naming: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._sweeping: asyncio.TimerHandle | None = None

    def start(self, take_up: TakeUp, leave: Callable[[], None]) -> None:
        """Begin to hear of other doors, where there may be some.

        `take_up` goes on with their replies, `leave` sends this door's readers to them.
        """
        doors = self._service.doors
        if doors is None:
            return

        async def go_on(orphan: Orphan, claimed: Claimed) -> None:
            room = self.open(orphan.owner, orphan.conversation)
            try:
                await doors.follow(room)
                await take_up(room, claimed)
            except Exception as error:
                if isinstance(error, StoreError) and not isinstance(error, NotFound):
                    raise  # the database is away, and the reply as good as it was
                log_failure("a reply could not be taken up", error)
                drop = self._service.store.drop_reply
                await self._service.in_store(drop, room.owner, room.id, orphan.message)
                room.emit(Failed(id=orphan.message, code="internal", error="the model could not go on"))
                room.restate()

        doors.start(self.open, go_on, leave)

    def known(self, owner: str, id: str) -> Room | None:
        """A conversation's room, if it is open or was a while ago."""
        return self._rooms.get((owner, id))

    def open(self, owner: str, id: str) -> Room:
        """A conversation's room. Whether there is such a conversation is asked before."""
        room = self._rooms.get((owner, id))
        if room is None or room.deleted:
            room = self._rooms[owner, id] = Room(self._service, self._drafts, owner, id)
            self._service.remembering.ready(owner)
        self._rooms.move_to_end((owner, id))
        self._forget()
        if self._sweeping is None:
            self._sweep()
        return room

    def naming(self, owner: str, key: str) -> asyncio.Lock:
        """What is held while it is found out which conversation a request begins."""
        return self._naming.setdefault((owner, key), asyncio.Lock())

    def forget(self, room: Room) -> None:
        """A conversation was deleted."""
        if self._rooms.get((room.owner, room.id)) is room:
            del self._rooms[room.owner, room.id]

    async def delete_person(self, owner: str) -> None:
        """Delete a person: replies stop, what they have open ends, nothing more is learnt of them."""
        service = self._service
        if service.doors is not None:  # what other doors have open ends, too
            for id in await service.in_thread(service.store.names, owner):
                room = self.open(owner, id)
                await service.doors.follow(room)
                await service.doors.stop(room, None)
        rooms = [room for (whose, _), room in list(self._rooms.items()) if whose == owner]
        for room in rooms:
            async with room.lock:
                room.deleted = True  # nothing more is begun in it
            if room.writing is not None:
                await room.writing.stop("client")
        await service.remembering.settled(owner)
        await service.in_store(service.store.delete_person, owner)
        for room in rooms:
            room.end()
            self.forget(room)

    def _sweep(self) -> None:
        """Forget what nobody has come back to, now and from time to time."""
        loop = asyncio.get_running_loop()
        for key, room in list(self._rooms.items()):
            if room.empty and room.writing is None and time.monotonic() - room.left > KEPT:
                del self._rooms[key]
        self._sweeping = loop.call_later(KEPT / 4, self._sweep) if self._rooms else None

    def _forget(self) -> None:
        spare = len(self._rooms) - self._most
        if spare <= 0:
            return
        idle = [key for key, room in self._rooms.items() if room.empty and room.writing is None]
        for key in idle[:spare]:
            del self._rooms[key]

    async def stop_writing(self) -> None:
        """Stop all replies, for the end of the server."""
        writing = [room.writing for room in self._rooms.values() if room.writing is not None]
        if self._service.doors is None:
            await asyncio.gather(*(one.stop("shutdown") for one in writing))
            return
        # another door goes on with them, from what all readers have been told
        await asyncio.gather(*(one.abandon() for one in writing))
        await self._service.doors.flushed()
