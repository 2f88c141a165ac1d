"""People who chat with a real model at once, without pauses: who waits, and what does serving cost?"""

from __future__ import annotations

import asyncio
import json
import statistics
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

from convai.bench.server.clients import Crowd
from convai.bench.server.host import Host, Served, hosted
from convai.core import resources
from convai.core.dialog import USER

WITHIN: Final = 3.0
"""Nobody's wait for a first token may be longer than so many medians."""
SHARE: Final = 0.9
"""Of the engine's own speed that is to reach the people."""
SEED: Final = 7
_PATIENCE: Final = 60.0
_SETTLE: Final = 2.0
KEEPALIVE: Final = 2.0
"""Seconds between two pings of everybody, and for the pong: ten times as often as usual."""


def measure(
    people: int, seconds: float, model: str | None, precision: str, apart: bool = False
) -> dict[str, Any]:
    """The engine alone, then the same conversations through the server, `seconds` each, twice.

    `apart`: the server's model has a process of its own; the engine that is measured alone never has.
    """
    kind = Served(model=model, precision=precision)
    with ExitStack() as opened:
        alone = opened.enter_context(hosted(kind))
        host = opened.enter_context(hosted(replace(kind, apart=True))) if apart else alone
        return asyncio.run(_measure(alone, host, people, seconds, sample_lines()))


def sample_lines() -> list[str]:
    """What users say in the sample dialogues that travel with convai."""
    path = resources.data_dir() / "sample_dialogues.jsonl"
    dialogues = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [turn["text"] for one in dialogues for turn in one["turns"] if turn["speaker"] == USER]


async def _measure(alone: Host, host: Host, people: int, seconds: float, lines: list[str]) -> dict[str, Any]:
    direct, served = [], []
    waits: list[float] = []
    means: list[float] = []
    errors: dict[str, int] = {}
    replies = 0
    for one in {alone, host}:  # everything is touched once
        await asyncio.to_thread(one.call, "direct", people, _SETTLE, SEED, lines)
    for _ in range(2):
        found = await asyncio.to_thread(alone.call, "direct", people, seconds, SEED, lines)
        direct.append(found["tokens_per_s"])
        # an address each: somebody who never pauses is within the limits, sixteen of them are not
        crowd = Crowd(
            host.url, people, lines=lines, settings={}, stamped=False, sharing=1, keepalive=KEEPALIVE
        )
        await crowd.enter()
        await crowd.talk(_PATIENCE)
        before = await asyncio.to_thread(host.call, "stats")
        loop = asyncio.get_running_loop()
        begun = loop.time()
        notes = await crowd.window(seconds, replies=1)
        after = await asyncio.to_thread(host.call, "stats")
        served.append((after["tokens_drawn"] - before["tokens_drawn"]) / (loop.time() - begun))
        await crowd.leave()
        waits += [wait for mine in notes.waits.values() for wait in mine]
        means += [statistics.mean(mine) for mine in notes.waits.values()]
        replies += notes.replies
        errors |= dict(notes.errors)
        await asyncio.sleep(_SETTLE)
    waits.sort()
    return {
        "people": people,
        "engine_tokens_per_s": direct,
        "served_tokens_per_s": served,
        "share": statistics.mean(served) / statistics.mean(direct),
        "replies": replies,
        "first_token_ms": {
            "median": 1000 * statistics.median(waits),
            "p99": 1000 * waits[int(len(waits) * 0.99)],
            "most": 1000 * waits[-1],
            "slowest_person": 1000 * max(means),
            "median_person": 1000 * statistics.median(means),
        },
        "errors": errors,
    }
