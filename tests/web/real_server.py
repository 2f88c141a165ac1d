"""`convai serve` as a process of its own, with the small embedded model: started, killed, started again."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from pathlib import Path

from convai.core.resources import SMALL_MODEL
from tests.forked import Forked
from tests.web.conftest import ROOT

PATIENCE = 300.0
"""Seconds in which it must listen; most of them go into importing torch."""


class RealServer:
    """A server over one folder, on a port of its own that stays the same after `kill` and `start`."""

    def __init__(self, folder: Path, *options: str, model: str = SMALL_MODEL) -> None:
        """The small model needs nothing that may be missing here."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.database = folder / "conversations.db"
        self._options, self._model = options, model
        self._process: Forked | None = None

    def start(self) -> None:
        """Returns when it listens. Raises AssertionError, with what it said, where it does not."""
        arguments = [
            "--model",
            self._model,
            "--port",
            str(self.port),
            "--store",
            str(self.database),
            "--rate",
            "100000",
            *self._options,
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._process = Forked(["serve", *arguments], environment, joined=True)
        try:
            self._until_it_listens(self._process)
        except BaseException:
            self.kill()
            raise

    def _until_it_listens(self, process: Forked) -> None:
        said, limit = "", time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            while self.url.rstrip("/") not in said:
                assert ready.select(max(0.0, limit - time.monotonic())), f"it does not listen: {said}"
                line = process.stdout.readline()
                assert line, f"it ended: {said}"
                said += line

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as a person would; nothing where it does not run."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.communicate(timeout=PATIENCE)
