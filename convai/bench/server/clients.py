"""Clients of the server that is measured: they chat, and note when every token came.

Each has one of the addresses 127.1.x.y, some to an address, so that the server's limits for an address are
what they are by default. Linux has all of 127.0.0.0/8; elsewhere everybody comes from 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect

PER_ADDRESS: Final = 16
KEEPALIVE: Final = 20.0
_LOOK: Final = 0.05
_AT_ONCE: Final = 32
"""Connections that are made side by side."""


def address_for(number: int, network: int = 1, sharing: int = PER_ADDRESS) -> str | None:
    """The address of client `number`, one of `sharing` that have it; None where there is only one."""
    if sys.platform != "linux":
        return None
    place = number // sharing
    return f"127.{network}.{place // 250}.{place % 250 + 1}"


@dataclass(slots=True)
class ClientFigures:
    """What the clients saw. `delays`: seconds from the engine to the client, of the stub's tokens; `waits`:
    seconds from a message to its reply's first token, or to all of it where it comes whole (the best of
    several candidates), for each client; `whole`: to its end.
    """

    delays: list[float] = field(default_factory=list)
    tokens: int = 0
    replies: int = 0
    waits: dict[int, list[float]] = field(default_factory=dict)
    whole: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


class Client:
    """One client with one conversation."""

    def __init__(
        self,
        number: int,
        url: str,
        notes: ClientFigures,
        stamped: bool,
        sharing: int = PER_ADDRESS,
        keepalive: float = KEEPALIVE,
    ) -> None:
        """`sharing`: how many have an address together; `keepalive`: seconds between two pings, and for a
        pong: a connection without one breaks off.
        """
        self.number, self.notes = number, notes
        self._local, self._keepalive = address_for(number, sharing=sharing), keepalive
        self._url = url.replace("http", "ws", 1) + "/chat"
        self._stamped = stamped
        self._name, self._names = secrets.token_hex(6), 0
        self.socket: ClientConnection | None = None

    async def enter(self, settings: dict[str, Any], persona: Sequence[str] = ()) -> None:
        """Connect and begin a conversation."""
        self.socket = await connect(
            self._url,
            compression=None,
            max_size=2**21,
            open_timeout=60,
            local_addr=(self._local, 0) if self._local else None,
            ping_interval=self._keepalive,
            ping_timeout=self._keepalive,
        )
        await self._post("hello", version=1)
        await self._until("ready")
        await self._post("new", settings=settings, persona={"sentences": list(persona)})
        await self._until("state")

    async def say(self, text: str) -> None:
        """Say something."""
        await self._post("send", text=text)

    async def reply(self) -> None:
        """Read to the end of a reply."""
        begun = time.monotonic()
        waited = False
        while True:
            frame, now = await self.read()
            kind = frame["type"]
            if kind in ("token", "finished") and not waited:
                self.notes.waits.setdefault(self.number, []).append(now - begun)
                waited = True
            if kind == "token":
                self.notes.tokens += 1
                if self._stamped:
                    self.notes.delays.append(now - float(frame["text"]))
            elif kind == "finished":
                self.notes.replies += 1
                self.notes.whole.append(now - begun)
                return

    async def read(self) -> tuple[dict[str, Any], float]:
        """The next frame, and when it came. Counts what is no good."""
        assert self.socket is not None
        text = await self.socket.recv()
        now = time.monotonic()
        frame: dict[str, Any] = json.loads(text)
        if frame["type"] in ("error", "overloaded", "failed", "going_away", "stopped"):
            said = frame.get("reason") or frame.get("code") or frame.get("by")
            self.notes.errors[f"{frame['type']}: {said}"] += 1
            raise ConnectionError(frame["type"])
        return frame, now

    async def leave(self) -> None:
        """Go."""
        if self.socket is not None:
            await self.socket.close()

    async def _post(self, type: str, **fields: Any) -> None:
        assert self.socket is not None
        self._names += 1
        request = {} if type == "hello" else {"request": f"{self._name}-{self._names}"}
        await self.socket.send(json.dumps({"type": type, **request, **fields}))

    async def _until(self, type: str) -> None:
        while (await self.read())[0]["type"] != type:
            pass


class Crowd:
    """Many clients who talk at once, each as long as it may."""

    def __init__(
        self,
        url: str,
        count: int,
        *,
        lines: Sequence[str],
        settings: dict[str, Any],
        stamped: bool,
        first: int = 0,
        sharing: int = PER_ADDRESS,
        keepalive: float = KEEPALIVE,
    ) -> None:
        """The clients from number `first` on; see Client."""
        self.notes = ClientFigures()
        self._lines, self._settings = lines, settings
        self._clients = [
            Client(first + i, url, self.notes, stamped, sharing, keepalive) for i in range(count)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def enter(self) -> None:
        """Everybody connects."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(client: Client) -> None:
            persona = (f"i am person {client.number}.", self._lines[client.number % len(self._lines)][:100])
            async with gate:
                seed = {"seed": client.number} if "seed" not in self._settings else {}
                await client.enter({**self._settings, **seed}, persona)

        await asyncio.gather(*(one(client) for client in self._clients))

    async def talk(self, patience: float) -> None:
        """Everybody talks from now on; returns when all have heard something, or after `patience` seconds."""
        self._tasks = [asyncio.create_task(self._talk(client)) for client in self._clients]
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while len(self.notes.waits) < len(self._clients) and loop.time() < until:
            if all(task.done() for task in self._tasks):
                return
            await asyncio.sleep(0.1)

    async def window(self, seconds: float, replies: int = 0) -> ClientFigures:
        """What is seen in the next `seconds`, and until there are words and so many whole replies.

        With replies, also until somebody has waited for one that began meanwhile.
        """
        notes = self.notes = ClientFigures()
        for client in self._clients:
            client.notes = notes
        await asyncio.sleep(seconds)
        while not notes.errors and (
            not (notes.tokens or notes.replies)
            or notes.replies < replies
            or (replies > 0 and not notes.waits)
        ):
            await asyncio.sleep(_LOOK)
        self.notes = ClientFigures()
        for client in self._clients:
            client.notes = self.notes
        return notes

    async def leave(self) -> None:
        """Everybody goes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(client.leave() for client in self._clients), return_exceptions=True)

    async def _talk(self, client: Client) -> None:
        try:
            for turn in range(10_000):
                await client.say(self._lines[(client.number * 7 + turn) % len(self._lines)])
                await client.reply()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            client.notes.errors[type(error).__name__] += 1
