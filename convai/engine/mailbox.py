"""From the thread that computes to whoever reads: a thread that waits, or a coroutine."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from convai.engine.messages import Event


@dataclass(frozen=True, slots=True)
class Parcel:
    """Events in order; after the last parcel (`over`) comes nothing more. With an `error` it broke off."""

    events: Sequence[Event]
    over: bool = False
    error: BaseException | None = None


Waiting = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]
"""A coroutine that waits for a parcel."""


class Mailbox:
    """Parcels of one request, from one writer to one reader.

    `queue.SimpleQueue` may be used by a garbage collection, whatever its thread was doing then; a lock of our
    own would not do.
    """

    def __init__(self) -> None:
        self._parcels: queue.SimpleQueue[Parcel] = queue.SimpleQueue()
        self._waiting: Waiting | None = None

    def __bool__(self) -> bool:
        """Whether there is something to take."""
        return not self._parcels.empty()

    def put(self, parcel: Parcel) -> None:
        """Deliver, and wake the reader."""
        waiting = self.leave(parcel)
        if waiting is not None:
            wake([waiting])

    def leave(self, parcel: Parcel) -> Waiting | None:
        """Deliver, and return the coroutine that is still to be woken. A thread wakes by itself."""
        self._parcels.put(parcel)
        waiting, self._waiting = self._waiting, None
        return waiting

    def take(self) -> Parcel | None:
        """The next parcel, or None when there is none yet."""
        try:
            return self._parcels.get_nowait()
        except queue.Empty:
            return None

    def wait(self) -> Parcel:
        """The next parcel, as soon as it comes."""
        return self._parcels.get()

    async def arrive(self) -> Parcel:
        """The next parcel, as soon as it comes, without keeping the event loop from other work."""
        loop = asyncio.get_running_loop()
        while True:
            come: asyncio.Future[None] = loop.create_future()  # an event would make one, too, and do more
            self._waiting = (loop, come)
            # only now: what came before there was somebody to wake would be missed
            if self._parcels.empty():
                await come
            else:
                self._waiting = None
            if (parcel := self.take()) is not None:
                return parcel


class Deliveries:
    """Parcels for many readers, who are woken together once all are delivered."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []

    def put(self, mailbox: Mailbox, parcel: Parcel) -> None:
        """Deliver; a coroutine that waits there is woken by `wake`."""
        waiting = mailbox.leave(parcel)
        if waiting is not None:
            self._waiting.append(waiting)

    def wake(self) -> None:
        """Wake all who got something."""
        waiting, self._waiting = self._waiting, []
        wake(waiting)


def wake(waiting: Iterable[Waiting], here: asyncio.AbstractEventLoop | None = None) -> None:
    """Wake coroutines, those of an event loop together: waking a loop costs a system call.

    `here`: the loop in which this is called; those of that one cost nothing.
    """
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for loop, come in waiting:
        loops.setdefault(loop, []).append(come)
    for loop, all_come in loops.items():
        if loop is here:
            _wake_all(all_come)
            continue
        with suppress(RuntimeError):  # the loop is closed: nobody reads any more
            loop.call_soon_threadsafe(_wake_all, all_come)


def _wake_all(all_come: list[asyncio.Future[None]]) -> None:
    for come in all_come:
        if not come.done():  # whoever waited was cancelled
            come.set_result(None)
