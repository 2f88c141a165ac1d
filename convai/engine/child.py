"""A process of ours: it says through a pipe when it is ready, or what went wrong, and ends with the pipe."""

from __future__ import annotations

import multiprocessing
import multiprocessing.resource_tracker
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from typing import Any, Final

from convai.core.errors import ConvaiError
from convai.engine.errors import EngineError
from convai.engine.messages import Failure

READY: Final = None
"""What it says when it is."""
_END: Final = 10.0
"""Seconds in which it ends by itself, if nobody says otherwise."""


class Child:
    """The process, to the one who has it."""

    def __init__(self, what: str, target: Callable[..., None], *args: Any) -> None:
        """Begin `target(*args, pipe)`, which can be pickled; SIGINT and SIGTERM do not reach it. `what`: its
        name in messages.

        It sends READY or a Failure (`refused`) into `pipe`, and ends when the other end of it is gone,
        however it went.
        """
        context = multiprocessing.get_context("spawn")  # a fork would inherit locks and threads half-alive
        self._pipe, theirs = context.Pipe()
        self._what, self._ready = what, False
        self._reaping = threading.Lock()
        self._process = context.Process(target=target, args=(*args, theirs))
        with _signals_kept():
            self._process.start()
        theirs.close()

    @property
    def pid(self) -> int | None:
        """Its id."""
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        """How it ended: minus a signal, or what it returned; None while it runs."""
        return self._process.exitcode

    def wait(self) -> None:
        """Until it is ready. Raises what went wrong there."""
        try:
            failure: Failure | None = self._pipe.recv()
        except (EOFError, OSError):
            self.died()
            raise EngineError(f"{self._what} ended before it was ready (exit code {self.exitcode})") from None
        if failure is not READY:
            self.died()
            raise failure.error()
        self._ready = True

    def told(self, seconds: float) -> bool:
        """Whether it says something, or ends, within so many seconds."""
        try:
            return self._pipe.poll(seconds)
        except OSError:
            return True

    def heard(self) -> Any:
        """What it says, waiting for it; None where it has ended."""
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            return None

    def died(self) -> None:
        """Wait for its end, in any thread."""
        wait([self._process.sentinel])
        with self._reaping:  # for two at once there is one exit code
            self._process.join()

    def end(self, seconds: float = _END) -> None:
        """End it: by itself, if it is ready, in so many seconds, or else it is killed."""
        with suppress(OSError):
            self._pipe.close()
        if self._ready:
            wait([self._process.sentinel], seconds)
        self._process.kill()
        self.died()


def refused(error: ConvaiError | OSError | MemoryError) -> Failure:
    """What a child says that cannot begin."""
    return Failure.of(error if isinstance(error, ConvaiError) else EngineError(str(error) or "out of memory"))


@contextmanager
def _signals_kept() -> Iterator[None]:
    """What is started meanwhile never hears of SIGINT and SIGTERM.

    Both go to all processes of a terminal, or of a service; only the one that has the process may end it,
    when its replies have come to their ends.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows, which has no such groups
        yield
        return
    multiprocessing.resource_tracker.ensure_running()  # its start would let the signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
