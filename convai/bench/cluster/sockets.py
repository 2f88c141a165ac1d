"""Many readers of replies at several doors: how long a token is on its way, and what it costs.

The engines' tokens are the time at which they were drawn (`bench.server.stub`). The price is the processor
time of doors, engines and PostgreSQL, held against one door with the engine in its own process and SQLite.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from convai.bench.cluster.kills import Size, Town, town
from convai.bench.cluster.processes import processor_seconds
from convai.bench.server.clients import ClientFigures, Crowd
from convai.bench.server.host import Served, hosted
from convai.bench.server.transport import LINES, LONG

_PATIENCE: Final = 600.0
_KEEPALIVE: Final = 300.0
"""Seconds between two pings of a reader, and for the answer: a busy machine is no lost connection."""


def measure(sockets: int, size: Size, seconds: float) -> dict[str, Any]:
    """`sockets` readers at the doors of `size`, for `seconds`; then one door's share of them at one alone."""
    with town(size, counting=False) as made:
        cluster = asyncio.run(_cluster(made, sockets, seconds))
    alone = sockets // size.doors
    with hosted(Served(interval=size.interval)) as host:
        pid = host.call("stats")["pid"]
        one = asyncio.run(_read([host.url], alone, seconds, lambda: {"door": processor_seconds(pid)}))
    return {
        "doors": size.doors,
        "engines": size.engines,
        "interval": size.interval,
        "cluster": cluster,
        "one_door": one,
        "price": cluster["us_per_token"] / one["us_per_token"],
    }


async def _cluster(made: Town, sockets: int, seconds: float) -> dict[str, Any]:
    await made.start()
    parts = {
        "doors": [one.pid for one in made.doors],
        "engines": [one.pid for one in made.engines],
        "PostgreSQL": [made.database.pid],
    }

    def spent() -> dict[str, float]:
        return {what: sum(map(processor_seconds, pids)) for what, pids in parts.items()}

    urls = [f"http://127.0.0.1:{one.port}" for one in made.doors]
    return await _read(urls, sockets, seconds, spent)


async def _read(
    urls: Sequence[str], sockets: int, seconds: float, spent: Callable[[], dict[str, float]]
) -> dict[str, Any]:
    shares = [len(range(number, sockets, len(urls))) for number in range(len(urls))]
    crowds, first = [], 0
    for url, share in zip(urls, shares, strict=True):
        crowds.append(
            Crowd(
                url,
                share,
                lines=LINES,
                settings=dict(LONG),
                stamped=True,
                first=first,
                keepalive=_KEEPALIVE,
            )
        )
        first += share
    for crowd in crowds:
        await crowd.enter()
    await asyncio.gather(*(crowd.talk(_PATIENCE) for crowd in crowds))
    begun, before, own = time.monotonic(), spent(), time.process_time()
    every: list[ClientFigures] = await asyncio.gather(*(crowd.window(seconds) for crowd in crowds))
    took, after, readers = time.monotonic() - begun, spent(), time.process_time() - own
    for crowd in crowds:
        await crowd.leave()
    delays = sorted(delay for notes in every for delay in notes.delays)
    tokens = sum(notes.tokens for notes in every)
    parts = {what: after[what] - seconds for what, seconds in before.items()}
    used = sum(parts.values())
    errors = {name: count for notes in every for name, count in notes.errors.items()}
    return {
        "sockets": sockets,
        "seconds": took,
        "tokens": tokens,
        "us_per_token": 1e6 * used / tokens,
        "parts_us": {what: 1e6 * seconds / tokens for what, seconds in parts.items()},
        "busy": used / took,
        "readers_busy": readers / took,
        "delay_ms": {
            "median": 1000 * statistics.median(delays),
            "p99": 1000 * delays[int(len(delays) * 0.99)],
            "most": 1000 * delays[-1],
        },
        "errors": errors,
    }
