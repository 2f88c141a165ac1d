"""One chat socket: hello, requests and their answers, and the changes of the conversation that is open."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import asdict
from typing import Final, Literal

import convai
from convai.core.errors import ConvaiError
from convai.server.access import address_of
from convai.server.asgi import Receive, Scope, Send, header
from convai.server.limiter import Busy
from convai.server.logs import log_failure
from convai.server.protocol import (
    VERSION,
    Answer,
    ProtocolError,
    Receiver,
    client,
    encode,
    error_event,
)
from convai.server.protocol.answers import Error, GoingAway, Overloaded, Ready
from convai.server.protocol.values import Resume
from convai.server.requests import Requests, error_of
from convai.server.room import Room
from convai.server.rooms import Rooms
from convai.server.service import COME_BACK, Service
from convai.store import NotFound

_MOST_BAD: Final = 20
"""Frames that cannot be read before the socket is closed."""
_FRAMES_A_SECOND: Final = 50
_BURST: Final = 200
"""Frames that are read from a socket without a pause; then so many a second."""
_MOST_ANSWERS: Final = 32
"""Answers that wait for a slow reader before nothing more is read from it."""


class Connection:
    """One socket, a `Reader` of the room that it has open."""

    def __init__(self, service: Service, rooms: Rooms, scope: Scope, receive: Receive, send: Send) -> None:
        self._service, self._rooms = service, rooms
        self._scope, self._receive, self._send = scope, receive, send
        self.address = address_of(scope.get("client"))
        self.owner = ""
        self._receiver = Receiver(service.limits)
        self._bad = 0
        self._frames, self._frames_at = float(_BURST), time.monotonic()
        self.room: Room | None = None
        self._requests = Requests(service, rooms, self)
        self._sent: int | None = None
        self._answers: deque[str] = deque()
        self._news = asyncio.Event()
        self._taken = asyncio.Event()
        self._closing: int | None = None
        self._closed = asyncio.Event()
        self.alternatives = 0

    # -- for the room ------------------------------------------------------------------------------

    def wake(self) -> None:
        """There is something to send."""
        self._news.set()

    def restate(self) -> None:
        """A state is to be sent next."""
        self._sent = None
        self._news.set()

    # -- life --------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Speak with the client until one of the two leaves."""
        message = await self._receive()
        if message["type"] != "websocket.connect":
            return
        await self._send({"type": "websocket.accept"})
        origin, host = header(self._scope, "origin"), header(self._scope, "host")
        if not self._service.access.allows(origin, host, self._scope.get("scheme", "ws")):
            await self._send({"type": "websocket.close", "code": 1008, "reason": "Origin not allowed"})
            return
        try:
            with self._service.limiter.socket(self.address):
                await self._speak()
        except Busy as busy:
            self._refused(busy, None)
            await self._flush()
            await self._send({"type": "websocket.close", "code": 4429, "reason": "too many connections"})

    async def _speak(self) -> None:
        pump = asyncio.create_task(self._pump(), name="convai-socket")
        try:
            await self._listen()
        finally:
            pump.cancel()
            if self.room is not None:
                await self.room.leave(self)

    async def _listen(self) -> None:
        config = self._service.config
        wait = config.hello
        while True:
            try:
                async with asyncio.timeout(wait):
                    message = await self._receive()
            except TimeoutError:
                if self._closing is not None:
                    return
                if self._receiver.hello is None:
                    self.close(4408)
                elif self.room is None or self.room.writing is None:
                    self.go_away("idle", 0.0)
                continue
            if message["type"] == "websocket.disconnect":
                return
            await self._pace()
            await self._take(message.get("text"))
            if self._receiver.hello is not None:
                wait = config.idle
            while len(self._answers) > _MOST_ANSWERS:  # a reader that asks and does not read waits, not we
                self._taken.clear()
                await self._taken.wait()

    async def _pace(self) -> None:
        """Let a client that sends too many frames wait, so that reading them keeps nobody else waiting."""
        now = time.monotonic()
        self._frames = min(self._frames + (now - self._frames_at) * _FRAMES_A_SECOND, _BURST) - 1
        self._frames_at = now
        if self._frames < 0:
            await asyncio.sleep(-self._frames / _FRAMES_A_SECOND)

    def go_away(self, reason: Literal["shutdown", "idle", "database"], retry: float = COME_BACK) -> None:
        """Say that the server closes, and close."""
        if self._closing is None:
            self.answer(GoingAway(reason=reason, retry=retry))
            self.close(1001)

    def close(self, code: int) -> None:
        """Close, after what is still to be sent."""
        if self._closing is None:
            self._closing = code
            self._news.set()

    async def closed(self) -> None:
        """Wait until the close frame is on its way."""
        await self._closed.wait()

    # -- sending -----------------------------------------------------------------------------------

    def answer(self, answer: Answer) -> None:
        """Send an answer; those go before changes."""
        self._answers.append(encode(answer))
        self._news.set()

    async def _pump(self) -> None:
        """All that is sent goes through here, in order."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                await self._flush()
                await self._send_changes()
                if self._closing is not None and not self._news.is_set():
                    await self._send({"type": "websocket.close", "code": self._closing})
                    return
        except OSError:
            return  # the client is gone; _listen hears of it, too
        except Exception as error:
            log_failure("a socket's sender failed", error)
            self._closing = 1011
        finally:
            self._closed.set()
            self._answers.clear()
            self._taken.set()

    async def _flush(self) -> None:
        while self._answers:
            await self._text(self._answers.popleft())
            self._taken.set()

    async def _send_changes(self) -> None:
        """The changes that the client has not got, or the whole conversation."""
        room = self.room
        if room is None:
            return
        frames = None if self._sent is None else room.after(self._sent)
        if frames is None:
            self._sent = room.buffer.last  # a change that asks for a state again, meanwhile, sets it anew
            try:
                state = await room.state()
            except NotFound:
                if self.room is room:
                    self.room, room.deleted = None, True
                    await room.leave(self)
                    self.answer(Error(code="not_found", message="this conversation is gone"))
                return
            if self.room is not room:
                return
            restated = self._sent is None
            self._sent = None if restated else state.n
            await self._text(encode(state))
            self._news.set()
            return
        for frame in frames:
            await self._text(frame.text)
            if self.room is not room or self._sent is None:
                return
            self._sent = frame.n
            if self._answers:
                self._news.set()
                return

    async def _text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    # -- receiving ---------------------------------------------------------------------------------

    async def _take(self, text: str | None) -> None:
        try:
            if text is None:
                raise ProtocolError("bad_frame", "a binary frame; send text")
            event = self._receiver.receive(text)
        except ProtocolError as error:
            self.answer(error_event(error))
            self._bad += error.code == "bad_frame"
            if self._bad > _MOST_BAD:
                self.close(4400)
            return
        if isinstance(event, client.Hello):
            await self._hello(event)
            return
        try:
            if not isinstance(event, client.Ping | client.Stop):
                await self._service.admit(self.address)
            self.answer(await self._requests.do(event))
        except Busy as busy:
            self._refused(busy, event.request)
        except Exception as error:
            self.answer(error_of(error, event.request))

    def _refused(self, busy: Busy, request: str | None) -> None:
        self._service.metrics.rejected.labels(busy.reason).inc()
        self.answer(Overloaded(reason=busy.reason, retry=busy.retry, request=request))

    async def _hello(self, hello: client.Hello) -> None:
        service = self._service
        owner = service.access.owner(hello.token)
        if owner is None:
            self.answer(Error(code="unauthorized", message="the token is missing or wrong"))
            self.close(1008)
            return
        self.owner, self.alternatives = owner, hello.alternatives
        resume = hello.resume
        self._requests.came_back_to = resume.conversation if resume else None
        room = await self._left(owner, resume) if resume else None
        resumed = room is not None and resume is not None and not room.deleted and room.missed(resume)
        self.answer(
            Ready(
                version=VERSION,
                server=f"convai {convai.__version__}",
                model=service.agent.name[:100],
                resumed=resumed,
                limits=asdict(service.limits),
                settings=service.settings(),
            )
        )
        if resume is None:
            return
        if not resumed:
            try:
                await service.in_store(service.store.load, owner, resume.conversation)
            except ConvaiError as error:
                self.answer(error_of(error, None))
                return
        await self.enter(resume.conversation, resume.last if resumed else None)

    async def _left(self, owner: str, resume: Resume) -> Room | None:
        """The room that a client comes back to, if it is to go on from the number that it has read.

        At another door than before that is so in the middle of a reply. Otherwise the whole is sent: a door
        that died may have done something, and told of it too late.
        """
        doors = self._service.doors
        if doors is None:
            return self._rooms.known(owner, resume.conversation)
        try:
            await self._service.in_store(self._service.store.load, owner, resume.conversation)
        except ConvaiError:
            return None  # said below
        known = self._rooms.known(owner, resume.conversation)
        room = self._rooms.open(owner, resume.conversation)
        if known is room and room.abroad.followed:
            if resume.last > room.buffer.last:  # it has read more elsewhere than is known here
                await doors.look(room)
            return room
        await doors.follow(room)
        return room if room.abroad.writing is not None or room.writing is not None else None

    async def enter(self, conversation: str, last: int | None = None) -> None:
        """Open a conversation in place of the one that is open; `last`: the number that was read."""
        old, room = self.room, self._rooms.open(self.owner, conversation)
        if old is not None and old is not room:
            self.room = None
            await old.leave(self)
        if self._service.doors is not None:
            await self._service.doors.follow(room)
        self.room, self._sent = room, last
        room.join(self)
        self._news.set()
