"""What hears several engines together, so that it comes together: every waking costs.

A thread does, or the event loop of the server itself, where a token wakes nobody else. Where a door has many
engines, each of them draws a token now and then, and told one by one they would wake it each time: after
something has come there may be a pause for more.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from convai.engine.link import FrameLink
from convai.engine.mailbox import Waiting, wake

Take = Callable[[bytes], list[Waiting]]
"""Takes a frame's body; returns the coroutines that are to be woken for it."""
_PATIENCE: Final = 5.0
"""Seconds for which an event loop has time to let go."""


@dataclass(eq=False)
class _Line:
    """A connection that is heard. `lost`: has the error that ended it."""

    link: FrameLink
    take: Take
    silence: float
    heard: float = field(default_factory=time.monotonic)
    lost: Future[NoReturn] = field(default_factory=Future)


class Hearing:
    """Safe to use from any thread, but for `close`, which comes when nobody is heard any more."""

    def __init__(self) -> None:
        self.pause = 0.0
        """Seconds to wait for more once something has come: the longest delay; what comes alone has none."""
        self._new: deque[_Line] = deque()
        self._lines: set[_Line] = set()
        self._selector: Any = selectors.DefaultSelector()
        self._bell, self._ring = socket.socketpair()
        self._bell.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._closed = False
        self._turn = threading.Lock()
        """Of whoever hears."""
        self._loop: _InLoop | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread
        self._start()

    def hear(self, link: FrameLink, take: Take, silence: float) -> NoReturn:
        """Have `take` called with every frame that comes; this thread waits until the connection is lost.

        Raises as `FrameLink.read` does, TimeoutError after `silence` seconds, and what `take` raises.
        """
        line = _Line(link, take, silence)
        self._new.append(line)
        self._ring.send(b"!")
        line.lost.result()

    def in_loop(self) -> None:
        """Hear in the running event loop from now on. Whoever waits for an engine must not block it.

        Where the loop cannot do so (Windows), the thread goes on.
        """
        if self._loop is not None or self._closed:
            return
        try:
            made = _InLoop(self._selector.fileno(), self._come)
        except (AttributeError, NotImplementedError):
            return
        self._stop()
        self._loop = made

    def in_thread(self) -> None:
        """Hear in a thread again: a loop that is about to end, or to wait for engines, hears nothing."""
        with self._turn:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.let_go()
            self._start()

    def close(self) -> None:
        """The end. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self.in_thread()
        self._stop()
        for line in (*self._new, *self._lines):
            line.lost.set_exception(EOFError())
        self._selector.close()
        self._bell.close()
        self._ring.close()

    # -- the thread --------------------------------------------------------------------------------

    def _start(self) -> None:
        self._ended.clear()
        self._thread = threading.Thread(target=self._serve, name="convai-hearing", daemon=True)
        self._thread.start()

    def _stop(self) -> None:
        self._ended.set()
        self._ring.send(b"!")
        self._thread.join()

    def _serve(self) -> None:
        waiting: list[Waiting] = []
        while not self._ended.is_set():
            if waiting:
                self._ended.wait(self.pause)
            waiting = self._listen(self._longest())
            wake(waiting)

    # -- the event loop ----------------------------------------------------------------------------

    def _come(self) -> tuple[float, float | None]:
        """What has come is taken; seconds to rest before more, and until somebody may be silent."""
        with self._turn:
            if self._loop is None:  # it is heard in a thread again
                return 0.0, None
            waiting = self._listen(0.0)
            longest, loop = self._longest(), self._loop.loop
        wake(waiting, loop)
        return self.pause if waiting else 0.0, longest

    # -- both --------------------------------------------------------------------------------------

    def _listen(self, seconds: float | None) -> list[Waiting]:
        """Take what comes within so many seconds; who is to be woken for it."""
        waiting: list[Waiting] = []
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                self._begin()
            else:
                self._receive(key.data, waiting)
        now = time.monotonic()
        for line in [one for one in self._lines if now - one.heard >= one.silence]:
            self._end(line, TimeoutError())
        return waiting

    def _longest(self) -> float | None:
        """Seconds until somebody has been silent for too long."""
        ends = [line.heard + line.silence for line in self._lines]
        return max(min(ends) - time.monotonic(), 0.0) if ends else None

    def _begin(self) -> None:
        with suppress(BlockingIOError):
            self._bell.recv(4096)
        while self._new:
            line = self._new.popleft()
            self._lines.add(line)
            self._selector.register(line.link, selectors.EVENT_READ, line)

    def _receive(self, line: _Line, waiting: list[Waiting]) -> None:
        try:
            for body in line.link.arrived():
                waiting += line.take(body)
        except Exception as error:
            self._end(line, error)
        else:
            line.heard = time.monotonic()

    def _end(self, line: _Line, error: Exception) -> None:
        self._selector.unregister(line.link)
        self._lines.discard(line)
        line.lost.set_exception(error)


class _InLoop:
    """Calls `come` in the running event loop when the selector has something, or somebody may be silent."""

    def __init__(self, selector: int, come: Callable[[], tuple[float, float | None]]) -> None:
        """Raises NotImplementedError for a loop that cannot wait for a selector."""
        self.loop = asyncio.get_running_loop()
        self._selector, self._come = selector, come
        self._rests = False
        self._timer: asyncio.TimerHandle | None = None
        self._gone = threading.Event()
        self.loop.add_reader(selector, self._look)
        self.loop.call_soon(self._look)  # somebody may be silent already

    def let_go(self) -> None:
        """Never again. From any thread; one that is not the loop's waits for it while it runs."""
        if self.loop.is_running() and _running() is not self.loop:
            with suppress(RuntimeError):  # it has just been closed
                self.loop.call_soon_threadsafe(self._end)
                self._gone.wait(_PATIENCE)
        elif not self.loop.is_closed():
            self._end()

    def _end(self) -> None:
        self.loop.remove_reader(self._selector)
        if self._timer is not None:
            self._timer.cancel()
        self._gone.set()

    def _look(self) -> None:
        if self._gone.is_set():
            return
        rest, longest = self._come()
        if (rest > 0) != self._rests:
            self._rests = rest > 0
            if self._rests:
                self.loop.remove_reader(self._selector)
            else:
                self.loop.add_reader(self._selector, self._look)
        if rest > 0:
            self._again(rest)
        elif longest is not None:
            self._again(longest, unless_earlier=True)

    def _again(self, seconds: float, unless_earlier: bool = False) -> None:
        if self._timer is not None:
            if unless_earlier and self._timer.when() <= self.loop.time() + seconds:
                return
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._due)

    def _due(self) -> None:
        self._timer = None
        self._look()


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
