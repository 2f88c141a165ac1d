"""Several engines behind one port: a conversation stays at one, and a reply outlives it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from convai.bench.server.stub import StubEngine
from convai.core.errors import SettingsError
from convai.core.settings import EngineConfig
from convai.engine import (
    Begun,
    Engine,
    EngineClosed,
    EngineError,
    EngineLost,
    Event,
    Finished,
    Health,
    Overloaded,
    Request,
    Stream,
    Token,
)
from convai.engine.listener import Listener
from convai.engine.mailbox import Parcel
from convai.engine.remote import RemoteEngine
from convai.engine.replicas import Replicas
from convai.engine.runner import Runner
from tests.drawing import BYTES, finished, prompt, ready, settings_of
from tests.engine.remote import MODEL, TOKEN, remote

KINDS: dict[str, dict[str, Any]] = {
    "sampled": {},
    "candidates": {"candidates": 3},
    "greedy": {"temperature": 0.0},
    "nucleus": {"top_p": 0.8, "repetition_penalty": 1.2},
    "bans": {"no_repeat_ngram": 2, "temperature": 0.2},
    "dry": {"dry_multiplier": 0.8, "dry_allowed_length": 1, "temperature": 0.3},
    "xtc": {"xtc_probability": 0.5, "xtc_threshold": 0.01},
    "beams": {"num_beams": 3},
}


def ask(kind: str = "sampled", length: int = 24, text: str = "hi", **fields: Any) -> Request:
    config = settings_of(max_length=length, **KINDS[kind])
    return Request(prompt(text), config, own_turns=[BYTES.encode("what i said before")], **fields)


def computing() -> Engine:
    """One of several with the same model."""
    return Engine(ready(eos=2.0), BYTES, EngineConfig(prefix_mib=8, precision="float32"), name="tiny").start()


class Mortal:
    """An engine that dies in each of its first replies after so many events of it."""

    def __init__(self, engine: Engine | StubEngine, *lives: int, error: Exception | None = None) -> None:
        self.engine, self._lives = engine, list(lives)
        self._error = error or EngineLost("it was killed")
        self.limits, self.stats, self.close = engine.limits, engine.stats, engine.close
        self.status = Health("ok")
        self.requests: list[Request] = []

    def stream(self, request: Request) -> Stream:
        self.requests.append(request)
        stream = self.engine.stream(request)
        return Stream(_Dying(stream, self._lives.pop(0), self._error)) if self._lives else stream

    def health(self) -> Health:
        return self.status


class _Dying:
    def __init__(self, stream: Stream, events: int, error: Exception) -> None:
        self._stream, self._left, self._error = stream, events, error

    def _cut(self, parcel: Parcel) -> Parcel:
        if len(parcel.events) < self._left:
            self._left -= len(parcel.events)
            return parcel
        self._stream.close()
        return Parcel(parcel.events[: self._left], over=True, error=self._error)

    def next_parcel(self) -> Parcel:
        return self._cut(self._stream.parcel())

    async def arriving_parcel(self) -> Parcel:
        return self._cut(await self._stream.arriving_parcel())

    def cancel(self) -> None:
        self._stream.close()


def undisturbed(request: Request) -> list[Event]:
    with computing() as engine:
        return list(engine.stream(request))


def by_candidate(events: Sequence[Event]) -> dict[int, list[Event]]:
    found: dict[int, list[Event]] = {}
    for event in events:
        found.setdefault(event.candidate, []).append(event)
    return found


def same(got: Sequence[Event], wanted: Sequence[Event]) -> None:
    """Token for token and text for text; what is computed with others in a batch differs by rounding."""
    assert by_candidate(got).keys() == by_candidate(wanted).keys()
    for number, events in by_candidate(wanted).items():
        mine = by_candidate(got)[number]
        assert [(type(e), getattr(e, "id", None), e.text) for e in mine] == [
            (type(e), getattr(e, "id", None), e.text) for e in events
        ]
        ours, theirs = mine[-1], events[-1]
        assert isinstance(ours, Finished)
        assert isinstance(theirs, Finished)
        assert (ours.ids, ours.reason) == (theirs.ids, theirs.reason)
        assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-4)
        assert ours.score == pytest.approx(theirs.score, abs=1e-4)


# -- going on ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_goes_on_from_any_token(kind: str) -> None:
    """Wherever it was cut, another engine goes on as the first would have."""
    request = ask(kind)
    wanted = undisturbed(request)
    with computing() as engine:
        for count in range(0 if kind != "beams" else len(wanted), len(wanted)):
            seen = by_candidate(wanted[:count])
            begun = tuple(
                Begun(
                    number,
                    tuple(e.id for e in events if isinstance(e, Token)),
                    sum(e.logprob for e in events if isinstance(e, Token)),
                    isinstance(events[-1], Finished),
                )
                for number, events in seen.items()
            )
            if sum(one.over for one in begun) < request.config.candidates:
                rest = list(engine.stream(replace(request, begun=begun)))
                same([*wanted[:count], *rest], wanted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lives", [[0], [1], [5, 3], [3, 2, 4]])
def test_a_reader_sees_one_reply(kind: str, lives: list[int]) -> None:
    request = replace(ask(kind), alternatives=2)
    wanted = undisturbed(request)
    first, second = Mortal(computing(), *lives[::2]), Mortal(computing(), *lives[1::2])
    with Replicas({"a": first, "b": second}) as port:
        dying = [first, second] if port.ranked(request)[0] == "a" else [second, first]
        assert dying
        same(list(port.stream(request)), wanted)

        async def read() -> list[Event]:
            return [event async for event in port.stream(request)]

        same(asyncio.run(read()), wanted)


def test_nothing_is_drawn_twice() -> None:
    request = ask(length=20)
    wanted = undisturbed(request)
    one = Mortal(computing(), 6)
    with Replicas({"a": one}) as port:
        same(list(port.stream(request)), wanted)
        drawn = len([event for event in wanted if isinstance(event, Token)])
        assert port.moved == 1
        assert one.requests[1].begun[0].ids == tuple(e.id for e in wanted[:6])  # type: ignore[union-attr]
        assert one.engine.stats().tokens_drawn <= drawn + 4


def test_the_last_word_may_have_been_said_already() -> None:
    """An engine that dies behind the end of a reply leaves nothing to go on with."""
    request = ask()
    wanted = undisturbed(request)
    one = Mortal(computing(), len(wanted))
    with Replicas({"a": one}) as port:
        assert list(port.stream(request)) == wanted
        assert len(one.requests) == 1


def test_a_seed_that_nobody_gave_is_the_same_at_every_engine() -> None:
    request = replace(ask(), config=replace(ask().config, seed=None, min_length=24))
    one = Mortal(computing(), 6)
    with Replicas({"a": one}) as port:
        list(port.stream(request))
    seeds = {asked.config.seed for asked in one.requests}
    assert len(seeds) == 1
    assert None not in seeds


def test_a_deadline_goes_on_running() -> None:
    now = [0.0]
    one = Mortal(computing(), 3)
    with Replicas({"a": one}, clock=lambda: now[0]) as port:
        stream = port.stream(ask(deadline=50.0))
        next(stream)
        now[0] = 20.0
        list(stream)
    assert [asked.deadline for asked in one.requests] == [50.0, 30.0]


def test_a_deadline_before_anything_is_computed_again_keeps_what_was_shown() -> None:
    with computing() as engine:
        ids = tuple(BYTES.encode("hello"))
        [end] = finished(list(engine.stream(ask(begun=(Begun(0, ids, -2.0),), deadline=0.0))))
    assert (end.ids, end.text, end.reason) == (ids, "hello", "deadline")


def test_a_reply_that_kills_every_engine_is_given_up() -> None:
    one = Mortal(StubEngine(0.0), *([1] * 50))
    with Replicas({"a": one}) as port, pytest.raises(EngineLost, match="killed"):
        list(port.stream(ask(length=100)))
    assert 2 < len(one.requests) < 20


def test_what_is_wrong_with_the_reply_itself_is_said() -> None:
    one, two = Mortal(StubEngine(0.0), 2, error=EngineError("no sum")), Mortal(StubEngine(0.0))
    with Replicas({"a": one}) as port, pytest.raises(EngineError, match="no sum"):
        list(port.stream(ask()))
    two.close()


def test_without_any_engine_a_reply_waits_and_then_breaks_off() -> None:
    one = Mortal(StubEngine(0.0), 2)
    with Replicas({"a": one}, patience=0.0) as port:
        stream = port.stream(ask(length=100))
        next(stream)
        one.status = Health("lost", "it is gone")
        with pytest.raises(EngineLost, match="killed"):
            list(stream)
        with pytest.raises(EngineLost, match="1 of 1 engines: it is gone"):
            port.stream(ask())
        assert port.health().status == "lost"


def test_a_beginning_must_fit_its_request() -> None:
    with pytest.raises(SettingsError, match="no candidate 3"):
        ask(begun=(Begun(3),))
    with pytest.raises(SettingsError, match="beam search"):
        ask("beams", begun=(Begun(0),))


# -- who serves whom -----------------------------------------------------------------------------------


@contextmanager
def stubs(*names: str) -> Iterator[tuple[Replicas, dict[str, Mortal]]]:
    mortals = {name: Mortal(StubEngine(0.0)) for name in names}
    with Replicas(mortals) as port:
        yield port, mortals


def test_a_conversation_stays_and_only_a_share_moves() -> None:
    requests = [ask(session=f"conversation {i}") for i in range(400)]
    with stubs("a", "b", "c", "d") as (port, _), stubs("a", "b", "c", "d", "e") as (more, _):
        before = [port.ranked(request)[0] for request in requests]
        assert before == [port.ranked(request)[0] for request in requests]
        assert min(Counter(before).values()) > 60
        after = [more.ranked(request)[0] for request in requests]
        moved = [new for old, new in zip(before, after, strict=True) if old != new]
        assert set(moved) == {"e"}
        assert 40 < len(moved) < 130


def test_without_a_session_persona_and_first_turn_are_what_counts() -> None:
    with stubs("a", "b", "c", "d") as (port, _):
        for i in range(20):
            first = Request(prompt(f"hi {i}"), settings_of())
            later = Request(prompt(f"hi {i}", "hello", "and then?"), settings_of())
            assert port.ranked(first) == port.ranked(later)


def test_an_engine_that_is_full_or_ill_is_passed_over() -> None:
    with stubs("a", "b") as (port, mortals):
        request = ask()
        first, second = (mortals[name] for name in port.ranked(request))
        first.status = Health("draining")
        assert len(finished(list(port.stream(request)))) == 1
        assert (len(first.requests), len(second.requests)) == (0, 1)
        first.status = Health("ok")

        def full(request: Request) -> Stream:
            raise Overloaded(3, 7.0 if wait else 3.0)

        wait = False
        first.stream = full  # type: ignore[method-assign]
        assert len(finished(list(port.stream(request)))) == 1
        assert len(second.requests) == 2
        second.stream = full  # type: ignore[method-assign]
        with pytest.raises(Overloaded) as refused:
            port.stream(request)
        assert refused.value.retry_after == 3.0


def test_counters_are_those_of_all() -> None:
    with stubs("a", "b", "c") as (port, _):
        for i in range(12):
            list(port.stream(ask(length=3, session=str(i))))
        stats = port.stats()
        assert (stats.submitted, stats.finished, stats.tokens_drawn) == (12, 12, 36)
        assert port.health() == Health("ok")
    assert port.health().status == "closed"
    with pytest.raises(EngineClosed):
        port.stream(ask())


# -- processes that are killed -------------------------------------------------------------------------


def _serve(pipe: Any, pause: float) -> None:
    """An engine in a process of its own; each step takes `pause` seconds longer."""
    compute = Runner.compute

    def slowly(self: Runner, *args: Any) -> Any:
        time.sleep(pause)
        return compute(self, *args)

    Runner.compute = slowly  # type: ignore[method-assign]
    at = socket.create_server(("127.0.0.1", 0))
    Listener(computing(), MODEL, TOKEN, at)
    pipe.send(at.getsockname()[:2])
    signal.pause()


@pytest.mark.slow
def test_a_reply_survives_kill_9_of_its_engine() -> None:
    request = ask(length=24)
    request = replace(request, config=replace(request.config, min_length=24))
    wanted = undisturbed(request)
    context = multiprocessing.get_context("spawn")
    with ExitStack() as opened:
        processes: dict[str, Any] = {}
        engines: dict[str, RemoteEngine] = {}
        pipes = []
        for name in ("a", "b"):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, 0.01), daemon=True)
            process.start()
            opened.callback(process.join)
            opened.callback(process.kill)
            processes[name] = process
            pipes.append((name, ours))
        for name, pipe in pipes:
            engines[name] = remote(pipe.recv())
        port = opened.enter_context(Replicas(engines))
        first = port.ranked(request)[0]
        got: list[Event] = []
        for event in port.stream(request):
            got.append(event)
            if len(got) == 5:
                os.kill(processes[first].pid, signal.SIGKILL)
        same(got, wanted)
        assert port.moved == 1
        assert "1 of 2 engines" in port.health().detail
