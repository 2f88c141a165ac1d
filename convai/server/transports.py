"""uvicorn's protocols, with an end to the patience that they have with clients.

What they leave open: a connection that never sends a whole request; a peer that takes nothing, so that
sending, or closing, never comes to its end; a client that sends pings and reads no pongs, which pile up; a
message in endless empty fragments. In all of these the connection is cut.
"""

from __future__ import annotations

import asyncio
from asyncio.transports import BaseTransport
from typing import Any, Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

REQUEST_SECONDS: Final = 20.0
"""Time from the begin of a connection, or the end of a request, to the end of the next one's headers."""
UNREAD_SECONDS: Final = 30.0
"""Time that a peer has to take what is being sent."""
FAREWELL_SECONDS: Final = 5.0
"""Time that it has once its connection is closed."""
RECEIVED_BYTES: Final = 16_384
"""Bytes that are taken from a connection at a time: thousands of tiny frames would keep everybody waiting."""
UNSENT_BYTES: Final = 16_384
"""Bytes that wait for a slow reader before whoever sends waits, too."""
FRAGMENTS: Final = 64
"""Frames of one message; no client that is used for talking needs more than a few."""


class _Patience(asyncio.Protocol):
    """Cuts a connection whose peer does not take what is sent; a protocol of uvicorn's stands behind it."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _unread: asyncio.TimerHandle | None = None

    def wait_for_reader(self) -> None:
        """Sending is held up from now on."""
        self.reader_came()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def reader_came(self) -> None:
        """It goes on, or is over."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self.reader_came()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The peer reads more slowly than it is sent to."""
        self.wait_for_reader()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.reader_came()
        super().resume_writing()


class HttpProtocol(_Patience, H11Protocol):
    """HTTP/1.1 with time limits for the headers of a request, and for a reader."""

    _impatience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, and begin to wait."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(UNSENT_BYTES)
        if hasattr(transport, "max_size"):  # asyncio's own
            transport.max_size = RECEIVED_BYTES
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take bytes; with whole headers the waiting is over, until the answer is."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._wait_no_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._impatience is None:
            self._impatience = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _wait_no_more(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def _give_up(self) -> None:
        self._impatience = None
        if not self.transport.is_closing() and self.conn.their_state is h11.IDLE:
            self.transport.abort()


class SocketProtocol(_Patience, WebSocketsSansIOProtocol):
    """A WebSocket whose memory is bounded, whatever its client sends or does not read."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        cast(asyncio.Transport, transport).set_write_buffer_limits(UNSENT_BYTES)

    def handle_ping(self) -> None:
        """Answer, if the client reads its answers."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()
            self.transport.abort()

    def handle_cont(self, event: Frame) -> None:
        """Take another fragment of a message."""
        if len(self.frames) < FRAGMENTS:
            super().handle_cont(event)
            return
        self.frames = []
        self.conn.fail(1009, "too many fragments")
        self.handle_parser_exception()
        self._cut_off()

    def send_receive_event_to_app(self) -> None:
        """Hand a message on; text that is no UTF-8 closes the connection, and is no defect to be logged."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.fail(1007, "no UTF-8")
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """Close, after frames that are none."""
        super().handle_parser_exception()
        self._cut_off()

    def keepalive_timeout(self) -> None:
        """Close, since no pong came."""
        super().keepalive_timeout()
        self._cut_off()

    async def send(self, message: Any) -> None:
        """Send. Raises an OSError where the client is gone."""
        await super().send(message)
        if message["type"] == "websocket.close":
            self._cut_off()

    def _cut_off(self) -> None:
        """Closing waits until everything was taken; who takes nothing is not waited for."""
        self.loop.call_later(FAREWELL_SECONDS, self.transport.abort)
