"""Somebody who chats over several doors, comes back when one is gone, and notes what is not as it must be."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from convai.bench.cluster.counting import letters, said
from convai.bench.view import View
from convai.core.limits import ProtocolError
from convai.server.protocol import encode, parse_server
from convai.server.protocol.answers import Accepted, Error, GoingAway, Overloaded, Ready
from convai.server.protocol.client import Hello
from convai.server.protocol.server import ServerEvent

AWAY: Final = 1.0
"""Seconds without a word, in mid-reply, that are noted."""
_EARLIER: Final = 0.5
"""Seconds that a death may come before the silence that it makes."""
_OPEN: Final = 10.0
_SILENCE: Final = 20.0
"""Seconds without any frame after which a connection is given up."""
_GIVEN_UP: Final = 60.0
"""Seconds after which an interrupted reply is one."""
_PAUSES: Final = (0.05, 0.3)
_PING: Final = 3.0


@dataclass(slots=True)
class Observations:
    """What all of them saw. `wrong`: what must not be, by kind; `killed`: when, and what; `away`: what was
    killed meanwhile, and how often → seconds without a word in a reply that was being written; `restarts`:
    seconds that PostgreSQL took to end and to be there again.
    """

    wrong: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    away: dict[str, list[float]] = field(default_factory=dict)
    killed: list[tuple[float, str]] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    def silence(self, begun: float, ended: float) -> None:
        """Somebody got no word of a reply between the two."""
        every = Counter(what for when, what in self.killed if begun - _EARLIER <= when <= ended)
        named = [what if count == 1 else f"{what} ({count} times)" for what, count in sorted(every.items())]
        self.away.setdefault(" and ".join(named) or "nothing", []).append(ended - begun)

    def bad(self, kind: str, example: str) -> None:
        """Something is not as it must be."""
        self.wrong[kind] += 1
        if len(self.examples) < 10:
            self.examples.append(f"{kind}: {example}")


class Visitor:
    """One with one conversation; `acknowledged` are the texts that some door has taken."""

    def __init__(self, number: int, doors: Sequence[str], notes: Observations, length: int) -> None:
        """`doors`: their sockets' URLs; `length`: letters of a reply."""
        self.number, self.notes, self.length = number, notes, length
        self._doors, self._door = doors, number
        self._chance = random.Random(number)
        self.view = View()
        self.acknowledged: list[str] = []
        self.pending: str | None = None
        """What was said, as far as nobody has answered."""
        self._made = False
        self._interrupted: float | None = None
        self._heard: float | None = None
        """When the last word of the reply that is being written came."""
        self._socket: ClientConnection

    async def live(self, ended: asyncio.Event) -> None:
        """Chat until `ended`, and to the end of what was begun."""
        while not (ended.is_set() and self._made and self.pending is None and self.view.writing is None):
            try:
                await self._connected(ended)
                return
            except ProtocolError as error:
                self.notes.bad("frames left out or out of order", f"{self.number}: {error}")
                self.view.stream = "unknown"  # as the page: so that a state comes, not more of these
            except (OSError, WebSocketException, TimeoutError, EOFError) as error:
                self.notes.seen[f"connections lost ({type(error).__name__})"] += 1
            self._door += 1
            await asyncio.sleep(self._chance.uniform(*_PAUSES))

    async def _connected(self, ended: asyncio.Event) -> None:
        url = self._doors[self._door % len(self._doors)]
        if self.view.conversation is not None:
            url += f"?conversation={self.view.conversation}"
        async with connect(
            url, compression=None, max_size=2**21, open_timeout=_OPEN, ping_interval=_PING, ping_timeout=_OPEN
        ) as self._socket:
            resume = self.view.resume()
            await self._socket.send(encode(Hello(version=1, resume=resume)))
            await self._until(Ready)
            if not self._made:
                settings = {"max_length": self.length, "min_length": self.length}
                persona = {"sentences": [f"i am person {self.number}."]}
                await self._ask(f"{self.number}-new", "new", settings=settings, persona=persona)
                self._made = True
            while self.view.conversation is None:
                await self._read()
            while True:
                while self._waits():
                    await self._read()
                if self.pending is None:
                    if ended.is_set():
                        return
                    self.pending = said(self.number, len(self.acknowledged))
                name = f"{self.number}-{len(self.acknowledged)}"
                await self._ask(name, "send", text=self.pending)
                self.acknowledged.append(self.pending)
                self.pending = self._interrupted = None
                self._heard = time.monotonic()

    def _waits(self) -> bool:
        """Whether a reply is still to come, or to come to its end."""
        if self.pending is not None:
            return False
        messages = self.view.messages
        if not self.acknowledged:
            return False
        last = messages[-1] if messages else None
        if last is None or last.role == "user" or last.status == "streaming":
            return True
        if last.status == "interrupted" and self._patient():
            return True
        shown = [one.text for one in messages if one.role == "user"]
        return shown[-1:] != self.acknowledged[-1:]

    def _patient(self) -> bool:
        """Whether an interrupted reply may still go on: after a crash nobody knows at first who writes it."""
        if self._interrupted is None:
            self._interrupted = time.monotonic()
        return time.monotonic() - self._interrupted < _GIVEN_UP

    async def _ask(self, name: str, type: str, **fields: Any) -> None:
        """Until it is accepted."""
        while True:
            await self._socket.send(json.dumps({"type": type, "request": name, **fields}))
            while True:
                event = await self._read()
                if getattr(event, "request", None) != name:
                    continue
                if isinstance(event, Accepted):
                    self.notes.seen["accepted" + (" again" if event.again else "")] += 1
                    return
                if isinstance(event, Overloaded):
                    self.notes.seen[f"told to wait ({event.reason})"] += 1
                    await asyncio.sleep(event.retry)
                    break
                if isinstance(event, Error):
                    if event.code == "internal":
                        self.notes.seen["asked again after an error"] += 1
                        await asyncio.sleep(0.2)
                        break
                    if event.code == "order":  # it could not be opened while the database was away
                        self.notes.seen["had to open the conversation again"] += 1
                    else:
                        self.notes.bad(f"refused ({event.code})", f"{self.number} {type}: {event.message}")
                    raise EOFError

    async def _until(self, kind: type) -> None:
        while not isinstance(await self._read(), kind):
            pass

    async def _read(self) -> ServerEvent:
        async with asyncio.timeout(_SILENCE):
            text = await self._socket.recv()
        event = parse_server(text)
        changed = self.view.take(event)
        if isinstance(event, GoingAway):
            raise EOFError
        if changed:
            self._look()
        return event

    def _look(self) -> None:
        """Is what is shown what must be shown?"""
        messages = self.view.messages
        if not messages or messages[-1].role == "user":
            return
        now, last = time.monotonic(), messages[-1]
        if self._heard is not None:
            if now - self._heard > AWAY:
                self.notes.silence(self._heard, now)
            self._heard = now if last.status == "streaming" else None
        if len(messages) < 2:
            return
        whole = letters(messages[-2].text, max(self.length, len(last.text)))
        if last.status == "streaming":
            if not whole.startswith(last.text):
                self.notes.bad("letters missing or twice", f"{self.number}: {last.text!r} of {whole!r}")
        elif last.status == "interrupted":
            self.notes.seen["replies shown as interrupted, for a moment at least"] += 1
        elif last.text != whole:
            self.notes.bad("a whole reply is another one", f"{self.number}: {last.text!r} is not {whole!r}")
        else:
            self.notes.seen["replies seen whole"] += 1
