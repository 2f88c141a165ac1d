"""Contenders on the same chats, alternating, and the medians of their rounds."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from convai.bench.contenders.base import Setup, Timing, one_after_another
from convai.bench.contenders.registry import ContenderKind
from convai.bench.worker import Worker, WorkerError
from convai.bench.workload import BenchChat, chats
from convai.core.errors import ConvaiError
from convai.model.shape import Family

SEQUENTIAL_CHATS = 4
"""Chats a round, of a single chat at a time and of those who always answer one after another: more would take
longer and change no rate, and a single one would measure how a process wakes up.
"""


@dataclass(slots=True)
class Field:
    """The contenders that run, what each says of itself, and why the others do not."""

    workers: dict[str, Worker] = field(default_factory=dict)
    about: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def drop(self, name: str, reason: str) -> None:
        """Go on without a contender."""
        self.workers.pop(name).close()
        self.missing[name] = reason


@contextlib.contextmanager
def running(kinds: Sequence[ContenderKind], setup: Setup, family: Family = "gpt2") -> Iterator[Field]:
    """Processes of the contenders, loaded with a model of `family`; those that cannot be are in `missing`."""
    field = Field()
    try:
        for kind in kinds:
            if (reason := kind.missing(family)) is not None:
                field.missing[kind.name] = reason
            else:
                field.workers[kind.name] = Worker(kind, setup)
        for name, worker in list(field.workers.items()):
            try:
                field.about[name] = worker.ready()
            except WorkerError as error:
                field.drop(name, str(error))
        yield field
    finally:
        for worker in field.workers.values():
            worker.close()


def alternate(
    field: Field, setup: Setup, vocab_size: int, count: int, rounds: int, seed: int = 0
) -> dict[str, list[Timing]]:
    """`rounds` timings of each contender on `count` chats at a time, after one round to warm up.

    Every round has chats of its own, the same ones for all, and begins with another contender. One that
    fails is dropped and named in `field.missing`.
    """
    timings: dict[str, list[Timing]] = {name: [] for name in field.workers}
    for number in range(rounds + 1):
        asked = chats(setup.work, vocab_size, max(count, SEQUENTIAL_CHATS), seed=1000 * seed + number)
        names = list(field.workers)
        start = number % len(names) if names else 0
        for name in names[start:] + names[:start]:
            worker = field.workers[name]
            try:
                if count == 1:
                    turns = [one(worker, [chat], setup.work.reply, number) for chat in asked]
                    timing = one_after_another(turns)
                else:
                    mine = asked[:SEQUENTIAL_CHATS] if worker.kind.sequential else asked[:count]
                    timing = one(worker, mine, setup.work.reply, number)
            except WorkerError as error:
                field.drop(name, str(error))
                timings.pop(name)
                continue
            if number:
                timings[name].append(timing)
    return timings


def one(worker: Worker, asked: Sequence[BenchChat], reply: int, seed: int) -> Timing:
    """One run. Raises ConvaiError when the replies are not as long as asked for: it would be other work."""
    timing: Timing = worker.call("run", asked, seed)
    lengths = {len(ids) for ids in timing.replies}
    if len(timing.replies) != len(asked) or lengths != {reply}:
        raise ConvaiError(
            f"{worker.kind.name}: {len(timing.replies)} replies of {sorted(lengths)} tokens, "
            f"{len(asked)} of {reply} were asked for: nothing can be compared"
        )
    return timing


def summary(timings: Sequence[Timing]) -> dict[str, float]:
    """Medians over the rounds: tokens a second, of decoding alone, and milliseconds to the first token."""
    return {
        "tokens_per_s": statistics.median(t.rate for t in timings),
        "decode_tokens_per_s": statistics.median(t.decode_rate for t in timings),
        "first_token_ms": 1000 * statistics.median(statistics.median(t.first) for t in timings),
        "seconds_least": min(t.seconds for t in timings),
        "seconds_most": max(t.seconds for t in timings),
        "rounds": len(timings),
    }


def ratios(rates: Mapping[str, Sequence[Timing]], ours: str) -> dict[str, float]:
    """`vs_NAME` → how many times our rate is NAME's, both medians."""
    mine = statistics.median(t.rate for t in rates[ours])
    return {
        f"vs_{name}": mine / statistics.median(t.rate for t in timings)
        for name, timings in rates.items()
        if name != ours
    }
