"""Several models behind one port: one that is always there, and others that are loaded when asked for.

A request says which one draws it (`DecodingConfig.adapter`). Of the others a bounded number is in memory;
the one that nobody has asked for longest makes room, if nobody reads a reply of it. All of them take the same
prompts: they have one tokenizer.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from typing import Final

from convai.core.errors import ConvaiError
from convai.engine.errors import EngineClosed, EngineError, Overloaded
from convai.engine.mailbox import Parcel
from convai.engine.messages import Counters, Health, ModelLimits, Request, Stats
from convai.engine.port import Port
from convai.engine.stream import Stream

logger: Final = logging.getLogger("convai.engine")
Load = Callable[[], Port]
"""Makes a started engine. Raises ConvaiError."""
_AGAIN: Final = 2.0
"""Seconds after which a request may come again that found all adapters in use."""


@dataclass(slots=True, eq=False)
class _Held:
    """An adapter that is in memory, or about to be."""

    name: str
    engine: Future[Port] = field(default_factory=Future)
    readers: set[int] = field(default_factory=set)

    @property
    def here(self) -> Port | None:
        """The engine, once it is loaded."""
        return self.engine.result() if self.engine.done() and not self.engine.exception() else None


class Adapters:
    """A `convai.engine.port.Port` of an engine, and of those that can be loaded beside it; it closes all."""

    def __init__(
        self,
        own: Port,
        others: Mapping[str, Load],
        *,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`most`: so many of the `others` are in memory at a time; `clock`: of deadlines, in seconds."""
        self.own, self._others, self._most = own, dict(others), most
        self._held: dict[str, _Held] = {}  # the one that was asked for last is the last one
        self._counters = Counters()  # of those that were given up
        self._lock = threading.RLock()
        self._loader = ThreadPoolExecutor(1, "convai-adapters")
        self._closed, self._clock = False, clock

    # -- the port ----------------------------------------------------------------------------------

    @property
    def limits(self) -> ModelLimits:
        """What all of them take, and what they are called."""
        return replace(self.own.limits, adapters=tuple(sorted(self._others)))

    def stream(self, request: Request) -> Stream:
        """Draw replies with the model that is asked for; one that is not in memory is loaded meanwhile.

        Raises as `Port.stream`; SettingsError for a model that there is not, Overloaded where there is no
        room for one more.
        """
        name = request.config.adapter
        if name not in self._others:
            self.limits.check_adapter(name)
            return self.own.stream(request)
        request.room(self.own.limits.positions)
        with self._lock:
            if self._closed:
                raise EngineClosed
            held = self._hold(name)
            reading = _Reading(held, request, self._clock)
            held.readers.add(id(reading))  # from here on it stays
        try:
            reading.begin()
        except BaseException:
            reading.cancel()
            raise
        return Stream(reading)

    def stats(self) -> Stats:
        """All of them together, those that were given up too."""
        with self._lock:
            here = [held.here for held in self._held.values()]
            past = {one.name: getattr(self._counters, one.name) for one in fields(Counters)}
        loaded = [engine for engine in here if engine is not None]
        every = [self.own.stats(), *(engine.stats() for engine in loaded), Stats(**past, loaded=len(loaded))]
        return Stats(**{one.name: sum(getattr(stats, one.name) for stats in every) for one in fields(Stats)})

    def health(self) -> Health:
        """Its own engine's, or that of the first of the others that is not well."""
        with self._lock:
            here = [(held.name, held.here) for held in self._held.values()]
        if (own := self.own.health()).status != "ok":
            return own
        for name, engine in here:
            if engine is not None and (health := engine.health()).status not in ("ok", "closed"):
                return Health(health.status, f"{name}: {health.detail}")
        return own

    def close(self) -> None:
        """Break off all requests, and take no more. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.own.close()
        self._loader.shutdown(cancel_futures=True)
        for held in self._held.values():
            if not held.engine.done():
                held.engine.set_exception(EngineClosed())
            elif (engine := held.here) is not None:
                engine.close()

    def __enter__(self) -> Adapters:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- loading -----------------------------------------------------------------------------------

    def _hold(self, name: str) -> _Held:
        """Its place in memory, from now on the latest. Raises Overloaded where there is none."""
        held = self._held.pop(name, None)
        if held is None:
            given_up = [self._give_up()] if len(self._held) >= self._most else []
            held = _Held(name)
            self._loader.submit(self._load, held, given_up)
        self._held[name] = held
        return held

    def _give_up(self) -> Port:
        """The engine of the adapter that was asked for least recently and has no reader, to be closed."""
        for name, held in self._held.items():
            if not held.readers and (engine := held.here) is not None:
                del self._held[name]
                return engine
        raise Overloaded(sum(len(held.readers) for held in self._held.values()), _AGAIN)

    def _load(self, held: _Held, given_up: list[Port]) -> None:
        """In a thread of its own: the old one goes before the new one comes, or both would be in memory."""
        try:
            if given_up:
                self._end(given_up.pop())
            engine = self._others[held.name]()
        except BaseException as error:
            said = error if isinstance(error, ConvaiError) else f"{type(error).__name__}: {error}"
            logger.error("the adapter %s could not be loaded: %s", held.name, said)
            with self._lock:
                self._held.pop(held.name, None)  # who asks next tries again
            held.engine.set_exception(EngineError(f"the adapter {held.name} could not be loaded: {said}"))
            return
        with self._lock:
            self._counters.loads += 1
        held.engine.set_result(engine)
        logger.info("the adapter %s is loaded", held.name)

    def _end(self, engine: Port) -> None:
        engine.close()
        stats = engine.stats()
        with self._lock:
            for one in fields(Counters):
                setattr(
                    self._counters, one.name, getattr(self._counters, one.name) + getattr(stats, one.name)
                )
            self._counters.evictions += 1


class _Reading:
    """The events of one request to an adapter."""

    def __init__(self, held: _Held, request: Request, clock: Callable[[], float]) -> None:
        self._held, self._request, self._clock = held, request, clock
        self._since = clock()
        self._stream: Stream | None = None
        self._left = False

    def begin(self) -> None:
        """Ask at once where the adapter is in memory; raises as `Port.stream`."""
        if (engine := self._held.here) is not None:
            self._stream = engine.stream(self._request)

    def next_parcel(self) -> Parcel:
        """The next events, for a thread that waits."""
        try:
            stream = self._stream or self._opened(self._held.engine.result())
        except ConvaiError as error:
            return self._kept(Parcel((), over=True, error=error))
        return self._kept(stream.parcel())

    async def arriving_parcel(self) -> Parcel:
        """The next events, for a coroutine."""
        try:
            # what others wait for as well is not cancelled with one of them
            stream = self._stream or self._opened(
                await asyncio.shield(asyncio.wrap_future(self._held.engine))
            )
        except ConvaiError as error:
            return self._kept(Parcel((), over=True, error=error))
        return self._kept(await stream.arriving_parcel())

    def cancel(self) -> None:
        """Nobody reads them any more. A garbage collector may call this: it takes no lock."""
        self._left = True
        if self._stream is not None:
            self._stream.close()
        self._held.readers.discard(id(self))

    def _opened(self, engine: Port) -> Stream:
        if self._left:
            raise EngineClosed
        request = self._request
        if request.deadline is not None:
            waited = self._clock() - self._since
            request = replace(request, deadline=max(request.deadline - waited, 0.0))
        self._stream = engine.stream(request)
        return self._stream

    def _kept(self, parcel: Parcel) -> Parcel:
        if parcel.over:
            self._held.readers.discard(id(self))
        return parcel
