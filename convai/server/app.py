"""The ASGI application: the chat socket, completions, and Flask for the rest, on one port."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, cast

from a2wsgi import WSGIMiddleware

from convai.server import operations
from convai.server.access import address_of
from convai.server.api_error import ApiError, too_slow
from convai.server.asgi import (
    CLOSE,
    BodyTooLarge,
    ClientGone,
    Receive,
    Scope,
    Send,
    answer_json,
    read_body,
    whole_answer,
)
from convai.server.completions import completions
from convai.server.connection import Connection
from convai.server.conversation_route import ROUTE as CONVERSATIONS
from convai.server.conversation_route import conversations
from convai.server.cors import answer_preflight, is_preflight, readable_by_page
from convai.server.health import ServerHealth
from convai.server.limiter import Busy
from convai.server.logs import log_failure
from convai.server.rooms import Rooms
from convai.server.routes import CHAT, COMPLETIONS, TEXT_COMPLETIONS, route_of
from convai.server.service import Service
from convai.server.site import MOST_BODY, create_site

_WORKERS: Final = 8
"""Threads of Flask's."""
_AGAIN: Final = 1.0
"""Seconds after which those come again who are sent to another door: a proxy has to notice, too."""
_CLOSING: Final = 2.0
"""Seconds that clients have to take what was sent before the sockets are closed."""


class App:
    """One server's doors. `drain` and `close` belong to whoever runs it (convai.server.run)."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.rooms = Rooms(service)
        self._connections: set[Connection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hurry = asyncio.Event()
        self._site = WSGIMiddleware(
            cast(Any, create_site(service, self._ask, self._delete_person)), workers=_WORKERS
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection, a request, or the server's beginning and end."""
        self._loop = asyncio.get_running_loop()
        if scope["type"] == "lifespan":
            self.service.begin()
            self.rooms.start(operations.take_up, self._leave)
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif is_preflight(scope):
            await answer_preflight(self.service.access, scope, send)
        else:
            await self._request(scope, receive, readable_by_page(self.service.access, scope, send))

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_of(scope["path"])
        if path in (COMPLETIONS, TEXT_COMPLETIONS):
            answer = completions(self.service, scope, receive, send, chat=path == COMPLETIONS)
        elif (about := CONVERSATIONS.match(path)) is not None:
            answer = conversations(self.service, self.rooms, scope, receive, send, *about.groups())
        else:
            answer = self._plain({**scope, "path": path}, receive, send)
        await self._guarded(answer, send)

    async def drain(self) -> None:
        """Let running replies finish, as long as the settings say, begin no new ones, close the sockets."""
        service = self.service
        service.draining = True
        finished = asyncio.ensure_future(service.finished())
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait(
            (finished, hurry), timeout=service.config.drain, return_when=asyncio.FIRST_COMPLETED
        )
        for waiting in (finished, hurry):
            waiting.cancel()
        await self.rooms.stop_writing()
        connections = list(self._connections)
        for connection in connections:
            connection.go_away("shutdown")
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING):
                await asyncio.gather(*(connection.closed() for connection in connections))
        if service.doors is not None:
            await service.doors.close()

    def hurry(self) -> None:
        """Wait for running replies no longer. From any thread, and from a signal's handler."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._hurry.set)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != CHAT:
            await receive()
            await send({"type": "websocket.close", "code": 1000})
            return
        connection = Connection(self.service, self.rooms, scope, receive, send)
        self._connections.add(connection)
        try:
            doors = self.service.doors
            if self.service.draining:
                connection.go_away("shutdown")
            elif doors is not None and doors.contact.cut_off:
                connection.go_away("database", _AGAIN)
            await connection.serve()
        except (OSError, asyncio.CancelledError):
            pass  # the client is gone, or the server is
        except Exception as error:
            log_failure("a socket failed", error)
        finally:
            self._connections.discard(connection)

    def _leave(self) -> None:
        """Nothing of the database comes here: readers are better off at another door."""
        for connection in self._connections:
            connection.go_away("database", _AGAIN)

    async def _plain(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request for Flask, whose few threads wait for no client: bodies come and go whole."""
        try:
            if scope["method"] in ("GET", "HEAD"):
                body = await read_body(receive, 0)
            else:
                with self.service.limiter.upload(address_of(scope.get("client"))):
                    body = await read_body(receive, MOST_BODY)
            answer = await whole_answer(cast(Any, self._site), scope, body)
        except Busy as busy:
            self.service.metrics.rejected.labels(busy.reason).inc()
            error = ApiError(429, str(busy), code="overloaded", retry=busy.retry)
        except BodyTooLarge:
            error = ApiError(413, f"the body is too large; use at most {MOST_BODY:,} bytes")
        except TimeoutError:
            error = too_slow()
        except ClientGone:
            return
        else:
            for message in answer:
                await send(message)
            return
        await answer_json(send, error.body(), error.status, [*error.headers(), CLOSE])

    async def _guarded(self, work: Coroutine[Any, Any, None], send: Send) -> None:
        """Do it; a defect is logged here, by its place alone, and not by uvicorn with all that it holds."""
        try:
            await work
        except OSError:
            pass  # the client is gone
        except Exception as error:
            log_failure("a request failed", error)
            with suppress(Exception):  # an answer may have begun
                await answer_json(send, ApiError(500, "the server failed; its log says where").body(), 500)

    def _delete_person(self, owner: str) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self.rooms.delete_person(owner), self._loop).result()

    def _ask(self, question: Coroutine[Any, Any, ServerHealth]) -> ServerHealth:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(question, self._loop).result()


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
