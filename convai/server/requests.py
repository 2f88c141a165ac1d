"""What a client asks for on its socket: named as the store knows it, done, answered, or refused in a line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import msgspec

from convai.conversation.memory.facts import Holds, MemoryFull, NoSuchFact
from convai.conversation.prompt_input import check_persona
from convai.core.character import Character
from convai.core.errors import DataError, SettingsError
from convai.server import asking, grouping, operations, staging
from convai.server.convert import persona_of
from convai.server.logs import log_failure
from convai.server.memory import NoMemory
from convai.server.protocol import (
    Answer,
    ErrorCode,
    ProtocolError,
    Request,
    client,
    error_event,
)
from convai.server.protocol.answers import Accepted, Error, Pong
from convai.server.room import Reader, Room
from convai.server.rooms import Rooms
from convai.server.service import Service
from convai.store import Conflict, NotFound, Receipt, RequestName

_MOST_ASKED: Final = 4096
"""Requests of a connection that are known when they are sent once more."""


class Caller(Reader, Protocol):
    """The connection that asks."""

    owner: str
    address: str
    room: Room | None
    """The conversation that it has open."""

    async def enter(self, conversation: str) -> None:
        """Open a conversation in place of the one that is open."""


class Requests:
    """Does what one connection asks for."""

    def __init__(self, service: Service, rooms: Rooms, caller: Caller) -> None:
        self._service, self._rooms, self._caller = service, rooms, caller
        self.came_back_to: str | None = None
        """The conversation that it had before it was lost: its requests are sent again by their names."""
        self._asked: dict[str, None] = {}
        """Keys of requests that came on this connection."""

    async def do(self, event: Request) -> Answer:
        """Do what was asked for. Raises what `error_of` has codes for."""
        named = self._named(event)
        event = msgspec.structs.replace(event, request=named)
        match event:
            case client.Ping():
                return Pong(request=event.request)
            case client.ListConversations():
                return await asking.conversations(self._service, self._caller.owner, event)
            case client.New():
                return await self._new(event, named)
            case client.Open():
                await self._service.in_store(self._service.store.load, self._caller.owner, event.conversation)
                await self._caller.enter(event.conversation)
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
        room = self._caller.room
        if room is None or room.deleted:
            raise ProtocolError("order", f"{event.type} without an open conversation; send new or open first")
        match event:
            case client.Send():
                return await operations.send(room, event, self._caller.address)
            case client.Edit():
                return await operations.edit(room, event, self._caller.address)
            case client.Regenerate():
                return await operations.regenerate(room, event, self._caller.address)
            case client.Continue():
                return await operations.go_on(room, event, self._caller.address)
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
            case client.SetGroup():
                return await grouping.set_group(room, event)
            case client.Speak():
                return await grouping.speak(room, event, self._caller.address)
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
        service, room = self._service, self._caller.room
        answer, change = await service.in_thread(service.remembering.do, self._caller.owner, event)
        if change is not None and room is not None and not room.deleted:
            room.emit(change)
        return answer

    async def _new(self, event: client.New, named: RequestName) -> Accepted:
        service = self._service
        service.check_open()

        def taken(conversation: str) -> bool:
            room = self._rooms.known(self._caller.owner, conversation)
            return room is not None and room.has_others(self._caller)

        async with self._rooms.naming(self._caller.owner, named.key):  # nobody may enter in between
            receipt = await _made(
                service, self._caller.owner, event, named, None if named.repeated else taken
            )
            await self._caller.enter(receipt.conversation)
        return Accepted(request=event.request, conversation=receipt.conversation, again=receipt.again)

    async def _delete(self, event: client.Delete) -> Accepted:
        service, store, owner = self._service, self._service.store, self._caller.owner
        room = self._rooms.known(owner, event.conversation)
        if service.doors is not None:
            await service.in_store(store.load, owner, event.conversation)
            room = self._rooms.open(owner, event.conversation)
            await service.doors.follow(room)
            await service.doors.stop(room, None)
        if room is not None and room.writing is not None:
            await room.writing.stop("client")
        receipt = await service.in_store(store.delete, owner, event.conversation, request=event.request)
        if room is not None and not receipt.again:
            room.end()
            self._rooms.forget(room)
        return Accepted(request=event.request, again=receipt.again)

    def _named(self, event: Request) -> RequestName:
        """A request's name as the store knows it.

        Clients number their requests, and two windows of one person, or one script that runs twice, use the
        same names. So a name belongs to the conversation and to what is asked for; what another connection
        did under it counts only for one that says that it comes back to that conversation.
        """
        about = "" if self._caller.room is None else self._caller.room.id
        within = {client.New: "", client.Delete: getattr(event, "conversation", "")}.get(type(event), about)
        what = msgspec.json.encode(msgspec.structs.replace(event, request="r"))
        named = RequestName(event.request, within=within, what=what)
        named.repeated = named.key in self._asked
        named.anew = not named.repeated and within not in ("", self.came_back_to)
        self._asked[named.key] = None
        if len(self._asked) > _MOST_ASKED:
            del self._asked[next(iter(self._asked))]
        return named


async def new_conversation(service: Service, owner: str, event: client.New) -> str:
    """Begin a conversation; its id. Raises NotFound, SettingsError."""
    service.check_open()
    return (await _made(service, owner, event, None, None)).conversation


async def _made(
    service: Service,
    owner: str,
    event: client.New,
    named: RequestName | None,
    taken: Callable[[str], bool] | None,
) -> Receipt:
    """A new conversation, with all that is to be in it."""
    character = None
    cast: list[Character] = []
    find = partial(staging.library_character, service, owner)
    if event.characters is not None:
        cast = [await service.in_thread(find, id) for id in event.characters]
        await service.in_thread(grouping.check_cast, service, cast)
        persona = cast[0].persona
    elif event.character is not None:
        character = await service.in_thread(find, event.character)
        persona = character.persona
    else:
        persona = service.deck.draw() if event.persona is None else persona_of(event.persona)
    await service.in_thread(check_persona, service.agent, persona, service.agent.decoding.max_length)
    config = operations.checked_decoding(service, service.agent.decoding, event.settings or {})
    receipt = await service.in_store(
        service.store.create,
        owner,
        persona=persona,
        settings=service.settings(config),
        title=event.title,
        request=named,
        taken=taken,
    )
    if not receipt.again:
        if cast:
            await service.in_thread(grouping.gather, service, owner, receipt.conversation, event, cast)
        else:
            await service.in_thread(staging.begin, service, owner, receipt.conversation, event, character)
    return receipt


def error_of(error: Exception, request: str | None) -> Error:
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
