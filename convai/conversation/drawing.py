"""The loop in which a reply is drawn, once for threads and once for coroutines; closing it is how to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from convai.engine import Event, Request, Stream

Ask = Callable[[Request], Stream]
"""How the engine is asked. May refuse, by what it raises."""


class Work(Protocol):
    """What is drawn: a `convai.conversation.reply.Reply`, or suggestions."""

    @property
    def waits(self) -> bool:
        """Whether `requests` may wait for something else than the engine between two of them."""

    def requests(self) -> Iterator[Request]:
        """What to ask the engine for, one after another."""

    def take(self, event: Event) -> Event:
        """Keep an event; returns it as it is to be shown."""


WorkT = TypeVar("WorkT", bound=Work)


class Drawing(Generic[WorkT]):
    """`work` being drawn. Read it once, with `draw` or `adraw`."""

    def __init__(self, work: WorkT, ask: Ask) -> None:
        self.work, self._ask = work, ask
        self._requests = work.requests()
        self._stream: Stream | None = None
        self._closed = False

    def start(self) -> None:
        """Ask the engine now, and not when the first event is read. Raises what it refuses with."""
        self._next()

    def close(self) -> None:
        """Stop computing; there are no more events. May be called twice, and from another coroutine."""
        self._closed = True
        if self._stream is not None:
            self._stream.close()

    def draw(self) -> Iterator[Event]:
        """Every event, as it is to be shown; the work is done when they have come to their end."""
        try:
            while not self._closed:
                if self._stream is None and not self._next():
                    return
                assert self._stream is not None
                for event in self._stream:
                    yield self.work.take(event)
                    if self._closed:
                        return
                self._stream = None
        finally:
            self.close()

    async def adraw(self) -> AsyncIterator[Event]:
        """As `draw`, for a coroutine."""
        try:
            while not self._closed:
                if self._stream is None and not await self._anext():
                    return
                assert self._stream is not None
                async for event in self._stream:
                    yield self.work.take(event)
                    if self._closed:
                        return
                if not self._closed:
                    self._stream = None
        finally:
            self.close()

    def _next(self) -> bool:
        """Ask for the next request; False where there is none."""
        return self._asked(next(self._requests, None))

    async def _anext(self) -> bool:
        if self.work.waits:
            request = await asyncio.to_thread(next, self._requests, None)
        else:
            request = next(self._requests, None)
        return not self._closed and self._asked(request)

    def _asked(self, request: Request | None) -> bool:
        self._stream = None if request is None else self._ask(request)
        return request is not None


def draw_together(works: Sequence[Work], ask: Ask) -> None:
    """Draw all of `works` to their ends; all are asked for before the first is read."""
    drawings = [Drawing(work, ask) for work in works]
    for drawing in drawings:
        drawing.start()
    for drawing in drawings:
        for _event in drawing.draw():
            pass
