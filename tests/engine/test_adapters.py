"""Several models behind one port: loaded when asked for, few at a time, here and behind a socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import fields

import pytest

from convai.core.errors import CheckpointError, SettingsError
from convai.core.settings import EngineConfig
from convai.engine import Engine, EngineClosed, EngineError, Finished, Overloaded, Port, Request, Stats
from convai.engine.adapters import Adapters
from convai.engine.handshake import Kin, Stranger
from convai.engine.messages import Counters
from convai.engine.replicas import Replicas
from convai.engine.wire import Identity
from tests.drawing import BYTES, prompt, ready, settings_of
from tests.engine.remote import MODEL, listening, remote

SEEDS = {"base": 0, "baker": 1, "nurse": 2, "pilot": 3}


def ask(adapter: str = "", length: int = 12, text: str = "hi", **fields: object) -> Request:
    config = settings_of(max_length=length, min_length=length, adapter=adapter)
    return Request(prompt(text), config, **fields)  # type: ignore[arg-type]


def computing(name: str) -> Engine:
    config = EngineConfig(slots=4, prefix_mib=1, precision="float32")
    return Engine(ready(eos=2.0, seed=SEEDS[name]), BYTES, config, name=name).start()


def said(events: Port, request: Request) -> tuple[int, ...]:
    with events.stream(request) as stream:
        [end] = [event for event in stream if isinstance(event, Finished)]
    return end.ids


@pytest.fixture(scope="module")
def alone() -> dict[str, tuple[int, ...]]:
    """What each model says by itself."""
    found = {}
    for name in SEEDS:
        with computing(name) as engine:
            found[name] = said(engine, ask())
    assert len(set(found.values())) == len(found)
    return found


class Shelf:
    """Adapters, how often each was loaded, and a gate that loading waits at."""

    def __init__(self, most: int) -> None:
        self.loads: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.broken: set[str] = set()
        self.now = 0.0
        self.port = Adapters(
            computing("base"),
            {name: lambda name=name: self.load(name) for name in SEEDS if name != "base"},
            most=most,
            clock=lambda: self.now,
        )

    def load(self, name: str) -> Port:
        self.open.wait()
        self.loads.append(name)
        if name in self.broken:
            raise CheckpointError(f"{name}: damaged; copy it again")
        return computing(name)


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    made = Shelf(most=2)
    with made.port:
        yield made
        made.open.set()


def test_each_says_what_it_says_alone(shelf: Shelf, alone: dict[str, tuple[int, ...]]) -> None:
    assert shelf.port.limits.adapters == ("baker", "nurse", "pilot")
    for name in ("baker", "nurse", "baker", ""):
        assert said(shelf.port, ask(name)) == alone[name or "base"]
    assert said(shelf.port, ask("base")) == alone["base"]
    assert shelf.loads == ["baker", "nurse"]


def test_side_by_side_they_do_not_disturb_each_other(shelf: Shelf, alone: dict[str, tuple[int, ...]]) -> None:
    async def one(name: str) -> tuple[int, ...]:
        async with shelf.port.stream(ask(name)) as stream:
            [end] = [event async for event in stream if isinstance(event, Finished)]
            return end.ids

    async def every() -> list[tuple[int, ...]]:
        return await asyncio.gather(*(one(name) for name in ("baker", "", "nurse", "baker", "", "nurse")))

    assert asyncio.run(every()) == [alone[name] for name in ("baker", "base", "nurse") * 2]
    assert sorted(shelf.loads) == ["baker", "nurse"]


def test_the_one_that_was_asked_for_least_recently_makes_room(
    shelf: Shelf, alone: dict[str, tuple[int, ...]]
) -> None:
    for name in ("baker", "nurse", "baker", "pilot", "baker", "nurse"):
        assert said(shelf.port, ask(name)) == alone[name]
    assert shelf.loads == ["baker", "nurse", "pilot", "nurse"]
    stats = shelf.port.stats()
    assert (stats.loads, stats.evictions, stats.loaded) == (4, 2, 2)
    assert stats.finished == stats.submitted == 6  # those of the ones that are gone too
    assert stats.tokens_drawn >= 6 * 12


def test_one_that_writes_a_reply_stays(shelf: Shelf, alone: dict[str, tuple[int, ...]]) -> None:
    with shelf.port.stream(ask("baker", length=100)) as first, shelf.port.stream(ask("nurse")) as second:
        next(first), next(second)
        with pytest.raises(Overloaded) as refused:
            shelf.port.stream(ask("pilot"))
        assert refused.value.retry_after > 0
        assert said(shelf.port, ask()) == alone["base"]  # the others go on
        assert len(list(first)) >= 100 - 1
    assert said(shelf.port, ask("pilot")) == alone["pilot"]
    assert said(shelf.port, ask("nurse")) == alone["nurse"]


def test_who_leaves_while_it_is_loaded_leaves_room(shelf: Shelf, alone: dict[str, tuple[int, ...]]) -> None:
    shelf.open.clear()
    streams = [shelf.port.stream(ask(name)) for name in ("baker", "nurse")]
    with pytest.raises(Overloaded):
        shelf.port.stream(ask("pilot"))
    for stream in streams:
        stream.close()
        assert list(stream) == []
    shelf.open.set()
    assert said(shelf.port, ask("nurse")) == alone["nurse"]  # loaded in the same order, by one thread
    assert said(shelf.port, ask("pilot")) == alone["pilot"]


def test_others_wait_for_the_same_load_and_one_may_leave(
    shelf: Shelf, alone: dict[str, tuple[int, ...]]
) -> None:
    async def both() -> tuple[int, ...]:
        shelf.open.clear()
        leaving, staying = shelf.port.stream(ask("baker")), shelf.port.stream(ask("baker"))
        task = asyncio.create_task(leaving.__anext__())  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        shelf.open.set()
        [end] = [event async for event in staying if isinstance(event, Finished)]
        return end.ids

    assert asyncio.run(both()) == alone["baker"]
    assert shelf.loads == ["baker"]


def test_an_unknown_one_is_one_line(shelf: Shelf) -> None:
    with pytest.raises(
        SettingsError, match=r"adapter='cook'.*'base' has no such model; there is baker, nurse, pilot$"
    ):
        shelf.port.stream(ask("cook"))
    with computing("base") as engine, pytest.raises(SettingsError, match="give it some with --adapters DIR"):
        engine.stream(ask("baker"))


def test_one_that_cannot_be_loaded_breaks_its_own_replies_and_is_tried_again(
    shelf: Shelf, alone: dict[str, tuple[int, ...]]
) -> None:
    shelf.broken.add("baker")
    for _ in range(2):
        with pytest.raises(EngineError, match="the adapter baker could not be loaded: baker: damaged"):
            said(shelf.port, ask("baker"))
    assert said(shelf.port, ask("nurse")) == alone["nurse"]
    shelf.broken.clear()
    assert said(shelf.port, ask("baker")) == alone["baker"]
    assert shelf.port.stats().loads == 2


def test_a_deadline_counts_the_load(shelf: Shelf) -> None:
    shelf.open.clear()
    stream = shelf.port.stream(ask("baker", length=100, deadline=10.0))
    shelf.now += 11.0
    shelf.open.set()
    [end] = [event for event in stream if isinstance(event, Finished)]
    assert end.reason == "deadline"


def test_closing_breaks_off_what_is_loaded_and_what_is_about_to_be(shelf: Shelf) -> None:
    with shelf.port.stream(ask("baker", length=100)) as reading:
        next(reading)
        shelf.open.clear()
        waiting = shelf.port.stream(ask("nurse"))
        later = threading.Timer(0, shelf.open.set)
        later.start()
        shelf.port.close()
        shelf.port.close()
        with pytest.raises(EngineClosed):
            list(reading)
        with pytest.raises(EngineError):
            list(waiting)
    with pytest.raises(EngineClosed):
        shelf.port.stream(ask("baker"))
    assert shelf.port.health().status == "closed"


def test_every_counter_of_one_that_is_gone_is_kept() -> None:
    shelf = Shelf(most=1)
    with shelf.port as port:
        said(port, ask("baker"))
        before = port.stats()
        said(port, ask("nurse"))
        after = port.stats()
    for one in fields(Counters):
        assert getattr(after, one.name) >= getattr(before, one.name), one.name
    assert isinstance(after, Stats)


# -- elsewhere -----------------------------------------------------------------------------------------


def test_behind_a_socket(alone: dict[str, tuple[int, ...]]) -> None:
    shelf = Shelf(most=1)
    with listening(shelf.port) as (_, where), remote(where) as engine:
        assert engine.limits.adapters == ("baker", "nurse", "pilot")
        with pytest.raises(SettingsError, match="there is baker, nurse, pilot"):
            engine.stream(ask("cook"))
        for name in ("baker", "", "nurse", "baker"):
            assert said(engine, ask(name)) == alone[name or "base"]
        shelf.broken.add("nurse")
        with pytest.raises(EngineError, match="the adapter nurse could not be loaded"):
            said(engine, ask("nurse"))


def test_conversations_with_one_adapter_are_at_one_engine(alone: dict[str, tuple[int, ...]]) -> None:
    shelves = [Shelf(most=2) for _ in range(3)]
    with Replicas({f"engine {i}": shelf.port for i, shelf in enumerate(shelves)}) as replicas:
        for session in range(6):
            for name in ("baker", "nurse"):
                assert said(replicas, ask(name, session=f"{session}")) == alone[name]
        assert sum(len(shelf.loads) for shelf in shelves) == 2
        [at] = [shelf for shelf in shelves if "baker" in shelf.loads]
        full = [at.port.stream(ask("baker", length=100, session=f"{i}")) for i in range(4)]
        for stream in full:
            next(stream)
        assert said(replicas, ask("baker")) == alone["baker"]  # at the next one: here it would wait
        assert sum("baker" in shelf.loads for shelf in shelves) == 2
        for stream in full:
            stream.close()
        with pytest.raises(SettingsError, match="cook"):
            replicas.stream(ask("cook"))


def test_an_engine_without_the_adapter_is_not_asked_for_it(alone: dict[str, tuple[int, ...]]) -> None:
    shelf = Shelf(most=1)
    plain = [computing("base") for _ in range(4)]
    with Replicas({"with": shelf.port, **{f"plain {i}": one for i, one in enumerate(plain)}}) as replicas:
        assert said(replicas, ask("baker")) == alone["baker"]
        assert not any(one.stats().submitted for one in plain)


def test_replicas_have_the_same_files() -> None:
    kin = Kin(MODEL)
    kin.admit(having(baker="a"))
    kin.admit(having(baker="a", nurse="b"))
    with pytest.raises(Stranger, match=r"adapter 'nurse' is not that of the other engines.*--adapters"):
        kin.admit(having(nurse="c"))


def having(**files: str) -> Identity:
    return Identity(MODEL.name, MODEL.prompts, MODEL.weights, files)
