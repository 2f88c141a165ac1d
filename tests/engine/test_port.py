"""What every engine owes a door, whichever it is: the one that computes, and the stub of the benchmark."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from convai.bench.server.stub import StubEngine
from convai.core.errors import SettingsError
from convai.core.settings import EngineConfig
from convai.engine import Engine, EngineClosed, Event, Finished, Port, Request, Token
from convai.engine.reaching import reach
from convai.engine.replicas import Replicas
from convai.text.segments import Prompt
from tests.drawing import BYTES, prompt, ready, settings_of
from tests.engine.remote import MODEL, TOKEN, listening, remote
from tests.server.serving import PATIENCE


def computing() -> Port:
    return Engine(ready(), BYTES, EngineConfig(prefix_mib=8), name="tiny").start()


@pytest.fixture(params=["computes", "stub", "remote", "remote stub", "remote, heard with others"])
def port(request: pytest.FixtureRequest) -> Iterator[Port]:
    engine: Port = StubEngine(interval=0.0) if "stub" in request.param else computing()
    if "remote" not in request.param:
        yield engine
        engine.close()
        return
    with listening(engine) as (_, where):
        if "others" in request.param:
            with reach(f"tcp://{where[0]}:{where[1]}", TOKEN, MODEL, wait=PATIENCE) as several:
                yield several
        else:
            with remote(where) as port:
                yield port


def ask(length: int = 5) -> Request:
    return Request(prompt("hi"), settings_of(max_length=length, min_length=length))


def check(events: list[Token | Finished], length: int) -> None:
    *tokens, end = events
    assert isinstance(end, Finished)
    assert [token.candidate for token in tokens] == [0] * length
    assert len(end.ids) == length
    assert end.reason == "length"


def test_a_reply_for_a_thread(port: Port) -> None:
    check(list(port.stream(ask())), 5)


def test_a_reply_for_a_coroutine(port: Port) -> None:
    async def read() -> list[Token | Finished]:
        return [event async for event in port.stream(ask())]

    check(asyncio.run(read()), 5)


def test_the_counters_add_up(port: Port) -> None:
    list(port.stream(ask(3)))
    stats = port.stats()
    assert (stats.submitted, stats.finished, stats.running, stats.tokens_drawn) == (1, 1, 0, 3)


def test_closing_is_the_end_of_a_stream(port: Port) -> None:
    stream = port.stream(ask(100))
    next(stream)
    stream.close()
    assert list(stream) == []


@pytest.fixture(params=["here", "elsewhere", "one of several"])
def silent(request: pytest.FixtureRequest) -> Iterator[Port]:
    """An engine whose first token comes in an hour."""
    engine = StubEngine(interval=3600.0)
    if request.param == "here":
        yield engine
        engine.close()
        return
    with listening(engine) as (_, where), remote(where) as far:
        yield far if request.param == "elsewhere" else Replicas({"there": far})


def test_closing_wakes_a_coroutine_that_waits(silent: Port) -> None:
    """A reply is stopped by another coroutine than the one that reads it."""

    async def stop() -> list[Event]:
        stream = silent.stream(ask())

        async def read() -> list[Event]:
            return [event async for event in stream]

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)  # it waits
        stream.close()
        return await reading

    assert asyncio.run(stop()) == []


def test_closing_wakes_a_thread_that_waits(silent: Port) -> None:
    stream = silent.stream(ask())
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(list, stream)
        stream.close()
        assert reading.result() == []


def test_limits_hold(port: Port) -> None:
    limits = port.limits
    assert limits.positions > 100
    assert limits.vocabulary > 100
    assert limits.slots > 0
    assert limits.name
    n = limits.positions
    with pytest.raises(SettingsError, match="no room for a reply"):
        port.stream(Request(Prompt([97] * n, list(range(n)), [97] * n, [0] * n)))


def test_a_closed_engine_says_so(port: Port) -> None:
    assert port.health().status == "ok"
    port.close()
    assert port.health().status == "closed"
    with pytest.raises(EngineClosed):
        port.stream(ask())


@pytest.mark.parametrize("make", [lambda: StubEngine(0.0), lambda: Engine(ready(), BYTES)])
def test_it_may_be_closed_twice(make: Callable[[], Port]) -> None:
    engine = make()
    engine.close()
    engine.close()
