"""Contenders that compute nothing, to test what surrounds them, also in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Sequence

from convai.bench.contenders.base import Setup, Timing
from convai.bench.contenders.registry import ContenderKind
from convai.bench.workload import BenchChat

PRECISION = "bf16"


class Fake:
    """Needs a second for eight tokens, the first after an eighth of it."""

    seconds = 1.0
    length: int | None = None

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def about(self) -> dict[str, str]:
        return {"precision": PRECISION}

    def run(self, chats: Sequence[BenchChat], seed: int) -> Timing:
        n, length = len(chats), self.length or self._setup.work.reply
        seconds = self.seconds * n * length / 8
        return Timing(seconds, (seconds / 8,) * n, (seconds,) * n, (tuple(range(length)),) * n)

    def conversation(self, turns: int, seed: int) -> list[tuple[float, int, int]]:
        """Each turn takes a millisecond longer than the one before."""
        return [(0.001 * (i + 1), 10 * i, 5 * i) for i in range(turns)]

    def first_tokens(self, busy: int, count: int, seed: int) -> list[float]:
        """A millisecond, and another one for each that is busy."""
        return [0.001 * (1 + busy)] * count

    def memory(self, count: int, seed: int) -> tuple[int, int]:
        """A tenth of a gigabyte for each chat of a thousand tokens."""
        return 100_000_000 * count, 1000

    def close(self) -> None:
        """Nothing is held."""


class Slow(Fake):
    """Three times as slow as Fake."""

    seconds = 3.0


class Short(Fake):
    """Replies of one token, whatever is asked for."""

    length = 1


class Unloadable(Fake):
    """Cannot be made."""

    def __init__(self, setup: Setup) -> None:
        raise RuntimeError("no such\nmodel")


class Failing(Fake):
    """Answers the warm-up, then fails."""

    def run(self, chats: Sequence[BenchChat], seed: int) -> Timing:
        if seed:
            raise RuntimeError("out of luck")
        return super().run(chats, seed)


class Dying(Fake):
    """Its process ends in the middle of a run."""

    def run(self, chats: Sequence[BenchChat], seed: int) -> Timing:
        os._exit(7)


def fake(name: str, cls: type[Fake] = Fake, *, sequential: bool = False) -> ContenderKind:
    return ContenderKind(name, cls.__module__, cls.__name__, "float32", f"the {name}", sequential=sequential)
