"""The little of ASGI that the server needs: headers, bodies, answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


BODY_SECONDS: Final = 60.0
"""Time for the body of a request."""
CLOSE: Final = ("connection", "close")
"""The header of an answer to a request whose body was not read."""


class BodyTooLarge(Exception):
    """A request's body has more bytes than are taken."""


class ClientGone(Exception):
    """The client left before its request was complete."""


def header(scope: Scope, name: str) -> str | None:
    """The first header called `name` (lower case), as text."""
    wanted = name.encode("latin-1")
    for key, value in scope["headers"]:
        if key.lower() == wanted:
            return bytes(value).decode("latin-1")
    return None


async def read_body(receive: Receive, most: int) -> bytes:
    """The whole body. Raises BodyTooLarge, ClientGone, and TimeoutError where it takes too long."""
    body = bytearray()
    async with asyncio.timeout(BODY_SECONDS):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            body += message.get("body", b"")
            if len(body) > most:
                raise BodyTooLarge
            if not message.get("more_body", False):
                return bytes(body)


async def whole_answer(app: App, scope: Scope, body: bytes) -> list[Message]:
    """What an application answers to a request whose body is there, all of it."""
    given: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    answer: list[Message] = []

    async def receive() -> Message:
        return given.pop() if given else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answer.append(message)

    await app(scope, receive, send)
    return answer


async def begin(send: Send, status: int, media: str, headers: Iterable[tuple[str, str]] = ()) -> None:
    """The begin of an answer."""
    pairs = [("content-type", media), ("cache-control", "no-store"), ("x-content-type-options", "nosniff")]
    encoded = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in [*pairs, *headers]]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def answer_json(
    send: Send, value: object, status: int = 200, headers: Iterable[tuple[str, str]] = ()
) -> None:
    """An answer in JSON, all at once."""
    body = json.dumps(value, allow_nan=False).encode()
    await begin(send, status, "application/json", [*headers, ("content-length", str(len(body)))])
    await send({"type": "http.response.body", "body": body})
