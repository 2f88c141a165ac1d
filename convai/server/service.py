"""What all doors of the server share: model, engine, store, limits, measurements, and the end of it all."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, Final, TypeVar

from convai.conversation.agent import Talker
from convai.conversation.company import company_of
from convai.conversation.hooks import NO_HOOKS, Hooks
from convai.conversation.memory.listening import Recollection
from convai.conversation.memory.memory import Memory
from convai.conversation.memory.summary import summary_of
from convai.conversation.scene import Scene, Source
from convai.core.settings import DecodingConfig, ServerConfig
from convai.engine import EngineLost, Overloaded, Port, Stream
from convai.engine import Request as EngineRequest
from convai.engine.replicas import Replicas
from convai.server.access import Access
from convai.server.doors import Doors
from convai.server.group_commit import GroupCommit
from convai.server.health import Checker
from convai.server.limiter import RETRY, Busy, Limiter
from convai.server.marks import Marker, ReadCoref, ReadMood
from convai.server.memory import Remembering
from convai.server.metrics import Metrics
from convai.server.protocol import Limits
from convai.server.protocol.kinds import SettingValue
from convai.server.telling import GATHER
from convai.store import Conversation, Store
from convai.text.personas import PersonaDeck

THREADS: Final = 4
"""Threads for what takes its time."""
COME_BACK: Final = 5.0
"""Seconds after which a server that stops may be there again."""
SourceOf = Callable[[str, Conversation], Source | None]
"""What a feature adds to the prompts of an owner's conversation; None: nothing."""
T = TypeVar("T")


def seed_of(conversation: Conversation) -> int:
    """The seed of what macros and lorebooks draw: the conversation's, or one of its own."""
    seed = conversation.settings.get("seed")
    if isinstance(seed, int):
        return seed
    return int.from_bytes(hashlib.blake2b(conversation.id.encode(), digest_size=4).digest(), "big")


class Service:
    """One server's parts. It takes the engine and the store over, and closes both at its end.

    Everything but the functions of `in_thread` and `in_store` runs in one event loop.
    """

    def __init__(
        self,
        agent: Talker,
        engine: Port,
        store: Store,
        config: ServerConfig,
        *,
        read_mood: ReadMood | None = None,
        read_coref: ReadCoref | None = None,
        hooks: Hooks = NO_HOOKS,
        memory: Memory | None = None,
    ) -> None:
        """`engine` has been started; `read_mood` and `read_coref` read along (see `convai.server.marks`);
        `hooks` lean on every reply, of the socket and of REST; `memory` remembers those who chat by socket.

        Raises SettingsError for tokens or an address that will not do.
        """
        self.agent, self.engine, self.store, self.config = agent, engine, store, config
        self.hooks = hooks
        self.sources: list[SourceOf] = []
        """Features that add to the prompts of every conversation, in the order in which they are shown."""
        self.access = Access(config)
        self.limits = Limits()
        self.limiter = Limiter(config)
        self.metrics = Metrics(
            engine.stats, lambda: self.limiter.sockets, lambda: getattr(engine, "moved", 0)
        )
        self.marker = Marker(self.metrics, read_mood, read_coref)
        self.remembering = Remembering(memory, self.metrics)
        if memory is not None:
            self.sources.append(lambda owner, open_: Recollection(memory, owner, open_.id))
        self.deck = PersonaDeck()
        self.draining = False
        self._threads = ThreadPoolExecutor(THREADS, "convai-work")
        self._commits = GroupCommit(store)
        self.doors = (
            None if store.shared is None else Doors(store.shared, self.in_thread, lambda: self.draining)
        )
        """What this door has in common with others; None where the store is one process' own."""
        self.health = Checker(agent, engine, lambda: self.draining, away=self._database_away)
        self._running = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    def _database_away(self) -> float:
        return 0.0 if self.doors is None else self.doors.contact.away

    def begin(self) -> None:
        """In the event loop that serves: it hears the engines, so that a token wakes nobody else."""
        if isinstance(self.engine, Replicas):
            # what is told together may as well come together
            self.engine.hear_in_loop(GATHER if self.doors is not None else 0.0)

    def scene(self, owner: str, conversation: Conversation, version: int | None = None) -> Scene:
        """What is added to the prompts of a conversation, or was with another `version` of its persona.

        Waits for the disk.
        """
        found = (source(owner, conversation) for source in self.sources)
        summary = summary_of if self.remembering.keeps else None
        staging = self.store.scenes.known(conversation.id)
        speaks = conversation.persona_version if version is None else version
        company = None
        if staging.group:
            personas = self.store.personas(owner, conversation.id)
            company = company_of(staging.group, speaks, personas, staging.characters)
        return Scene(
            tuple(source for source in found if source is not None),
            summary=summary,
            character=staging.characters.get(speaks),
            partner=staging.partner,
            note=staging.note,
            books=staging.books,
            seed=seed_of(conversation),
            company=company,
            began=conversation.created,
        )

    def later(self, seconds: float, call: Callable[[], object]) -> asyncio.Handle:
        """Call something after a while, unless what is returned is cancelled."""
        return asyncio.get_running_loop().call_later(seconds, call)

    async def in_thread(self, do: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call what reads much, or computes for a while, without keeping the loop."""
        call = functools.partial(do, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def in_store(self, do: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call what takes some milliseconds at most, behind all that was asked for before.

        What it wrote is on the disk at the end. PostgreSQL waits for its disk in every transaction: there,
        calls run side by side.
        """
        if self.store.database.sqlite:
            return await self._commits.do(do, *args, **kwargs)
        return await self.in_thread(do, *args, **kwargs)

    async def planned(self, do: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """`in_store` for what begins a reply: where its history is read in other words first, which may take
        its time, others' writing does not wait for that.
        """
        call = self.in_store if self.hooks.history is None else self.in_thread
        return await call(do, *args, **kwargs)

    def stream(self, request: EngineRequest, session: str = "", trace: str = "") -> Stream:
        """The engine's stream. Raises Busy where its queue is full, or no engine can be reached.

        `session`: the conversation's name, if it has one: it is served where its last turn was; `trace`: what
        logs of door and engine call it.
        """
        try:
            return self.engine.stream(replace(request, session=session, trace=trace))
        except Overloaded as error:
            raise Busy("queue", error.retry_after) from None
        except EngineLost:
            raise Busy("queue", RETRY, "the model cannot be reached") from None

    async def admit(self, address: str) -> None:
        """One more request from an address, at all doors together. Raises Busy."""
        if self.store.shared is None:
            self.limiter.request(address)
            return
        # in PostgreSQL, which doors have in common anyway: another server for it would be one more to run
        wait = await self.in_thread(self.store.shared.spend, address, self.config.rate)
        if wait > 0:
            raise Busy("rate", wait)

    def check_open(self) -> None:
        """Raise Busy when the server is about to stop: nothing new is begun."""
        if self.draining:
            raise Busy("draining", COME_BACK)

    @contextmanager
    def work(self) -> Iterator[None]:
        """Something that is finished before the server stops."""
        self._running += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._quiet.set()

    async def finished(self) -> None:
        """Wait until nothing is at work."""
        await self._quiet.wait()

    def settings(self, config: DecodingConfig | None = None) -> dict[str, SettingValue]:
        """Decoding settings as they go over the wire; the model's own by default."""
        return asdict(config or self.agent.decoding)

    def close(self) -> None:
        """Close engine and store. Replies that are still being written break off."""
        if isinstance(self.engine, Replicas):
            self.engine.hear_in_thread()  # some of those that end here wait for it
        self.marker.close()
        self.remembering.close()
        self.engine.close()
        self._threads.shutdown()
        self._commits.close()
        self.store.close()
