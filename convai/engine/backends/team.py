"""How many threads share a forward pass, which is as fast as the slowest of them.

Threads that compute one pass wait for each other a hundred times in it. Where another process takes a core
away from one of them, all the others spin until it is scheduled again: with two threads, two cores and busy
neighbours a reply took ten times the processor time that it takes with one thread. Whether the threads run is
seen from their own processor time: in a pass without disturbance it is threads x seconds, waiting included.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import torch

WINDOW: Final = 0.02
"""Seconds of computing that a judgement is made of."""
ENOUGH: Final = 0.8
"""Share of threads x seconds that they must have had a processor."""
FIRST_PAUSE: Final = 0.25
"""Seconds until more threads are tried again; twice as many when that fails, up to LONGEST_PAUSE."""
LONGEST_PAUSE: Final = 4.0


class Team:
    """The number of threads: all, or half, a quarter ... as many as run at once.

    Larger teams are tried again in passes that are `brief`, since one that is disturbed takes long.
    """

    def __init__(self, most: int | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`most`: threads to use at most; None is torch's number, whatever it is at the time."""
        self._most, self._clock = most, clock
        self._halved = 0
        self._judged, self._wall, self._busy = (
            0,
            0.0,
            0.0,
        )  # passes of so many threads, since the last judgement
        self._pause, self._wait_until = FIRST_PAUSE, 0.0

    def size(self, *, brief: bool = False) -> int:
        """Threads for the next pass. `brief`: it has few places at which they wait for each other."""
        most = self._most or torch.get_num_threads()
        tries = brief and self._halved and self._clock() >= self._wait_until
        return max(1, most >> (self._halved - 1 if tries else self._halved))

    def tell(self, threads: int, wall: float, busy: float) -> None:
        """A pass of `threads` took `wall` seconds, and `busy` seconds of processor time of all of them."""
        used = self.size()
        if threads == used == 1:
            return
        if threads != self._judged:
            self._judged, self._wall, self._busy = threads, 0.0, 0.0
        self._wall += wall
        self._busy += busy
        runs = self._busy >= ENOUGH * threads * self._wall
        if threads > used and (self._wall >= WINDOW / 2 or not runs):
            self._judged = 0
            if runs:
                self._halved -= 1
            else:
                self._later()
        elif threads <= used and self._wall >= WINDOW:
            self._judged = 0
            if not runs:
                self._halved += 1
                self._later()

    def _later(self) -> None:
        now = self._clock()
        again = now - self._wait_until < 2 * self._pause  # the last try is not long ago
        self._pause = min(2 * self._pause, LONGEST_PAUSE) if again else FIRST_PAUSE
        self._wait_until = now + self._pause
