"""Many chats at once on an engine that costs nothing: what the transport adds to every token, and holds."""

from __future__ import annotations

import asyncio
import statistics
from typing import Any, Final

from convai.bench.server.clients import Crowd
from convai.bench.server.host import Host, Served, hosted

INTERVAL: Final = 0.5
"""Seconds between two tokens of a chat: of a thousand chats more tokens than two cores can draw."""
MOST_DELAY: Final = 0.050
"""Seconds that the transport may add to a token (99 of 100 of them)."""
MOST_KB: Final = 60.0
"""Kilobytes that a connection may cost above idle."""
LONG: Final = {"max_length": 512, "min_length": 512, "seed": 1}
"""Replies that do not end while they are measured."""
LINES: Final = ("tell me a long story about the sea.",)
_WARM: Final = 4
"""The part of the chats that is there before idle is measured: what is loaded and cached once is idle's."""
SETTLE: Final = 3.0
"""Seconds before memory is looked at."""
_PATIENCE: Final = 120.0


def measure(chats: int, seconds: float, interval: float = INTERVAL, settle: float = SETTLE) -> dict[str, Any]:
    """The figures of `chats` chats that each get a token every `interval` seconds, for `seconds`."""
    with hosted(Served(interval=interval)) as host:
        return asyncio.run(_measure(host, chats, seconds, interval, settle))


async def _measure(host: Host, chats: int, seconds: float, interval: float, settle: float) -> dict[str, Any]:
    warm = Crowd(host.url, max(chats // _WARM, 1), lines=LINES, settings=dict(LONG), stamped=True)
    await warm.enter()
    await warm.talk(_PATIENCE)
    await warm.window(settle)
    await warm.leave()
    await asyncio.sleep(settle)
    idle = await asyncio.to_thread(host.memory)
    crowd = Crowd(host.url, chats, lines=LINES, settings=dict(LONG), stamped=True)
    await crowd.enter()
    await crowd.talk(_PATIENCE)
    early = await crowd.window(2 * settle)
    notes = await crowd.window(seconds)
    loaded = await asyncio.to_thread(host.memory)
    stats = await asyncio.to_thread(host.call, "stats")
    await crowd.leave()
    await asyncio.sleep(settle)
    after = await asyncio.to_thread(host.memory)
    delays = sorted(notes.delays)
    return {
        "chats": chats,
        "sockets": stats["sockets"],
        "tokens_per_s": notes.tokens / seconds,
        "expected_tokens_per_s": chats / interval,
        "delay_ms": {
            "median": 1000 * statistics.median(delays),
            "p99": 1000 * delays[int(len(delays) * 0.99)],
            "most": 1000 * delays[-1],
        },
        "kb_per_connection": (loaded - idle) / chats / 1024,
        "memory_mib": {"idle": idle / 2**20, "loaded": loaded / 2**20, "after": after / 2**20},
        "errors": dict(notes.errors + early.errors),
    }
