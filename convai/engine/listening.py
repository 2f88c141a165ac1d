"""An engine, to doors elsewhere: it listens on a socket and computes for whoever knows the token.

One event loop serves all connections. A door that is gone, or silent for SILENCE seconds, leaves all of its
replies: their slots are free in the next step.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Final

from convai.engine.door import Door, read_frame
from convai.engine.handshake import Stranger, check_door, nonce, prove
from convai.engine.port import Port
from convai.engine.wire import (
    MAX_HANDSHAKE,
    SILENCE,
    VERSION,
    Challenge,
    EngineState,
    Identity,
    NotWelcome,
    Opening,
    Proof,
    Welcome,
    WireError,
    frame,
    opening,
)

logger: Final = logging.getLogger("convai.engine")
MOST_STRANGERS: Final = 64
"""Connections at once that have not shown the token yet."""


class Listening:
    """A started engine that doors can reach. `serve` belongs to one event loop."""

    def __init__(self, engine: Port, identity: Identity, token: str, *, silence: float = SILENCE) -> None:
        """`silence`: seconds after which a door that says nothing is gone."""
        self.engine, self.identity, self._token = engine, identity, token
        self.silence = silence
        self.draining = False
        self._doors: set[Door] = set()
        self._strangers = 0
        self._quiet = asyncio.Event()

    @property
    def doors(self) -> int:
        """Doors that are connected."""
        return len(self._doors)

    def state(self) -> EngineState:
        """How the engine is."""
        return EngineState(self.engine.stats(), self.engine.health(), self.draining)

    async def serve(self, listening: socket.socket, ready: asyncio.Event | None = None) -> None:
        """Serve doors until the task is cancelled."""
        server = await asyncio.start_server(self._connected, sock=listening, limit=2**16)
        if ready is not None:
            ready.set()
        try:
            async with server:
                await server.start_serving()
                await asyncio.get_running_loop().create_future()
        finally:
            for door in list(self._doors):
                door.close()

    async def drain(self, seconds: float) -> None:
        """Take nothing new, tell the doors so, and wait until what was begun has come to its end."""
        self.draining = True
        for door in self._doors:
            door.news()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while any(door.busy for door in self._doors):
                    self._quiet.clear()
                    await self._quiet.wait()
        await asyncio.gather(*(door.flushed() for door in list(self._doors)))

    def ended(self) -> None:
        """A reply of some door has ended."""
        self._quiet.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        door = None
        try:
            if self._strangers >= MOST_STRANGERS:
                return
            self._strangers += 1
            try:
                async with asyncio.timeout(self.silence):
                    await self._admit(reader, writer)
            finally:
                self._strangers -= 1
            door = Door(self, reader, writer)
            self._doors.add(door)
            await door.serve()
        except Stranger as error:
            logger.warning("a door was not let in: %s", error)
        except WireError as error:
            logger.warning("a door was left: %s", error)
        except (OSError, EOFError, TimeoutError, asyncio.CancelledError):
            pass  # it is gone, or we are
        finally:
            if door is not None:
                self._doors.discard(door)
                door.close()
                self.ended()
            writer.close()

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The handshake. Raises Stranger, WireError."""

        def say(message: Opening) -> None:
            writer.write(frame(message))

        own = nonce()
        say(Challenge(VERSION, own))
        answer = opening(await read_frame(reader, MAX_HANDSHAKE))
        if not isinstance(answer, Proof):
            raise WireError("an answer that is no proof; the other side is no convai door")
        try:
            check_door(answer, self._token, own)
        except Stranger as error:
            say(NotWelcome(str(error)))
            await writer.drain()
            raise
        proof = prove(self._token, "engine", own, answer.nonce)
        say(Welcome(proof, self.engine.limits, self.identity, self.state()))
