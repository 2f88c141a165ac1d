"""A reply being read: events, one after another, by a thread or by a coroutine."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Protocol, Self

from convai.engine.mailbox import Mailbox, Parcel
from convai.engine.messages import Event


class Source(Protocol):
    """Where the events of one request come from."""

    def next_parcel(self) -> Parcel:
        """The next events, for a thread that waits."""

    def arriving_parcel(self) -> Awaitable[Parcel]:
        """The next events, for a coroutine."""

    def cancel(self) -> None:
        """Nobody reads them any more. May be called at any time, by a garbage collector too."""


class MailboxSource:
    """A source whose events another thread puts into a mailbox; `left` is called when nobody reads them."""

    def __init__(self, mailbox: Mailbox, left: Callable[[], None]) -> None:
        self._mailbox, self._left = mailbox, left

    def next_parcel(self) -> Parcel:
        """The next events, as soon as they come."""
        return self._mailbox.wait()

    def arriving_parcel(self) -> Awaitable[Parcel]:
        """The next events, as soon as they come."""
        return self._mailbox.arrive()

    def cancel(self) -> None:
        """Nobody reads them any more."""
        self._left()


class Stream(Iterator[Event], AsyncIterator[Event]):
    """The events of one request. Closing it is the one way to cancel.

    Read it with `for` or, on an engine that was started, with `async for`. `close`, `aclose`, leaving a
    `with` block, a cancelled task and a stream that nobody holds any more all stop the computation within a
    step and free its memory. After the end, and once it is closed, there are no more events.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._events: deque[Event] = deque()
        self._error: BaseException | None = None
        self._over = False

    # -- a thread ----------------------------------------------------------------------------------

    def __next__(self) -> Event:
        """The next event. Raises the ConvaiError that broke the reply off."""
        while (event := self._held()) is None:
            if self._over:
                raise StopIteration
            self._open(self._source.next_parcel())
        return event

    def parcel(self) -> Parcel:
        """The next events together, as they come from the engine, for who passes them on.

        A stream is read so from its beginning to its end, or event by event; the parcel with `over` is the
        last one, and may say what broke the reply off.
        """
        if self._over:
            return Parcel((), over=True)
        parcel = self._source.next_parcel()
        self._over = parcel.over
        return parcel

    def close(self) -> None:
        """Stop the reply, if it is not complete."""
        self._events.clear()
        self._error = None
        if not self._over:
            self._over = True
            self._source.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_over", True):
            self.close()

    # -- a coroutine -------------------------------------------------------------------------------

    async def __anext__(self) -> Event:
        """As `__next__`; a task that is cancelled while it waits closes the stream."""
        while (event := self._held()) is None:
            if self._over:
                raise StopAsyncIteration
            self._open(await self._arriving())
        return event

    async def arriving_parcel(self) -> Parcel:
        """As `parcel`, for a coroutine; a task that is cancelled while it waits closes the stream."""
        if self._over:
            return Parcel((), over=True)
        parcel = await self._arriving()
        self._over = parcel.over
        return parcel

    async def aclose(self) -> None:
        """As `close`, which never waits."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _arriving(self) -> Parcel:
        try:
            return await self._source.arriving_parcel()
        except asyncio.CancelledError:
            self.close()
            raise

    def _held(self) -> Event | None:
        """The next event that is here already. Raises the ConvaiError that broke the reply off, once."""
        if self._events:
            return self._events.popleft()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return None

    def _open(self, parcel: Parcel) -> None:
        self._events.extend(parcel.events)
        self._over = parcel.over
        self._error = parcel.error
