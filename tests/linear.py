"""How the time that something takes grows with what it is given, whatever the machine and its load."""

from __future__ import annotations

import time
from collections.abc import Callable

PARTS = 8
SLACK = 3.0
FLOOR = 0.02
"""Seconds below which nothing is told apart."""


def is_linear(do: Callable[[str], object], text: str) -> bool:
    """Whether `do` takes about eight times as long for `text` as for an eighth of it; squared it were 64.

    Counts this process' own time on the processor, the best of three.
    """
    part, whole = (min(_seconds(do, text[:n]) for _ in range(3)) for n in (len(text) // PARTS, len(text)))
    return whole <= SLACK * PARTS * max(part, FLOOR)


def _seconds(do: Callable[[str], object], text: str) -> float:
    begun = time.process_time()
    do(text)
    return time.process_time() - begun
