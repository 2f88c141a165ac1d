"""One chat socket: hello, requests and their answers, and the changes of the conversation that is open."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import asdict
from typing import Final

import msgspec

import convai
from convai.conversation.memory.facts import Holds, MemoryFull, NoSuchFact
from convai.conversation.reply import check_persona
from convai.core.errors import ConvaiError, DataError, SettingsError
from convai.server import asking, operations, staging
from convai.server.access import address_of
from convai.server.asgi import Receive, Scope, Send, header
from convai.server.convert import persona_of
from convai.server.limiter import Busy
from convai.server.logs import log_failure
from convai.server.memory import NoMemory
from convai.server.protocol import (
    VERSION,
    Answer,
    ErrorCode,
    ProtocolError,
    Receiver,
    Request,
    client,
    encode,
    error_event,
)
from convai.server.protocol.answers import Accepted, Error, GoingAway, Overloaded, Pong, Ready
from convai.server.protocol.values import Resume
from convai.server.room import Room, Rooms
from convai.server.service import COME_BACK, Service
from convai.store import Asked, Conflict, NotFound

_MOST_ASKED: Final = 4096
"""Requests of a connection that are known when they are sent once more."""
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
        self._address = address_of(scope.get("client"))
        self._owner = ""
        self._receiver = Receiver(service.limits)
        self._bad = 0
        self._frames, self._frames_at = float(_BURST), time.monotonic()
        self._room: Room | None = None
        self._came_back_to: str | None = None
        """The conversation that it had before it was lost: its requests are sent again by their names."""
        self._asked: dict[str, None] = {}
        """Keys of requests that came on this connection."""
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
            with self._service.limiter.socket(self._address):
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
            if self._room is not None:
                await self._room.leave(self)

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
                elif self._room is None or self._room.writing is None:
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

    def go_away(self, reason: str, retry: float = COME_BACK) -> None:
        """Say that the server closes, and close."""
        self.answer(GoingAway(reason="idle" if reason == "idle" else "shutdown", retry=retry))
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
        room = self._room
        if room is None:
            return
        frames = None if self._sent is None else room.after(self._sent)
        if frames is None:
            self._sent = room.buffer.last  # a change that asks for a state again, meanwhile, sets it anew
            try:
                state = await room.state()
            except NotFound:
                if self._room is room:
                    self._room, room.deleted = None, True
                    await room.leave(self)
                    self.answer(Error(code="not_found", message="this conversation is gone"))
                return
            if self._room is not room:
                return
            restated = self._sent is None
            self._sent = None if restated else state.n
            await self._text(encode(state))
            self._news.set()
            return
        for frame in frames:
            await self._text(frame.text)
            if self._room is not room or self._sent is None:
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
                await self._service.admit(self._address)
            self.answer(await self._do(event))
        except Busy as busy:
            self._refused(busy, event.request)
        except Exception as error:
            self.answer(_error(error, event.request))

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
        self._owner, self.alternatives = owner, hello.alternatives
        resume = hello.resume
        self._came_back_to = resume.conversation if resume else None
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
                self.answer(_error(error, None))
                return
        await self._enter(resume.conversation, resume.last if resumed else None)

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
            return room
        await doors.follow(room)
        return room if room.abroad.writing is not None or room.writing is not None else None

    async def _enter(self, conversation: str, last: int | None = None) -> None:
        """Open a conversation in place of the one that is open; `last`: the number that was read."""
        old, room = self._room, self._rooms.open(self._owner, conversation)
        if old is not None and old is not room:
            self._room = None
            await old.leave(self)
        if self._service.doors is not None:
            await self._service.doors.follow(room)
        self._room, self._sent = room, last
        room.join(self)
        self._news.set()

    def _named(self, event: Request) -> Asked:
        """A request's name as the store knows it.

        Clients number their requests, and two windows of one person, or one script that runs twice, use the
        same names. So a name belongs to the conversation and to what is asked for; what another connection
        did under it counts only for one that says that it comes back to that conversation.
        """
        about = "" if self._room is None else self._room.id
        within = {client.New: "", client.Delete: getattr(event, "conversation", "")}.get(type(event), about)
        what = msgspec.json.encode(msgspec.structs.replace(event, request="r"))
        named = Asked(event.request, within=within, what=what)
        named.repeated = named.key in self._asked
        named.anew = not named.repeated and within not in ("", self._came_back_to)
        self._asked[named.key] = None
        if len(self._asked) > _MOST_ASKED:
            del self._asked[next(iter(self._asked))]
        return named

    async def _do(self, event: Request) -> Answer:
        """Do what was asked for. Raises what `_error` has codes for."""
        named = self._named(event)
        event = msgspec.structs.replace(event, request=named)
        match event:
            case client.Ping():
                return Pong(request=event.request)
            case client.ListConversations():
                return await asking.conversations(self._service, self._owner, event)
            case client.New():
                return await self._new(event, named)
            case client.Open():
                await self._service.in_store(self._service.store.load, self._owner, event.conversation)
                await self._enter(event.conversation)
                return Accepted(request=event.request, conversation=event.conversation)
            case client.Delete():
                return await self._delete(event)
            case (
                client.ListFacts()
                | client.Remember()
                | client.EditFact()
                | client.Forget()
                | client.RestoreFact()
                | client.SetMemory()
            ):
                return await self._remember(event)
        room = self._room
        if room is None or room.deleted:
            raise ProtocolError("order", f"{event.type} without an open conversation; send new or open first")
        match event:
            case client.Send():
                return await operations.send(room, event, self._address)
            case client.Edit():
                return await operations.edit(room, event, self._address)
            case client.Regenerate():
                return await operations.regenerate(room, event, self._address)
            case client.Continue():
                return await operations.go_on(room, event, self._address)
            case client.Stop():
                return await operations.stop(room, event)
            case client.Undo():
                return await operations.undo(room, event)
            case client.Switch():
                return await operations.switch(room, event)
            case client.SetPersona():
                return await operations.set_persona(room, event)
            case client.SetScene():
                return await staging.set_scene(room, event)
            case client.Greet():
                return await staging.greet(room, event)
            case client.SetDecoding():
                return await operations.set_decoding(room, event)
            case client.SetTitle():
                return await operations.set_title(room, event)
            case client.Suggest():
                return await asking.suggest(room, event)
            case client.History():
                return await asking.history(room, event)
            case client.Inspect():
                return await asking.inspect(room, event)

    async def _remember(self, event: client.MemoryRequest) -> Answer:
        """Something about the memory; whoever has the conversation open that is open here is told."""
        answer, change = await self._service.in_thread(self._service.remembering.do, self._owner, event)
        if change is not None and self._room is not None and not self._room.deleted:
            self._room.emit(change)
        return answer

    async def _new(self, event: client.New, named: Asked) -> Accepted:
        service = self._service
        service.check_open()
        character = None
        if event.character is not None:
            character = await service.in_thread(
                staging.library_character, service, self._owner, event.character
            )
            persona = character.persona
        else:
            persona = service.deck.draw() if event.persona is None else persona_of(event.persona)
        await service.in_thread(check_persona, service.agent, persona, service.agent.decoding.max_length)
        config = operations.checked_decoding(service, service.agent.decoding, event.settings or {})

        def taken(conversation: str) -> bool:
            room = self._rooms.known(self._owner, conversation)
            return room is not None and room.has_others(self)

        async with self._rooms.naming(self._owner, named.key):  # nobody may enter in between
            receipt = await service.in_store(
                service.store.create,
                self._owner,
                persona=persona,
                settings=service.settings(config),
                title=event.title,
                request=named,
                taken=None if named.repeated else taken,
            )
            if not receipt.again:
                await service.in_thread(
                    staging.begin, service, self._owner, receipt.conversation, event, character
                )
            await self._enter(receipt.conversation)
        return Accepted(request=event.request, conversation=receipt.conversation, again=receipt.again)

    async def _delete(self, event: client.Delete) -> Accepted:
        service, store = self._service, self._service.store
        room = self._rooms.known(self._owner, event.conversation)
        if service.doors is not None:
            await service.in_store(store.load, self._owner, event.conversation)
            room = self._rooms.open(self._owner, event.conversation)
            await service.doors.follow(room)
            await service.doors.stop(room, None)
        if room is not None and room.writing is not None:
            await room.writing.stop("client")
        receipt = await service.in_store(store.delete, self._owner, event.conversation, request=event.request)
        if room is not None and not receipt.again:
            room.end()
            self._rooms.forget(room)
        return Accepted(request=event.request, again=receipt.again)


def _error(error: Exception, request: str | None) -> Error:
    """What the client is told of a request that failed."""
    code: ErrorCode
    if isinstance(error, ProtocolError):
        error.request = error.request or request
        return error_event(error)
    if isinstance(error, NotFound):
        code = "not_found"
    elif isinstance(error, Conflict):
        code = "conflict"
    elif isinstance(error, NoSuchFact):
        code = "not_found"
    elif isinstance(error, SettingsError | DataError | operations.Refused | NoMemory | MemoryFull | Holds):
        code = "refused"
    else:
        log_failure("a request failed", error)
        return Error(code="internal", message="the server failed; its log says where", request=request)
    return Error(code=code, message=" ".join(str(error).split())[:2000], request=request)
