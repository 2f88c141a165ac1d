"""`convai engine` and `convai serve` as processes of their own, with a tiny model: to be killed."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.forked import Forked
from tests.web.conftest import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Process:
    """One that has said where it is to be found: `url`."""

    def __init__(self, *arguments: str) -> None:
        self._process = Forked(arguments, ENVIRONMENT, joined=True)
        self.said = ""
        self._url = ""

    @property
    def url(self) -> str:
        """Waits until it has said it."""
        while not self._url:
            line = self._process.stdout.readline()
            assert line, f"it ended: {self.said}"
            self.said += line
            if found := re.search(r"(tcp|http|ray)://[0-9.]+:\d+", line):
                self._url = found[0]
        return self._url

    def send(self, what: signal.Signals) -> None:
        self._process.send_signal(what)

    def end(self, what: signal.Signals = signal.SIGKILL) -> int:
        """End it; its exit code."""
        self.send(what)
        rest, _ = self._process.communicate(timeout=120)
        self.said += rest
        return self._process.returncode or 0

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None


@contextmanager
def processes(*each: tuple[str, ...]) -> Iterator[list[Process]]:
    """All of them, begun at once, and gone at the end."""
    with ExitStack() as opened:
        made = []
        for arguments in each:
            made.append(Process(*arguments))
            opened.callback(lambda one=made[-1]: one.alive and one.end())
        yield made


def engine(model: Path, *options: str) -> tuple[str, ...]:
    return (
        "engine",
        "--model",
        str(model),
        "--listen",
        "127.0.0.1:0",
        "--precision",
        "float32",
        "--prefix-mib",
        "8",
        *options,
    )


def door(model: Path, store: Path | str, *options: str) -> tuple[str, ...]:
    return (
        "serve",
        "--model",
        str(model),
        "--port",
        "0",
        "--store",
        str(store),
        "--emotion-model",
        "none",
        *options,
    )
