"""A contender in a process of its own, asked through a pipe.

So no thread pool of one spins while another is measured, none shares its memory, and one that crashes is
a line in the table instead of the end of the run.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from typing import Any

from convai.bench.contenders.base import Setup
from convai.bench.contenders.registry import ContenderKind
from convai.core.errors import ConvaiError


class WorkerError(ConvaiError):
    """A contender's process failed; the message is its last line."""


class Worker:
    """A started contender. `ready` waits until it is loaded; `call` has one of its methods run."""

    def __init__(self, kind: ContenderKind, setup: Setup) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads half-alive
        self.kind = kind
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, kind, setup), daemon=True)
        self._process.start()
        theirs.close()

    def ready(self) -> Any:
        """Wait until the contender is loaded; returns what it says of itself. Raises WorkerError."""
        return self._answer()

    def call(self, method: str, *args: Any) -> Any:
        """Run a method of the contender and return its result. Raises WorkerError."""
        try:
            self._pipe.send((method, args))
        except OSError:
            raise WorkerError(f"{self.kind.name}: its process ended") from None
        return self._answer()

    def _answer(self) -> Any:
        try:
            good, result = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise WorkerError(
                f"{self.kind.name}: its process ended (exit code {self._process.exitcode})"
            ) from None
        if not good:
            raise WorkerError(f"{self.kind.name}: {result}")
        return result

    def close(self) -> None:
        """End the process."""
        self._pipe.close()  # what it reads next is the end of the pipe, and it leaves
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(pipe: Connection, kind: ContenderKind, setup: Setup) -> None:
    """The process: load, then answer calls until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the one who asks ends the others
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        contender = kind.make(setup)
        pipe.send((True, getattr(contender, "about", dict)()))
    except Exception as error:
        pipe.send((False, _line(error)))
        return
    while True:
        try:
            method, args = pipe.recv()
        except (EOFError, OSError):
            break
        try:
            pipe.send((True, getattr(contender, method)(*args)))
        except Exception as error:
            pipe.send((False, _line(error)))
    contender.close()


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
