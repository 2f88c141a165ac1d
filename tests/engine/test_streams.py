"""Reading replies by threads and by coroutines, and leaving them: what stops, and what it leaves alone."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from convai.core.settings import EngineConfig
from convai.engine import Engine, EngineClosed, EngineError, Event, Finished, Request, Stats, Token
from convai.model.double_heads import DoubleHeadsModel
from tests.drawing import BYTES, engine, finished, prompt, ready, settings_of

LONG = settings_of(min_length=60, max_length=60)
PATIENCE = 60.0
"""Seconds after which a test gives up waiting for a thread."""


@pytest.fixture(scope="module")
def model() -> DoubleHeadsModel:
    return ready(eos=3.0)


@pytest.fixture
def started(model: DoubleHeadsModel) -> Iterator[Engine]:
    with Engine(model, BYTES).start() as run:
        yield run


def asked(seed: int, **changes: object) -> Request:
    return Request(prompt(f"hello number {seed}"), settings_of(seed=seed, **changes))


def settled(run: Engine) -> Stats:
    """The counts once everything that was cancelled has been dropped: the thread answers in order."""
    run.best(Request(prompt("one more"), settings_of(max_length=1)))
    return run.stats()


# -- the same, however it is read


def test_a_thread_draws_what_a_reader_draws(model: DoubleHeadsModel, started: Engine) -> None:
    requests = [asked(i, candidates=1 + i % 3) for i in range(9)] + [asked(9, num_beams=3)]
    alone = [finished(list(engine(model).stream(request))) for request in requests]
    streams = [started.stream(request) for request in requests]
    for stream, expected in zip(streams, alone, strict=True):
        assert [r.ids for r in finished(list(stream))] == [r.ids for r in expected]
    with ThreadPoolExecutor(5) as pool:
        replies = list(pool.map(started.best, requests))
    best = [max(some, key=lambda r: r.score) for some in alone]
    assert [r.ids for r in replies] == [r.ids for r in best]
    assert settled(started).slots_in_use == 0


def test_many_threads_may_read_without_one_of_the_engine_s_own(model: DoubleHeadsModel) -> None:
    run = engine(model)
    requests = [asked(i) for i in range(12)]
    alone = [engine(model).best(request).ids for request in requests]
    with ThreadPoolExecutor(6) as pool:
        assert [r.ids for r in pool.map(run.best, requests)] == alone


def test_coroutines_read_side_by_side(model: DoubleHeadsModel, started: Engine) -> None:
    requests = [asked(i, candidates=1 + i % 2) for i in range(10)]
    alone = [finished(list(engine(model).stream(request))) for request in requests]

    async def read(request: Request) -> list[Event]:
        return [event async for event in started.stream(request)]

    async def everybody() -> list[list[Event]]:
        return await asyncio.wait_for(asyncio.gather(*map(read, requests)), PATIENCE)

    for events, expected in zip(asyncio.run(everybody()), alone, strict=True):
        assert [r.ids for r in finished(events)] == [r.ids for r in expected]
        tokens = [e for e in events if isinstance(e, Token)]
        assert [t.id for t in tokens if t.candidate == 0] == list(expected[0].ids)


@pytest.mark.parametrize("reserve", [False, True])
def test_a_stream_can_be_begun_by_a_reader_and_ended_by_the_thread(
    model: DoubleHeadsModel, reserve: bool
) -> None:
    request = asked(1, max_length=30, min_length=30)
    whole = engine(model).best(request)
    run = engine(model)
    stream = run.stream(request)
    first = [next(stream) for _ in range(3)]
    with run.start(reserve=reserve):
        assert finished([*first, *stream])[0].ids == whole.ids


# -- leaving


def test_one_that_leaves_changes_no_other(model: DoubleHeadsModel) -> None:
    """Killed in mid-batch; the others' seeded replies are what they would have been."""
    requests = [Request(prompt(f"chat {i}"), replace(LONG, seed=i)) for i in range(4)]
    whole = [engine(model).best(request).ids for request in requests]
    run = engine(model)
    streams = [run.stream(request) for request in requests]
    heard = [[next(stream) for _ in range(5)] for stream in streams]
    before = run.stats()
    assert before.slots_in_use == 4
    streams[1].close()
    assert run.stats().slots_in_use == 3
    assert run.stats().cancelled == 1
    steps = run.stats().steps
    for i in (0, 2, 3):
        assert finished([*heard[i], *streams[i]])[0].ids == whole[i]
    assert next(streams[1], None) is None
    after = run.stats()
    assert after.slots_in_use == 0
    assert after.tokens_drawn - before.tokens_drawn <= 3 * (after.steps - steps)
    assert (after.finished, after.cancelled, after.submitted) == (3, 1, 4)


@pytest.mark.parametrize("how", ["close", "with", "del", "generator", "queued"])
def test_every_way_of_leaving_stops_the_computation(started: Engine, how: str) -> None:
    stream = started.stream(Request(prompt("hi"), LONG))
    if how == "queued":
        stream.close()
    elif how == "close":
        next(stream)
        stream.close()
        stream.close()
    elif how == "with":
        with stream:
            next(stream)
    elif how == "del":
        next(stream)
        del stream
        gc.collect()
    else:

        def reader() -> Generator[Event, None, None]:
            with contextlib.closing(stream):
                yield from stream

        events = reader()
        next(events)
        events.close()
    stats = settled(started)
    assert stats.cancelled == 1
    assert stats.tokens_drawn < 60
    assert (stats.running, stats.waiting, stats.slots_in_use) == (0, 0, 0)


@pytest.mark.parametrize("how", ["cancelled", "aclose", "async with", "break"])
def test_every_way_of_leaving_a_coroutine_has(started: Engine, how: str) -> None:
    async def read() -> None:
        stream = started.stream(Request(prompt("hi"), LONG))
        if how == "aclose":
            await anext(stream)
            await stream.aclose()
            assert await anext(stream, None) is None
        elif how == "async with":
            async with stream:
                await anext(stream)
        elif how == "break":
            async for _ in stream:
                break
        else:
            begun = asyncio.Event()

            async def endless() -> None:
                async for _ in stream:
                    begun.set()

            task = asyncio.create_task(endless())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(asyncio.wait_for(read(), PATIENCE))
    gc.collect()
    stats = settled(started)
    assert stats.cancelled == 1
    assert stats.tokens_drawn < 62
    assert (stats.running, stats.slots_in_use) == (0, 0)


def test_a_reader_whose_event_loop_is_gone_harms_nobody(started: Engine) -> None:
    stream = started.stream(Request(prompt("hi"), LONG))
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(stream.__anext__())
    loop.run_until_complete(asyncio.sleep(0))
    waiting.cancel()
    loop.run_until_complete(asyncio.gather(waiting, return_exceptions=True))
    loop.close()
    del stream
    assert settled(started).slots_in_use == 0


def test_what_was_computed_of_a_stopped_reply_is_kept(model: DoubleHeadsModel) -> None:
    run = engine(model)
    request = Request(prompt("hi"), LONG)
    stream = run.stream(request)
    for _ in range(10):
        next(stream)
    stream.close()
    assert run.best(Request(prompt("hi"), settings_of(max_length=2))).timings.reused_tokens == (
        len(request.prompt) - 1
    )


# -- beginning and ending


def test_coroutines_need_a_thread(model: DoubleHeadsModel) -> None:
    async def read() -> None:
        async for _ in engine(model).stream(asked(0)):
            pass

    with pytest.raises(EngineError, match=r"start\(\) it to read with async"):
        asyncio.run(read())


def test_one_started_engine_a_model(model: DoubleHeadsModel) -> None:
    with engine(model).start() as run:
        with pytest.raises(EngineError, match="the engine has been started already"):
            run.start()
        other = engine(model)
        with pytest.raises(EngineError, match="another engine has been started on this model"):
            other.start()
    with other.start():
        assert other.best(asked(0)).ids
    with pytest.raises(EngineClosed):
        other.start()


def test_an_engine_that_is_forgotten_makes_room(model: DoubleHeadsModel) -> None:
    before = threading.enumerate()  # an engine that another test has forgotten may still be among them
    run = engine(model).start()
    (thread,) = (t for t in threading.enumerate() if t.name == "convai-engine" and t not in before)
    del run
    gc.collect()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    with engine(model).start() as again:
        assert again.health().status == "ok"


@pytest.mark.parametrize("thread", [False, True])
def test_a_closed_engine_says_so(model: DoubleHeadsModel, thread: bool) -> None:
    run = Engine(model, BYTES, EngineConfig(slots=1))
    if thread:
        run.start()
    running, queued = run.stream(Request(prompt("hi"), LONG)), run.stream(Request(prompt("hi"), LONG))
    next(running)
    run.close()
    run.close()
    for stream in (running, queued):
        with pytest.raises(EngineClosed, match="the engine is closed; make a new one"):
            list(stream)
        assert next(stream, None) is None
    with pytest.raises(EngineClosed):
        run.stream(asked(0))
    assert run.health().status == "closed"
    stats = run.stats()
    assert (stats.failed, stats.slots_in_use, stats.running, stats.waiting) == (2, 0, 0, 0)


PROGRAM = """
import sys, _thread
from tests.drawing import BYTES, ready, prompt, settings_of
from convai.engine import Engine, Request
run = Engine(ready(), BYTES)
if sys.argv[1] == "thread":
    run.start()
stream = run.stream(Request(prompt("hi"), settings_of(min_length=60, max_length=60)))
next(stream)
if sys.argv[2] == "interrupt":
    try:
        _thread.interrupt_main()
        list(stream)
    except KeyboardInterrupt:
        print("interrupted")
else:
    print("left open")
"""


@pytest.mark.parametrize("thread", ["thread", "reader"])
@pytest.mark.parametrize("end", ["interrupt", "exit"])
def test_a_program_ends_in_the_middle_of_a_reply(thread: str, end: str) -> None:
    """Ctrl-C reaches the program, and neither it nor the end of the program hangs."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, thread, end], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("interrupted\n" if end == "interrupt" else "left open\n")


def test_a_finished_stream_is_not_cancelled(started: Engine) -> None:
    with started.stream(asked(0)) as stream:
        assert isinstance(list(stream)[-1], Finished)
    stats = settled(started)
    assert (stats.cancelled, stats.finished) == (0, 2)
