"""`convai` in a process of its own that was forked from one which has imported it.

A process that imports torch takes three processor seconds before it does anything, and some sixty of the
tests' do. What is under test is what they say, keep and leave when they end; that `python -m convai` begins,
tests/test_cli.py and tests/test_packaging.py hold.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import Any, Final, Self, TextIO

PRELOAD: Final = ("tests.server.served", "convai.train", "convai.commands.train", "convai.commands.serve")
"""What the process that others are forked from has imported."""


def context() -> ForkServerContext:
    """How processes are begun that have everything imported, in milliseconds."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(list(PRELOAD))
    return found


class Forked:
    """`python -m convai ARGUMENTS`, or `python -c code ARGUMENTS`, with as much of Popen as tests use."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        code: str = "",
        joined: bool = False,
    ) -> None:
        """`joined`: what is said on stderr is said on stdout."""
        begun = context()
        reader, out = begun.Pipe(duplex=False)
        errors, err = (reader, out) if joined else begun.Pipe(duplex=False)
        self._process = begun.Process(target=_be, args=(list(arguments), dict(environment), code, out, err))
        self._process.start()
        self.stdout = _text(reader)
        self.stderr = None if joined else _text(errors)
        for pipe in {reader, out, errors, err}:
            pipe.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, what: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, what)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that it says to its end, which is waited for. Raises TimeoutError where it does not come."""
        said = {"stdout": "", "stderr": ""}

        def read(name: str, file: TextIO) -> None:
            said[name] = file.read()

        files: dict[str, TextIO] = {"stdout": self.stdout}
        if self.stderr is not None:
            files["stderr"] = self.stderr
        readers = [threading.Thread(target=read, args=item, daemon=True) for item in files.items()]
        for reader in readers:
            reader.start()
        self._process.join(timeout)
        if self.poll() is None:
            raise TimeoutError(f"{self._process} has not ended within {timeout} s")
        for reader in readers:  # what it began itself may still hold the pipes
            reader.join(timeout)
        for file in files.values():
            file.close()
        return said["stdout"], said["stderr"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        self._process.join()
        self.stdout.close()
        if self.stderr is not None:
            self.stderr.close()


def _text(pipe: Connection) -> TextIO:
    return os.fdopen(os.dup(pipe.fileno()), encoding="utf-8", errors="replace")


def _be(
    arguments: list[str], environment: dict[str, str], code: str, out: Connection, err: Connection
) -> None:
    """Become the process: its streams, environment and arguments."""
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    for pipe in (out, err):
        pipe.close()
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1)
    if code:
        sys.argv = ["-c", *arguments]
        found: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(code, "<code>", "exec"), found)
        return
    from convai.__main__ import main

    sys.argv = ["convai", *arguments]
    sys.exit(main(arguments))
