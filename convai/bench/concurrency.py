"""`convai bench concurrency`: many chats that come at once, ours against the others.

Then ours alone: how long a new chat waits for its first token while as many others run, which is to be
within 3 times what it waits for alone; and, where it is asked for, the memory of as many chats that fill the
context.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any, Final

from convai.bench.contenders.registry import OURS
from convai.bench.inference import BenchPlan, compared, contenders, header, missing_lines, rows, surroundings
from convai.bench.worker import Worker
from convai.core.errors import SettingsError

WITHIN: Final = 3
MEMORY: Final = 3e9
"""Bytes that our process may take with 32 chats of 1,024 tokens each."""
NEW_CHATS: Final = 4
"""New chats a round whose first token is waited for."""


def measure(
    plan: BenchPlan, chats: Sequence[int], show: Callable[[str], None], *, memory: bool = False
) -> tuple[dict[str, float], dict[str, Any]]:
    """Ratios `SIZE/CHATS/vs_BASELINE` and `SIZE/CHATS/first_token_within_3x`, with `memory` also
    `SIZE/CHATS/memory_within_3gb`, and the figures behind them.

    `show` gets the table line by line. Raises SettingsError for a number of chats below 1.
    """
    if not chats or min(chats) < 1:
        raise SettingsError(f"chats={min(chats, default=0)}: use 1 or more")
    bandwidth, raw = surroundings(plan, show)
    show(header())
    flat: dict[str, float] = {}
    for size in plan.sizes:
        with contenders(plan, size, max(chats)) as (setup, field, told):
            raw[size] = dict(told)
            for count in chats:
                figures, ratio = compared(field, setup, size, count, plan.rounds, bandwidth)
                for line in rows(size, count, figures, ratio):
                    show(line)
                flat.update({f"{size}/{count}/{name}": value for name, value in ratio.items()})
                raw[size][str(count)] = figures
            for line in missing_lines(size, field.missing):
                show(line)
            raw[size]["missing"] = dict(field.missing)
            alone, loaded = waits(field.workers[OURS], max(chats), NEW_CHATS * plan.rounds)
            peak, tokens = field.workers[OURS].call("memory", max(chats), 3) if memory else (0, 0)
        flat[f"{size}/{max(chats)}/first_token_within_{WITHIN}x"] = WITHIN * alone / loaded
        raw[size]["first_token"] = {"alone_ms": alone, "loaded_ms": loaded, "others": max(chats)}
        show(
            f"{size:<5} a new chat: first token in {alone:.1f} ms alone, in {loaded:.1f} ms while "
            f"{max(chats)} others run ({loaded / alone:.2f} x)"
        )
        if memory:
            flat[f"{size}/{max(chats)}/memory_within_{MEMORY / 1e9:.0f}gb"] = MEMORY / peak
            raw[size]["memory"] = {"peak_bytes": peak, "chats": max(chats), "tokens_each": tokens}
            show(f"{size:<5} {max(chats)} chats of {tokens:,} tokens: {peak / 1e9:.2f} GB at the peak")
    return flat, raw


def waits(worker: Worker, busy: int, count: int) -> tuple[float, float]:
    """Milliseconds to the first token of a new chat: alone, and while `busy` others run (medians)."""
    alone = worker.call("first_tokens", 0, count, 1)
    loaded = worker.call("first_tokens", busy, count, 2)
    return 1000 * statistics.median(alone), 1000 * statistics.median(loaded)
