"""Several engines of one model behind one port: a conversation stays at one, and outlives it.

Who serves a conversation is settled by rendezvous hashing (Thaler and Ravishankar 1998): each engine gets a
number from its name and the conversation, and the highest one that is well has it. So its prefix is found in
the cache again, and when an engine comes or goes only its share moves. When one dies in mid-reply another
goes on: from the tokens that were shown, with the reply's seed and its place in the random numbers. The
reader sees one reply, the same as if nothing had happened.
"""

from __future__ import annotations

import array
import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Final

from convai.core.errors import ConvaiError
from convai.engine.errors import EngineClosed, EngineLost, Overloaded
from convai.engine.hearing import Hearing
from convai.engine.mailbox import Parcel
from convai.engine.messages import Begun, Event, Finished, Health, ModelLimits, Request, Stats
from convai.engine.port import Port
from convai.engine.stream import Stream

logger: Final = logging.getLogger("convai.engine")
PATIENCE: Final = 30.0
"""Seconds for which a reply waits, when it has lost its engine and there is no other."""
MOST_MOVES: Final = 8
"""Engines that a reply may lose: it might be the reply that kills them."""
_PAUSES: Final = (0.02, 0.5)
"""Seconds between two looks for an engine: the first pause, which doubles, and the longest."""
_GONE: Final = (EngineLost, EngineClosed)


class Replicas:
    """A `convai.engine.port.Port` of several. It takes them over, and closes them at its end."""

    def __init__(
        self,
        engines: Mapping[str, Port],
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        hearing: Hearing | None = None,
    ) -> None:
        """`engines` by names that stay the same: their addresses; `hearing`: what hears them together."""
        self.engines = dict(engines)
        self._hearing = hearing
        self.patience, self.clock = patience, clock
        self.moved = 0
        """Replies that have gone on at another engine."""
        self.closed = False

    # -- the port ----------------------------------------------------------------------------------

    @property
    def limits(self) -> ModelLimits:
        """What all of them take. Raises EngineLost while none of them has been reached."""
        found: list[ModelLimits] = []
        error: ConvaiError = EngineLost("there is no engine; name one")
        for engine in self.engines.values():
            try:
                found.append(engine.limits)
            except EngineLost as lost:
                error = lost
        if not found:
            raise error
        positions, slots = min(one.positions for one in found), min(one.slots for one in found)
        adapters = tuple(sorted({name for one in found for name in one.adapters}))
        return replace(found[0], positions=positions, slots=slots, adapters=adapters)

    def stream(self, request: Request) -> Stream:
        """Draw replies at the engine that has the conversation; as `Port.stream`, and EngineLost."""
        if self.closed:
            raise EngineClosed
        config = request.config
        if config.adapter:
            self.limits.check_adapter(config.adapter)
        if config.seed is None and config.temperature > 0 and config.num_beams == 1:
            # another engine must be able to draw the same
            request = replace(request, config=replace(config, seed=secrets.randbits(32)))
        name, stream = self.ask(request)
        return Stream(_Reading(self, request, name, stream))

    def ask(self, request: Request) -> tuple[str, Stream]:
        """The stream, and whose it is. Raises as `stream`; where all are overloaded, the shortest wait."""
        refused: list[Overloaded] = []
        lost: ConvaiError | None = None
        engines = self.engines
        for name in self.ranked(request):
            try:
                return name, engines[name].stream(request)
            except Overloaded as error:
                refused.append(error)
            except _GONE as error:
                lost = error
        if refused:
            raise min(refused, key=lambda error: error.retry_after)
        if lost is not None:
            raise lost
        raise EngineLost(self.health().detail or "no engine can be reached")

    def ranked(self, request: Request) -> list[str]:
        """The engines that are well, the conversation's own one first.

        Conversations with an adapter go to one engine together, so that not every engine has to load it, and
        to the next one when that has no slot for them.
        """
        engines = self.engines
        well = [name for name, engine in engines.items() if engine.health().status == "ok"]
        adapter = request.config.adapter
        key = adapter.encode() or _key(request)
        well.sort(key=lambda name: _weight(key, name), reverse=True)
        if adapter:
            well = [name for name in well if engines[name].limits.has(adapter)]
            well.sort(key=lambda name: _full(engines[name]))
        return well

    def hear_in_loop(self, pause: float) -> None:
        """Have the running event loop hear all engines, and what comes within `pause` seconds come together.

        Where engines are heard together; whoever waits for one must not block the loop from now on.
        """
        if self._hearing is not None:
            self._hearing.pause = pause
            self._hearing.in_loop()

    def hear_in_thread(self) -> None:
        """Have a thread hear them again, before the event loop ends, or is kept waiting for them."""
        if self._hearing is not None:
            self._hearing.in_thread()

    def add(self, name: str, engine: Port) -> None:
        """One more."""
        self.engines = {**self.engines, name: engine}

    def remove(self, name: str) -> None:
        """One less; what it was writing goes on at another one."""
        engine = self.engines[name]
        self.engines = {other: one for other, one in self.engines.items() if other != name}
        engine.close()

    def stats(self) -> Stats:
        """All of them together."""
        every = [engine.stats() for engine in self.engines.values()]
        return Stats(**{one.name: sum(getattr(stats, one.name) for stats in every) for one in fields(Stats)})

    def health(self) -> Health:
        """Well as long as one of them is; how many are not is said in `detail`."""
        if self.closed:
            return Health("closed", str(EngineClosed()))
        every = {name: engine.health() for name, engine in self.engines.items()}
        ill = [health for health in every.values() if health.status != "ok"]
        if not ill:
            return Health("ok")
        detail = f"{len(ill)} of {len(every)} engines: {ill[0].detail or ill[0].status}"
        return Health("ok" if len(ill) < len(every) else ill[0].status, detail)

    def close(self) -> None:
        """Break off all requests, and take no more."""
        self.closed = True
        self.hear_in_thread()  # whose end an engine waits for
        for engine in self.engines.values():
            engine.close()
        if self._hearing is not None:
            self._hearing.close()

    def __enter__(self) -> Replicas:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _key(request: Request) -> bytes:
    """What a conversation is known by: its session, or its persona and first turn."""
    if request.session:
        return request.session.encode()
    prompt = request.prompt
    words = (id for id, turn in zip(prompt.ids, prompt.turn, strict=True) if 0 <= turn <= 1)
    return array.array("q", words).tobytes()


def _full(engine: Port) -> bool:
    """Whether more would have to wait there, as far as is known here."""
    stats = engine.stats()
    return stats.running + stats.waiting >= engine.limits.slots


def _weight(key: bytes, name: str) -> bytes:
    return hashlib.blake2b(key, key=name.encode()[:64], digest_size=8).digest()


@dataclass(slots=True)
class _Candidate:
    """One candidate as far as its reader knows it."""

    ids: list[int] = field(default_factory=list)
    logprob: float = 0.0
    over: bool = False


class _Reading:
    """The events of one request, wherever they come from."""

    def __init__(self, replicas: Replicas, request: Request, name: str, stream: Stream) -> None:
        self._replicas, self._request = replicas, request
        self._name, self._stream = name, stream
        self._begun = {
            one.candidate: _Candidate(list(one.ids), one.logprob, one.over) for one in request.begun
        }
        self._since = replicas.clock()
        self._first: float | None = None
        self._until: float | None = None
        """When to give up looking for another engine; None while there is one."""
        self._moves = 0
        self._broken: ConvaiError | None = None
        self._left = False

    # -- Source ------------------------------------------------------------------------------------

    def next_parcel(self) -> Parcel:
        """The next events, for a thread that waits."""
        while True:
            if self._broken is not None and (last := self._all_over()) is not None:
                return last
            try:
                for pause in self._search():
                    time.sleep(pause)
            except ConvaiError as error:
                return Parcel((), over=True, error=error)
            if self._left:
                return Parcel((), over=True)
            if (parcel := self._kept(self._stream.parcel())) is not None:
                return parcel

    async def arriving_parcel(self) -> Parcel:
        """The next events, for a coroutine."""
        while True:
            if self._broken is not None and (last := self._all_over()) is not None:
                return last
            try:
                for pause in self._search():
                    await asyncio.sleep(pause)
            except ConvaiError as error:
                return Parcel((), over=True, error=error)
            if self._left:
                return Parcel((), over=True)
            if (parcel := self._kept(await self._stream.arriving_parcel())) is not None:
                return parcel

    def cancel(self) -> None:
        """Nobody reads them any more."""
        self._left = True
        self._stream.close()

    # -- going on ----------------------------------------------------------------------------------

    def _kept(self, parcel: Parcel) -> Parcel | None:
        """The parcel for the reader; None where the engine is gone, and nothing has come with the news."""
        events = [self._noted(event) for event in parcel.events]
        if events:
            self._until = None
        error = parcel.error
        gone = isinstance(error, _GONE) or (self._moves > 0 and isinstance(error, Overloaded))
        if not gone or self._replicas.closed or self._left:
            return Parcel(events, parcel.over, error) if self._moves else parcel
        assert isinstance(error, ConvaiError)
        self._broken = error
        return Parcel(events) if events else None

    def _noted(self, event: Event) -> Event:
        one = self._begun.setdefault(event.candidate, _Candidate())
        now = self._replicas.clock()
        if self._first is None:
            self._first = now
        if isinstance(event, Finished):
            one.over = True
            if self._moves:
                first, total = self._first - self._since, now - self._since
                event = replace(event, timings=replace(event.timings, first_token=first, total=total))
        else:
            one.ids.append(event.id)
            one.logprob += event.logprob
        return event

    def _all_over(self) -> Parcel | None:
        """The end, where the engine was lost behind the last event."""
        config = self._request.config
        count = config.candidates if config.num_beams == 1 else 1
        if sum(one.over for one in self._begun.values()) < count:
            return None
        return Parcel((), over=True)

    def _search(self) -> Iterator[float]:
        """Seconds to wait, until there is an engine to go on at. Raises what broke the reply off."""
        if self._broken is None:
            return
        error, clock = self._broken, self._replicas.clock
        if self._until is None:
            self._until = clock() + self._replicas.patience
        pause = _PAUSES[0]
        while not self._left:
            if self._moves >= MOST_MOVES or self._replicas.closed:
                raise error
            try:
                name, stream = self._replicas.ask(self._rest())
            except (EngineLost, EngineClosed, Overloaded):
                if clock() >= self._until:
                    raise error from None
                yield pause
                pause = min(2 * pause, _PAUSES[1])
                continue
            self._moves += not isinstance(error, Overloaded)
            self._replicas.moved += 1
            logger.warning(
                "reply %s goes on at %s instead of %s, after %d tokens",
                self._request.trace or "-",
                name,
                self._name,
                sum(len(one.ids) for one in self._begun.values()),
            )
            self._name, self._stream, self._broken = name, stream, None
            if self._left:  # meanwhile
                stream.close()
            return

    def _rest(self) -> Request:
        """What is still to be drawn."""
        request = self._request
        deadline = request.deadline
        if deadline is not None:
            deadline = max(deadline - (self._replicas.clock() - self._since), 0.0)
        begun: tuple[Begun, ...] = ()
        if request.config.num_beams == 1:
            begun = tuple(
                Begun(number, tuple(one.ids), one.logprob, one.over)
                for number, one in sorted(self._begun.items())
            )
        return replace(request, deadline=deadline, begun=begun)
