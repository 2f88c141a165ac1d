"""Conversations over plain HTTP: one is begun, something is said in it, its group speaks or is changed.

`POST /api/conversations`, `POST .../ID/messages`, `GET` and `PATCH .../ID/group`: routes of ASGI, since an
answer waits for replies. They are drawn in the conversation's room: who has it open on the page reads along.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Any, Final

import msgspec

from convai.conversation.group import due
from convai.core.errors import ConvaiError
from convai.core.limits import ProtocolError
from convai.server import grouping, operations
from convai.server.access import address_of
from convai.server.admission import admitted, answer_error, overloaded
from convai.server.api_error import ApiError
from convai.server.asgi import ClientGone, Receive, Scope, Send, answer_json
from convai.server.convert import turns_of
from convai.server.limiter import Busy
from convai.server.protocol import client
from convai.server.protocol.schema import build
from convai.server.requests import error_of, new_conversation
from convai.server.room import Room
from convai.server.rooms import Rooms
from convai.server.scene_cards import group_card
from convai.server.service import Service, seed_of

ROUTE: Final = re.compile(r"/api/conversations(?:/([A-Za-z0-9_-]{1,64})/(messages|group))?\Z")
_METHODS: Final = {None: ("POST",), "messages": ("POST",), "group": ("GET", "PATCH")}
_STATUS: Final = {"not_found": 404, "conflict": 409, "internal": 500}


async def conversations(
    service: Service,
    rooms: Rooms,
    scope: Scope,
    receive: Receive,
    send: Send,
    id: str | None,
    what: str | None,
) -> None:
    """Answer one request, about conversation `id` or a new one."""
    try:
        owner, body = await admitted(service, scope, receive, _METHODS[what])
        given = _object(body)
        address = address_of(scope.get("client"))
        if id is None:
            event = build(client.New, {**given, "request": _name()}, "body")
            made = await new_conversation(service, owner, event)
            room = rooms.open(owner, made)
            await answer_json(send, {"conversation": made, "messages": await _said(room, None)}, 201)
            return
        await service.in_store(service.store.load, owner, id)
        room = rooms.open(owner, id)
        if service.doors is not None:
            await service.doors.follow(room)
        if what == "messages":
            await answer_json(send, await _talk(room, given, address), 201)
            return
        if scope["method"] == "PATCH":
            change = build(client.SetGroup, {**given, "request": _name()}, "body")
            await grouping.set_group(room, change)
        await answer_json(send, {"group": await _group(room)})
    except ClientGone:
        pass
    except Busy as busy:
        await answer_error(send, overloaded(service, busy))
    except ApiError as error:
        await answer_error(send, error)
    except ProtocolError as error:
        await answer_error(
            send, ApiError(400, str(error), param=(error.field or "").partition(".")[2] or None)
        )
    except ConvaiError as error:
        failure = error_of(error, None)
        await answer_error(send, ApiError(_STATUS.get(failure.code, 400), failure.message, code=failure.code))


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises ApiError."""
    try:
        given = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is no JSON in UTF-8") from None
    if not isinstance(given, dict):
        raise ApiError(400, 'the body is no JSON object; send {"text": "hello"}')
    given.pop("request", None)
    return given


async def _talk(room: Room, given: dict[str, Any], address: str) -> dict[str, Any]:
    """Say `text`, or let `speaker` of the group speak (blank: whoever is next); all that is said then."""
    if given.keys() - {"text", "speaker"} or len(given) != 1:
        raise ApiError(400, 'send {"text": "hello"}, or {"speaker": "Ann"} in a group')
    before = (await room.branch()).leaf
    if "text" in given:
        said = build(client.Send, {"text": given["text"], "request": _name()}, "body")
        await operations.send(room, said, address)
    else:
        speak = build(client.Speak, {"member": given["speaker"], "request": _name()}, "body")
        await grouping.speak(room, speak, address)
    while (writing := room.writing) is not None:
        await writing.ended()
    group = await room.group()
    path = await room.branch()
    conversation = await room.service.in_store(room.service.store.load, room.owner, room.id)
    place = turns_of(path.messages, group)
    number = path.earlier + len(path.messages)
    one = due(group, place, number, seed_of(conversation)) if group else None
    return {"messages": await _said(room, before), "next": "" if one is None else one.name}


async def _said(room: Room, after: str | None) -> list[dict[str, Any]]:
    """The messages of the branch behind one of them; None: all."""
    path, names = await room.branch(), (await room.group()).names
    ids = [kept.id for kept in path.messages]
    start = ids.index(after) + 1 if after in ids else 0
    return [
        {
            "id": kept.id,
            "role": "agent" if kept.speaker else "user",
            **({"name": names[kept.persona]} if kept.speaker and kept.persona in names else {}),
            "text": kept.text,
            "status": kept.status,
        }
        for kept in path.messages[start:]
    ]


async def _group(room: Room) -> Any:
    group = await room.group()
    return msgspec.to_builtins(group_card(group)) if group else None


def _name() -> str:
    return secrets.token_hex(8)
