"""The processor: which cores a process may use, and how its threads take turns."""

from __future__ import annotations

import gc
import os
import sys
from typing import Final

Cores = frozenset[int]
_SWITCH: Final = 0.0005
"""Seconds after which a thread hands over to another one that waits."""


def allowed() -> Cores:
    """The cores of this process; call it before torch is imported. All of them where nobody can tell."""
    if sys.platform == "linux":
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def keep(cores: Cores) -> None:
    """Go back to `cores`: after torch's import, before it makes threads. Elsewhere than on Linux, nothing.

    Loading torch's library gives a process back all cores. Seen with torch 2.13 on Linux: after `taskset -c 1
    python`, `import torch` leaves it on every core of the machine. Whoever pins a benchmark wants it to stay.
    """
    if sys.platform == "linux" and cores != os.sched_getaffinity(0):
        os.sched_setaffinity(0, cores)


def prefer_latency() -> None:
    """Set the interpreter up for an event loop beside a thread that computes.

    Threads hand over to each other ten times as often as by default, so that the event loop gets its turn
    beside the model and the store; and what was loaded so far is left out of garbage collections, which
    would stop everything for a tenth of a second.
    """
    sys.setswitchinterval(_SWITCH)
    gc.collect()
    gc.freeze()
