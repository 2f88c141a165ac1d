"""Whether replies are drawn: one real token, which all who ask at the same time share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from convai.conversation.agent import Talker
from convai.conversation.conversation import Place
from convai.conversation.prompt_input import prompt_input
from convai.core.dialog import AGENT, Persona
from convai.core.errors import ConvaiError
from convai.core.settings import DecodingConfig
from convai.engine import Finished, Overloaded, Port
from convai.engine import Request as EngineRequest

SECONDS: Final = 5.0
"""Time for the token."""
FRESH: Final = 1.0
"""Seconds for which an answer holds: asking often costs the chats nothing."""

_LOOK: Final = 0.02
"""Seconds between two looks at the engine's counters."""


class ServerHealth(NamedTuple):
    """`status` is ok, draining, stuck, database (which does not answer), or what the engine says of itself;
    `detail` is for a person.
    """

    status: str
    detail: str = ""


class Checker:
    """Asks the engine for a token, once for everybody who wants to know."""

    def __init__(
        self,
        agent: Talker,
        engine: Port,
        draining: Callable[[], bool],
        *,
        away: Callable[[], float] = lambda: 0.0,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`draining` says whether the server is about to stop, `away` for how many seconds the database that
        it shares with others has not answered.
        """
        self._away = away
        self._agent, self._engine, self._draining = agent, engine, draining
        self._seconds, self._clock = seconds, clock
        self._task: asyncio.Task[ServerHealth] | None = None
        self._known = (float("-inf"), ServerHealth("unknown"))

    async def check(self) -> ServerHealth:
        """How the server is. Takes a second answer within FRESH from the first."""
        if self._draining():
            return ServerHealth("draining")
        if (away := self._away()) > 0:
            return ServerHealth("database", f"the database has not answered for {away:.0f} seconds")
        said = self._engine.health()
        if said.status != "ok":
            return ServerHealth(said.status, said.detail)
        since, known = self._known
        if self._clock() - since < FRESH:
            return known
        if self._task is None:
            self._task = asyncio.create_task(self._draw(), name="convai-health")
        return await asyncio.shield(self._task)

    async def _draw(self) -> ServerHealth:
        try:
            health = await self._token()
        finally:
            self._task = None
        self._known = (self._clock(), health)
        return health

    async def _token(self) -> ServerHealth:
        config = DecodingConfig(max_length=1, temperature=0.0)
        try:
            source = prompt_input(self._agent, Persona(), Place(), AGENT, max_history=None, max_length=1)
            async with asyncio.timeout(self._seconds):
                async with self._engine.stream(EngineRequest(source.prompt, config)) as events:
                    ends = [event async for event in events if isinstance(event, Finished)]
        except TimeoutError:
            return ServerHealth("stuck", f"no token within {self._seconds:g} seconds")
        except Overloaded:  # the queue is full: others' tokens will do
            return await self._progress()
        except ConvaiError as error:
            return ServerHealth("failed", str(error))
        return ServerHealth("ok") if ends else ServerHealth("failed", "a reply without an end")

    async def _progress(self) -> ServerHealth:
        engine = self._engine
        before = engine.stats().steps
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                while engine.stats().steps == before:
                    await asyncio.sleep(_LOOK)
                return ServerHealth("ok")
        return ServerHealth("stuck", f"the queue is full, and no step in {self._seconds:g} seconds")
