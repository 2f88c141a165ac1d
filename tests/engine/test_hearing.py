"""Connections heard by a thread or a loop: each loses only itself; what comes in a pause comes together."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from typing import Any

import pytest

from convai.engine import hearing as module
from convai.engine import wire
from convai.engine.hearing import Hearing
from convai.engine.link import FrameLink
from convai.engine.mailbox import Waiting
from tests.server.serving import PATIENCE

Take = Callable[[bytes], list[Waiting]]


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def call(self, do: Callable[[], object]) -> None:
        """Call it in the loop, and wait for its end."""
        done: Future[None] = Future()

        def called() -> None:
            try:
                do()
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self.loop.call_soon_threadsafe(called)
        done.result(PATIENCE)

    def end(self) -> None:
        """Stop it."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def close(self) -> None:
        if self._thread.is_alive():
            self.end()
        self.loop.close()


@contextmanager
def looping() -> Iterator[Loop]:
    with closing(Loop()) as made:
        yield made


@pytest.fixture(params=["thread", "loop", "pausing loop"])
def hearing(request: pytest.FixtureRequest) -> Iterator[Hearing]:
    with looping() as loop, closing(Hearing()) as made:
        if request.param != "thread":
            made.pause = 0.01 if "pausing" in request.param else 0.0
            loop.call(made.in_loop)
            assert not made._thread.is_alive()
        yield made


class Line:
    """One connection: `far` is the engine's end, `lost` what ended it, `come` the frames that came."""

    def __init__(self, hearing: Hearing, take: Take | None = None, silence: float = PATIENCE) -> None:
        near, self.far = socket.socketpair()
        self.link = FrameLink(near, silence)
        self.come: list[bytes] = []
        self.lost: Future[None] = Future()
        self._some = threading.Condition()
        self._thread = threading.Thread(target=self._hear, args=(hearing, take or self._take, silence))
        self._thread.start()

    def _hear(self, hearing: Hearing, take: Take, silence: float) -> None:
        try:
            hearing.hear(self.link, take, silence)
        except Exception as error:
            self.lost.set_exception(error)

    def _take(self, body: bytes) -> list[Waiting]:
        with self._some:
            self.come.append(body)
            self._some.notify_all()
        return []

    def until(self, count: int) -> list[bytes]:
        """So many frames, once they have come."""
        with self._some:
            assert self._some.wait_for(lambda: len(self.come) >= count, PATIENCE)
        return self.come

    def end(self, error: type[Exception]) -> None:
        """Wait until it is lost, for such a reason."""
        with pytest.raises(error):
            self.lost.result(PATIENCE)
        self._thread.join()
        self.link.end()
        self.far.close()


def framed(body: bytes) -> bytes:
    return wire.HEAD.pack(len(body)) + body


def test_frames_come_whole_however_they_were_cut(hearing: Hearing) -> None:
    line = Line(hearing)
    every = framed(b"one") + framed(b"two" * 1000) + framed(b"three")
    for place in range(0, len(every), 7):
        line.far.sendall(every[place : place + 7])
    assert line.until(3) == [b"one", b"two" * 1000, b"three"]
    line.far.close()
    line.end(EOFError)


def test_who_is_lost_takes_nobody_along(hearing: Hearing) -> None:
    def broken(body: bytes) -> list[Waiting]:
        raise ZeroDivisionError

    good, silent = Line(hearing), Line(hearing, silence=0.05)
    noisy, defect, gone = Line(hearing), Line(hearing, broken), Line(hearing)
    silent.end(TimeoutError)
    noisy.far.sendall(b"\xff" * 8)
    noisy.end(wire.WireError)
    defect.far.sendall(framed(b"x"))
    defect.end(ZeroDivisionError)
    gone.link.close()  # as who hangs up does, from another thread
    gone.end(EOFError)
    good.far.sendall(framed(b"still here"))
    assert good.until(1) == [b"still here"]
    good.far.close()
    good.end(EOFError)


@pytest.fixture
def thread() -> Iterator[Hearing]:
    with closing(Hearing()) as made:
        yield made


def test_what_comes_in_a_pause_comes_together(thread: Hearing, monkeypatch: pytest.MonkeyPatch) -> None:
    hearing = thread
    woken: list[list[Any]] = []
    together, heard = threading.Event(), threading.Semaphore(0)

    def note(waiting: list[Waiting]) -> None:
        if waiting:
            woken.append(list(waiting))
            if len(woken) == 2:
                together.set()

    def take(body: bytes) -> list[Any]:
        if body == b"hello":
            heard.release()
            return []
        return [body]

    one, other = Line(hearing, take), Line(hearing, take)

    class Ended(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            """The pause: meanwhile both say something, one of them twice."""
            assert timeout == hearing.pause
            if len(woken) == 1:
                one.far.sendall(framed(b"b"))
                other.far.sendall(framed(b"c") + framed(b"d"))
            return False

    for line in (one, other):
        line.far.sendall(framed(b"hello"))
        assert heard.acquire(timeout=PATIENCE)
    monkeypatch.setattr(module, "wake", note)
    monkeypatch.setattr(hearing, "_ended", Ended())
    hearing.pause = 0.25
    one.far.sendall(framed(b"a"))
    assert together.wait(PATIENCE)
    assert woken[0] == [b"a"]
    assert sorted(woken[1]) == [b"b", b"c", b"d"]
    for line in (one, other):
        line.far.close()
        line.end(EOFError)


def test_who_is_heard_when_it_ends_is_lost() -> None:
    hearing = Hearing()
    line = Line(hearing)
    line.far.sendall(framed(b"x"))
    line.until(1)
    hearing.close()
    hearing.close()
    line.end(EOFError)


def test_in_a_loop_what_comes_in_a_pause_comes_together_and_wakes_no_thread(
    thread: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[float, bytes]] = []
    clock = 0.0
    pauses: list[float] = []
    woken: list[Any] = []
    all_come = threading.Event()

    async def heard() -> None:
        nonlocal clock
        loop = asyncio.get_running_loop()

        def later(seconds: float, call: Callable[[], object]) -> asyncio.TimerHandle:
            """The pause: meanwhile both say something, one of them twice."""
            nonlocal clock
            pauses.append(seconds)
            if len(pauses) == 1:
                one.far.sendall(framed(b"b"))
                other.far.sendall(framed(b"c") + framed(b"d"))
            if seconds == thread.pause:
                clock += seconds
                loop.call_soon(call)
            return loop.call_at(loop.time() + PATIENCE, all_come.set)

        monkeypatch.setattr(loop, "call_later", later)
        monkeypatch.setattr(module, "wake", lambda waiting, here=None: woken.append((waiting, here is loop)))
        thread.pause = 0.25
        thread.in_loop()
        one.far.sendall(framed(b"a"))
        while len(taken) < 4:
            await asyncio.sleep(0)

    def take(body: bytes) -> list[Any]:
        taken.append((clock, body))
        return [body]

    one, other = Line(thread, take), Line(thread, take)
    asyncio.run(heard())
    thread.in_thread()
    assert taken[0] == (0.0, b"a")
    assert sorted(taken[1:]) == [(0.25, b"b"), (0.25, b"c"), (0.25, b"d")]
    assert all(here for waiting, here in woken if waiting)
    assert [sorted(waiting) for waiting, _ in woken if waiting] == [[b"a"], [b"b", b"c", b"d"]]
    for line in (one, other):
        line.far.close()
        line.end(EOFError)


def test_it_goes_on_in_a_thread_whatever_the_loop_does() -> None:
    """The loop itself says so while it goes, or somebody else while it runs, or when it has ended."""
    hearing = Hearing()
    line = Line(hearing)
    come = 0
    for how in ("itself", "elsewhere", "stopped", "closed"):
        with looping() as loop:
            loop.call(hearing.in_loop)
            loop.call(hearing.in_loop)  # it is there
            line.far.sendall(framed(b"in the loop"))
            come += 1
            line.until(come)
            match how:
                case "itself":
                    loop.call(hearing.in_thread)
                case "stopped":
                    loop.end()
                case "closed":
                    loop.close()
            hearing.in_thread()
            line.far.sendall(framed(b"in a thread"))
            come += 1
            line.until(come)
    hearing.close()
    hearing.in_loop()  # which changes nothing any more
    line.end(EOFError)


def test_who_is_silent_before_the_loop_hears_is_lost_there() -> None:
    with looping() as loop, closing(Hearing()) as hearing:
        loop.call(hearing.in_loop)
        silent = Line(hearing, silence=0.0)
        silent.end(TimeoutError)
