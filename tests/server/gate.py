"""A model that computes a step only when it is told to, so that tests know how far it has come."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from convai.engine import Engine
from convai.engine.runner import Runner
from tests.server.serving import PATIENCE


class Gate:
    """Steps wait here. `allow(n)` lets n of them pass, `open` all."""

    def __init__(self) -> None:
        self._steps = threading.Semaphore(0)
        self._open = False
        self.arrived = 0
        """Steps that came here: with the next one all that the last one found has been handed on."""

    def allow(self, steps: int = 1) -> None:
        self._steps.release(steps)

    def open(self) -> None:
        self._open = True
        self._steps.release()

    def wait(self) -> None:
        self.arrived += 1
        if not self._open:
            assert self._steps.acquire(timeout=PATIENCE), "nobody let the model compute"
        if self._open:
            self._steps.release()


@contextmanager
def gated(monkeypatch: pytest.MonkeyPatch, engine: Engine | None = None) -> Iterator[Gate]:
    """All models' steps wait at the gate; or one engine's."""
    gate = Gate()
    runner: Any = Runner if engine is None else engine._core._runner
    compute = runner.compute

    def wait_and_compute(*args: Any) -> Any:
        gate.wait()
        return compute(*args)

    monkeypatch.setattr(runner, "compute", wait_and_compute)
    try:
        yield gate
    finally:
        gate.open()
