"""One door, to the engine that listens: what it asks for is drawn, and what is drawn it is told.

Other doors do not wait for one that does not read: what it has to be told is kept until it reads, and after
STALLED seconds it is taken for dead.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from contextlib import suppress
from typing import Final, Protocol

from convai.core.errors import ConvaiError, SettingsError
from convai.engine.errors import EngineClosed, EngineLost
from convai.engine.mailbox import Parcel
from convai.engine.messages import Failure, Request
from convai.engine.port import Port
from convai.engine.stream import Stream
from convai.engine.wire import (
    HEAD,
    MAX_FRAME,
    Ask,
    Beat,
    EngineState,
    FromDoor,
    Leave,
    NewEvents,
    WireError,
    batches,
    frame,
    from_door,
    in_frames,
    length,
)

logger: Final = logging.getLogger("convai.engine")
replies: Final = logging.getLogger("convai.engine.replies")
"""Says of every reply what its door calls it, when it begins and ends, and nothing that anybody wrote."""
STALLED: Final = 10.0
"""Seconds for which a door need not read."""


class Host(Protocol):
    """Whose door it is; `convai.engine.listening.Listening` is one."""

    engine: Port
    silence: float
    draining: bool

    def state(self) -> EngineState:
        """How the engine is."""

    def ended(self) -> None:
        """A reply of some door has ended."""


async def read_frame(reader: asyncio.StreamReader, most: int = MAX_FRAME) -> bytes:
    """The body of the next frame. Raises WireError, EOFError."""
    return await reader.readexactly(length(await reader.readexactly(HEAD.size), most))


class Door:
    """One connection. What it has to be told is gathered, and sent as one frame when it can be sent."""

    def __init__(self, host: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host, self._reader, self._writer = host, reader, writer
        self._limits = host.engine.limits
        self._streams: dict[int, tuple[Stream, asyncio.Task[None]]] = {}
        self._taken: list[int] = []
        self._told: list[NewEvents] = []
        self._loop = asyncio.get_running_loop()
        self._due = False
        """Whether what is new is about to be sent."""
        self._waits: asyncio.Task[None] | None = None
        """What waits for it to read."""
        self._broken: asyncio.Future[None] = self._loop.create_future()
        self._state = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def busy(self) -> bool:
        """Whether it has replies in the making."""
        return bool(self._streams)

    def news(self) -> None:
        """Tell it how the engine is."""
        self._state = True
        self._wake()

    def close(self) -> None:
        """It is gone: nobody reads its replies."""
        streams, self._streams = self._streams, {}
        for stream, task in streams.values():
            stream.close()
            task.cancel()

    async def flushed(self) -> None:
        """Wait until all is sent, or it does not read."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STALLED):
                await self._idle.wait()

    async def serve(self) -> None:
        """Speak with it until one of the two leaves. Raises WireError, OSError, EOFError, TimeoutError."""
        if (plain := self._writer.get_extra_info("socket")) is not None and plain.family != socket.AF_UNIX:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hearing = asyncio.create_task(self._hear(), name="convai-door-in")
        try:
            await asyncio.wait((hearing, self._broken), return_when=asyncio.FIRST_COMPLETED)
            for one in (hearing, self._broken):
                if one.done():
                    one.result()
        finally:
            for one in (hearing, self._broken):
                one.cancel()
            if self._waits is not None:
                self._waits.cancel()
            await asyncio.gather(hearing, self._broken, return_exceptions=True)

    async def _hear(self) -> None:
        while True:
            async with asyncio.timeout(self._host.silence):
                body = await read_frame(self._reader)
            try:
                self._take(from_door(body))
            except SettingsError as error:  # no door of ours makes such a request
                raise WireError(str(error)) from None

    def _take(self, message: FromDoor) -> None:
        match message:
            case Ask():
                self._ask(message.number, message.request)
            case Leave():
                stream, task = self._streams.pop(message.number, (None, None))
                if stream is not None and task is not None:
                    stream.close()
                    task.cancel()  # which says so
                    self._host.ended()
            case Beat():
                self.news()

    def _ask(self, number: int, request: Request) -> None:
        try:
            if self._host.draining:
                raise EngineLost("the engine is about to stop; ask another one, or again in a while")
            self._check(number, request)
            stream = self._host.engine.stream(request)
        except ConvaiError as error:
            self._say(NewEvents(number, over=True, failure=Failure.of(error)))
            return
        self._taken.append(number)
        task = asyncio.create_task(self._relay(number, stream, request))
        self._streams[number] = stream, task
        self._wake()

    def _check(self, number: int, request: Request) -> None:
        """What the engine itself believes its callers. Raises SettingsError."""
        prompt, vocabulary = request.prompt, self._limits.vocabulary
        lists = (prompt.ids, prompt.positions, prompt.segments, prompt.turn)
        begun = [id for one in request.begun for id in one.ids]
        if (
            len({len(one) for one in lists}) > 1
            or any(not 0 <= id < vocabulary for id in (*prompt.ids, *prompt.segments, *begun, prompt.segment))
            or any(not 0 <= place < self._limits.positions for place in prompt.positions)
            or number in self._streams
        ):
            raise SettingsError(
                "the prompt does not fit the engine's model; name the same --model on both sides"
            )

    async def _relay(self, number: int, stream: Stream, request: Request) -> None:
        """Events of one reply, as they come."""
        begun, end = time.monotonic(), "was left"
        drawn = sum(len(one.ids) for one in request.begun)
        replies.info("reply %s begins behind %d tokens", request.trace or "-", drawn)
        try:
            over = False
            while not over:
                parcel = await stream.arriving_parcel()
                over = parcel.over
                if over:
                    end = "has ended" if parcel.error is None else _broken(parcel.error)
                    self._streams.pop(number, None)
                    self._state = True
                self._told += in_frames(number, parcel)
                self._wake()
        except Exception as error:
            end = _broken(error)
            stream.close()
            self._streams.pop(number, None)
            failure = error if isinstance(error, ConvaiError) else EngineClosed()
            self._told += in_frames(number, Parcel((), over=True, error=failure))
            self._wake()
            if not isinstance(error, ConvaiError):
                logger.error("a reply could not be passed on: %s", type(error).__name__)
        finally:
            took = time.monotonic() - begun
            replies.info("reply %s %s after %.1f seconds", request.trace or "-", end, took)
        self._host.ended()

    def _say(self, one: NewEvents) -> None:
        self._told.append(one)
        self._state = True
        self._wake()

    def _wake(self) -> None:
        self._idle.clear()
        if not self._due and self._waits is None:
            self._due = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        """All that is new, as one frame: what a step drew is there when this runs. No task is woken."""
        self._due = False
        if self._broken.done():  # it is gone
            return
        taken, self._taken = self._taken, []
        told, self._told = self._told, []
        state = self._host.state() if self._state else None
        self._state = False
        try:
            for batch in batches(taken, told, state):
                self._writer.write(frame(batch))
        except Exception as error:
            self._broken.set_exception(error)
            return
        transport = self._writer.transport
        if transport.get_write_buffer_size() > transport.get_write_buffer_limits()[1]:
            self._waits = asyncio.create_task(self._drain(), name="convai-door")
        else:
            self._idle.set()

    async def _drain(self) -> None:
        """It does not read: what is new meanwhile is kept until it does."""
        try:
            async with asyncio.timeout(STALLED):
                await self._writer.drain()
        except Exception as error:
            if not self._broken.done():
                self._broken.set_exception(error)
            return
        self._waits = None
        if self._taken or self._told or self._state:
            self._wake()
        else:
            self._idle.set()


def _broken(error: BaseException) -> str:
    """Its kind alone: its message may hold what somebody wrote."""
    return f"broke off ({type(error).__name__})"
