"""`convai bench decode`: one chat at a time, ours against the others, and how near the memory's limit.

A chat is new: its prompt of about 147 tokens is computed, then a reply of 20 is drawn. Then ours alone goes
through conversations of ten turns: what is known of a conversation is not computed again, so the first token
of its tenth turn is to come within 1.5 times the time of its first.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any, Final

from convai.bench.compare import Field
from convai.bench.contenders.registry import OURS
from convai.bench.inference import BenchPlan, compared, contenders, header, missing_lines, rows, surroundings

TURNS: Final = 10
WITHIN: Final = 1.5


def measure(plan: BenchPlan, show: Callable[[str], None]) -> tuple[dict[str, float], dict[str, Any]]:
    """Ratios `SIZE/1/vs_BASELINE` and `SIZE/1/turn10_within_1.5x`, and the figures behind them.

    `show` gets the table line by line.
    """
    bandwidth, raw = surroundings(plan, show)
    show(header())
    flat: dict[str, float] = {}
    for size in plan.sizes:
        with contenders(plan, size, 1) as (setup, field, told):
            figures, ratio = compared(field, setup, size, 1, plan.rounds, bandwidth)
            for line in (*rows(size, 1, figures, ratio), *missing_lines(size, field.missing)):
                show(line)
            turns = conversations(field, plan.rounds)
        flat.update({f"{size}/1/{name}": value for name, value in ratio.items()})
        first, last = (turns["first_token_ms"][i] for i in (0, -1))
        flat[f"{size}/1/turn{TURNS}_within_{WITHIN}x"] = WITHIN * first / last
        show(
            f"{size:<5} a conversation: first token of turn 1 in {first:.1f} ms, of turn {TURNS} in "
            f"{last:.1f} ms ({last / first:.2f} x)"
        )
        raw[size] = {**told, "1": figures, "turns": turns, "missing": dict(field.missing)}
    return flat, raw


def conversations(field: Field, count: int) -> dict[str, list[float]]:
    """Medians over `count` conversations (after one to warm up), a value a turn."""
    worker = field.workers[OURS]
    runs = [worker.call("conversation", TURNS, seed) for seed in range(count + 1)][1:]
    columns = [list(zip(*turn, strict=True)) for turn in zip(*runs, strict=True)]
    return {
        "first_token_ms": [1000 * statistics.median(seconds) for seconds, _, _ in columns],
        "prompt_tokens": [statistics.median(prompt) for _, prompt, _ in columns],
        "known_tokens": [statistics.median(known) for _, _, known in columns],
    }
