"""A soak test of the engine: guests come, change their minds and go, and nothing may be left of them.

Checked are: memory that does not grow, no request that waits for ever, counts of the engine that agree with
what the guests saw, slots that are free at the end, and (in float32) a seeded reply that is the same
whenever it is asked for, whoever else is killed in its batch. `test_soak.py` runs it for a moment;
`python -m tests.engine.soak --minutes 10` for longer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from convai.bench.random_model import made_up_tokenizer, random_model
from convai.bench.server.host import resident_bytes
from convai.bench.sizes import SIZES
from convai.bench.workload import Workload, chats
from convai.core.errors import ConvaiError
from convai.core.settings import EngineConfig
from convai.engine import Engine, Finished, Overloaded, Request, Stats
from convai.engine.backends.precision import chosen
from tests.engine.soak_guests import Guest, Ledger

SLOTS: Final = 32
QUEUE: Final = 32
PREFIX_MIB: Final = 192
"""Small on purpose: replies wait for slots, requests are refused, conversations are evicted."""
PATIENCE: Final = 60.0
"""Seconds without an event after which a request counts as stuck."""
PROBE_EVERY: Final = 5.0
JUDGED: Final = 60.0
"""Seconds that a run must last for its memory to say something."""
GROWTH: Final = 0.02
"""Most that memory may grow, as a part of what it was, from the third tenth of the run to the last..."""
GROWTH_BYTES: Final = 16 * 2**20
"""... or this, where that is more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakPlan:
    """`requests` ends the run after so many instead of after `minutes`."""

    size: str = "S"
    chats: int = 64
    minutes: float = 10.0
    requests: int = 0
    precision: str = "auto"
    seed: int = 0


def measure(plan: SoakPlan, show: Callable[[str], None]) -> dict[str, Any]:
    """Run; `show` gets a line a check. The result holds every figure, the `checks`, and `passed`."""
    config = EngineConfig(
        slots=SLOTS, queue=QUEUE, prefix_mib=PREFIX_MIB, precision=plan.precision,  # type: ignore[arg-type]
    )  # fmt: skip
    shape = SIZES[plan.size]
    with Engine(random_model(shape, plan.seed), made_up_tokenizer(shape.vocab_size), config) as engine:
        run = _Run(engine.start(reserve=True), plan)
        asyncio.run(run.go())
        told = run.told()
    for name, (good, text) in run.checks().items():
        show(f"{'ok  ' if good else 'FAIL'}  {name}: {text}")
    checks = {name: good for name, (good, _) in run.checks().items()}
    return {**told, "checks": checks, "passed": all(checks.values())}


class _Run:
    """A soak test under way, and what is known at its end."""

    def __init__(self, engine: Engine, plan: SoakPlan) -> None:
        self._engine = engine
        self._plan = plan
        self._precision = chosen(engine.config.precision, engine.model.config, engine.model.device)
        self._ledger = Ledger()
        self._start = time.monotonic()
        self._seconds = 0.0
        self._memory = [resident_bytes()]
        self._stuck: set[int] = set()
        self._probes: list[tuple[int, ...]] = []
        self._end = Stats()
        self._health = ""

    def _over(self) -> bool:
        if self._plan.requests:
            return self._ledger.outcomes["taken"] >= self._plan.requests
        return time.monotonic() - self._start > 60 * self._plan.minutes

    async def go(self) -> None:
        """Have everybody chat until the time is over, then wait for the last of them."""
        plan, rng = self._plan, random.Random(self._plan.seed)
        guests = [
            Guest(i, self._engine, Workload(), self._ledger, random.Random(rng.random()))
            for i in range(plan.chats)
        ]
        chatting = [asyncio.create_task(guest.run(self._over)) for guest in guests]
        watching = asyncio.create_task(self._watch())
        probing = asyncio.create_task(self._probe())
        try:
            waiting: set[asyncio.Task[None]] = {*chatting, probing}
            while waiting and not self._stuck:
                done, waiting = await asyncio.wait(waiting, timeout=1.0)
                for task in done:
                    task.result()  # a defect of the guests themselves is no finding
        finally:
            for task in (*chatting, probing, watching):
                task.cancel()
            await asyncio.gather(*chatting, probing, watching, return_exceptions=True)
        self._seconds = time.monotonic() - self._start
        await self._settle()

    async def _settle(self) -> None:
        """Wait until the engine has put away what was cancelled last."""
        self._health = self._engine.health().status
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self._end = self._engine.stats()
            if not (self._end.waiting or self._end.running or self._end.slots_in_use):
                return
            await asyncio.sleep(0.01)

    async def _watch(self) -> None:
        """Note the memory, and who waits too long."""
        while True:
            self._memory.append(resident_bytes())
            now = time.monotonic()
            self._stuck |= {who for who, since in self._ledger.waiting.items() if now - since > PATIENCE}
            await asyncio.sleep(min(1.0, max(0.01, 60 * self._plan.minutes / 500)))

    async def _probe(self) -> None:
        """Ask for the same seeded reply again and again."""
        work = Workload()
        tokenizer = self._engine.tokenizer
        [chat] = chats(work, tokenizer.vocab_size, 1, seed=self._plan.seed)
        request = Request(chat.prompt(tokenizer.frame), work.decoding(seed=1))
        while True:
            over = self._over()
            try:
                stream = self._engine.stream(request)
            except Overloaded:
                self._ledger.outcomes["refused"] += 1
                await asyncio.sleep(0.05)
                continue
            self._ledger.outcomes["taken"] += 1
            try:
                self._probes += [event.ids async for event in stream if isinstance(event, Finished)]
                self._ledger.outcomes["complete"] += 1
            except ConvaiError as error:
                self._ledger.outcomes["failed"] += 1
                self._ledger.errors.append(str(error))
            if over:
                return
            end = time.monotonic() + PROBE_EVERY
            while time.monotonic() < end and not self._over():
                await asyncio.sleep(0.05)

    # -- findings ----------------------------------------------------------------------------------

    def checks(self) -> dict[str, tuple[bool, str]]:
        """Name → whether all is well, and the figures to that."""
        seen, end, ledger = self._ledger.outcomes, self._end, self._ledger
        # a reply may be complete, or broken, before the word of its reader's leaving arrives
        counts = (
            end.submitted == seen["taken"] == seen["complete"] + seen["left"] + seen["failed"]
            and end.submitted == end.finished + end.expired + end.cancelled + end.failed
            and end.refused == seen["refused"]
            and end.finished + end.expired >= seen["complete"]
            and end.failed >= seen["failed"]
        )
        checks = {
            "no stuck request": (
                not self._stuck,
                f"longest wait for an event {ledger.longest_wait:.2f} s, {len(self._stuck)} guests gave up",
            ),
            "no failure": (
                not end.failed and self._health == "ok",
                f"{end.failed} of {end.submitted} requests failed, health {self._health}"
                + "".join(f"; {error}" for error in ledger.errors[:1]),
            ),
            "counters add up": (
                counts,
                f"{end.submitted} taken: {end.finished} finished, {end.expired} expired, {end.cancelled} "
                f"cancelled, {end.failed} failed; {end.refused} refused",
            ),
            "everything is free again": (
                not (end.waiting or end.running or end.slots_in_use),
                f"{end.running} running, {end.waiting} waiting, {end.slots_in_use} slots in use",
            ),
        }  # fmt: skip
        if self._precision == "float32":
            checks["a seeded reply stays the same"] = (
                len(set(self._probes)) == 1,
                f"{len(set(self._probes))} different replies in {len(self._probes)}",
            )
        if self._seconds >= JUDGED:
            early, late = ends_of(self._memory)
            checks["memory is flat"] = (
                late - early <= max(GROWTH * early, GROWTH_BYTES),
                f"{early / 2**20:.0f} MiB, then {late / 2**20:.0f} MiB",
            )
        return checks

    def told(self) -> dict[str, Any]:
        """Everything that was counted."""
        early, late = ends_of(self._memory)
        return {
            "size": self._plan.size,
            "chats": self._plan.chats,
            "seconds": self._seconds,
            "precision": self._precision,
            "outcomes": dict(self._ledger.outcomes),
            "actions": dict(self._ledger.actions),
            "tokens_per_s": self._ledger.tokens / self._seconds,
            "longest_wait_s": self._ledger.longest_wait,
            "engine": asdict(self._end),
            "memory_mib": {"early": early / 2**20, "late": late / 2**20, "most": max(self._memory) / 2**20},
            "probes": len(self._probes),
            "errors": self._ledger.errors[:10],
        }


def ends_of(samples: Sequence[int]) -> tuple[float, float]:
    """Medians of the third tenth, when everything has been touched once, and of the last tenth."""
    n = len(samples)
    early = samples[n // 5 : max(3 * n // 10, n // 5 + 1)]
    return statistics.median(early), statistics.median(samples[-max(n // 10, 1) :])


def main() -> int:
    """Run for some minutes; 1 where something is not as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--size", choices=SIZES, default="S")
    parser.add_argument("--chats", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--seed", type=int, default=0, help="what the guests do")
    found = measure(SoakPlan(**vars(parser.parse_args())), print)
    print(json.dumps(found))
    return 0 if found["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
