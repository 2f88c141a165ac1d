"""One thread that hears what several engines say, so that it comes together: every waking costs.

Where a door has many engines, each of them draws a token now and then. Told one by one they would wake a
thread and the event loop each time; after something has come this thread may wait for a moment for more.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn

from convai.engine.link import FrameLink
from convai.engine.mailbox import Waiting, wake

Take = Callable[[bytes], list[Waiting]]
"""Takes a frame's body; returns the coroutines that are to be woken for it."""


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
        self._selector = selectors.DefaultSelector()
        self._bell, self._ring = socket.socketpair()
        self._bell.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="convai-hearing", daemon=True)
        self._thread.start()

    def hear(self, link: FrameLink, take: Take, silence: float) -> NoReturn:
        """Have `take` called with every frame that comes; this thread waits until the connection is lost.

        Raises as `FrameLink.read` does, TimeoutError after `silence` seconds, and what `take` raises.
        """
        line = _Line(link, take, silence)
        self._new.append(line)
        self._ring.send(b"!")
        line.lost.result()

    def close(self) -> None:
        """End the thread. May be called twice."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._ring.send(b"!")
        self._thread.join()
        for line in (*self._new, *self._lines):
            line.lost.set_exception(EOFError())
        self._selector.close()
        self._bell.close()
        self._ring.close()

    # -- the thread --------------------------------------------------------------------------------

    def _serve(self) -> None:
        waiting: list[Waiting] = []
        while not self._ended.is_set():
            if waiting:
                self._ended.wait(self.pause)
            waiting = []
            found = self._selector.select(self._longest())
            for key, _ in found:
                if key.data is None:
                    self._begin()
                else:
                    self._receive(key.data, waiting)
            now = time.monotonic()
            for line in [one for one in self._lines if now - one.heard >= one.silence]:
                self._end(line, TimeoutError())
            wake(waiting)

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
