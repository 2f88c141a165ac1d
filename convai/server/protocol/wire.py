"""Frames as text: one JSON object with a `type`, to and from events, bounded and checked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from convai.core.limits import MAX_WHOLE, VERSION, Limits, ProtocolError
from convai.server.protocol.answers import Error
from convai.server.protocol.changes import Change
from convai.server.protocol.client import CLIENT_EVENTS, ClientEvent, Hello
from convai.server.protocol.kinds import LIMITS, bad
from convai.server.protocol.schema import build
from convai.server.protocol.server import SERVER_EVENTS, ServerEvent
from convai.server.protocol.values import Message


def _plain(value: object) -> str:
    """A text of another class, such as a request's name that the store has marked."""
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(f"a {type(value).__name__} in a frame")


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_plain)
_REQUEST: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_T = TypeVar("_T")


def encode(event: ClientEvent | ServerEvent, n: int | None = None) -> str:
    """The frame of an event; `n` is the number of a change that has none yet.

    Raises ValueError for a change without a number (see ReplayBuffer.append).
    """
    if n is not None:
        event = msgspec.structs.replace(event, n=n)
    if isinstance(event, Change) and not event.n:
        raise ValueError(f"{event.type!r} has no number; a replay buffer gives it one")
    return _text(event)


def _text(value: object) -> str:
    try:
        return _ENCODER.encode(value).decode()
    except UnicodeEncodeError:  # half a surrogate pair: as an escape, since UTF-8 cannot hold it
        return json.dumps(msgspec.to_builtins(value, enc_hook=_plain), allow_nan=False, separators=(",", ":"))


def parse_client(data: str | bytes, limits: Limits = LIMITS) -> ClientEvent:
    """The event in a frame from a client.

    Raises ProtocolError for anything else: too large, no JSON object, unknown type or field, a value of
    another type or out of range. The error has the frame's `request` where that can be read.
    """
    return _parse(data, CLIENT_EVENTS, limits, limits.frame_bytes)


def parse_server(data: str | bytes, limits: Limits = LIMITS) -> ServerEvent:
    """The event in a frame from a server. Raises ProtocolError as `parse_client` does."""
    return _parse(data, SERVER_EVENTS, limits, limits.server_frame_bytes)


def _parse(data: str | bytes, known: Mapping[str, type[_T]], limits: Limits, most: int) -> _T:
    value = _decode(data, most)
    request = value.get("request")
    request = request if isinstance(request, str) and _REQUEST.fullmatch(request) else None
    name = value.get("type")
    cls = known.get(name) if isinstance(name, str) else None
    if cls is None:
        found = "no type" if name is None else f"the type {str(name)[:40]!r}"
        raise ProtocolError(
            "bad_frame", f"a frame with {found}; there are {', '.join(known)}", request=request
        )
    try:
        event = build(cls, value, str(name))
        if isinstance(event, Change) and not event.n:
            raise bad(f"{name}.n", "is missing")
    except ProtocolError as error:
        error.request = request
        raise
    return event


def _decode(data: str | bytes, most: int) -> dict[str, Any]:
    size = len(data) if isinstance(data, bytes) or len(data) > most else len(data.encode("utf-8", "replace"))
    if size > most:
        raise ProtocolError("bad_frame", f"a frame of {size:,} bytes; use at most {most:,}")
    try:
        text = data.decode() if isinstance(data, bytes) else data
        value = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise ProtocolError("bad_frame", f"no UTF-8 (byte {error.start}); send text as UTF-8") from None
    except json.JSONDecodeError as error:
        raise ProtocolError("bad_frame", f"no JSON ({error.msg} at character {error.pos})") from None
    except RecursionError:
        raise ProtocolError("bad_frame", "JSON that is nested too deeply") from None
    except ValueError as error:
        raise ProtocolError("bad_frame", f"no JSON ({error})") from None
    if not isinstance(value, dict):
        raise ProtocolError("bad_frame", 'no JSON object; a frame is like {"type": "ping", "request": "1"}')
    return value


def _integer(digits: str) -> int:
    if len(digits) > 17 or abs(number := int(digits)) > MAX_WHOLE:
        raise ValueError(f"{digits[:20]} is out of range; whole numbers are -(2^53 - 1) to 2^53 - 1")
    return number


def _real(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise ValueError(f"{digits[:20]} is out of range; numbers are those of 64 bits")
    return number


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:40]!r} twice in one object")
    return found


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=_constant
)


class Receiver:
    """The order of a client's frames: `hello` first, once, in a version that is spoken here."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self.hello: Hello | None = None

    def receive(self, data: str | bytes) -> ClientEvent:
        """The next event. Raises ProtocolError; a frame that is refused changes nothing."""
        event = parse_client(data, self.limits)
        if isinstance(event, Hello):
            if self.hello is not None:
                raise ProtocolError("order", "a second hello; it is the first frame, once")
            if event.version != VERSION:
                raise ProtocolError(
                    "version",
                    f"version {event.version} is not spoken here; use {VERSION}",
                    field="hello.version",
                )
            self.hello = event
        elif self.hello is None:
            raise ProtocolError(
                "order", f"{event.type} before hello; send hello first", request=event.request
            )
        return event


def error_event(error: ProtocolError) -> Error:
    """What the client is told of a frame or request that was refused."""
    return Error(
        code=error.code,
        message=str(error)[:2000],
        field=error.field and error.field[:200],
        request=error.request,
    )


def newest_that_fit(messages: Iterable[Message], limits: Limits = LIMITS, spare: int = 65_536) -> int:
    """How many messages from the end of `messages` fit into a frame beside `spare` bytes of other things."""
    room, count = limits.server_frame_bytes - spare, 0
    for message in reversed(list(messages)):
        room -= len(_text(message).encode()) + 1
        if room < 0 or count == limits.page_messages:
            break
        count += 1
    return count
