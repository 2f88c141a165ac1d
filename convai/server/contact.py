"""Whether a door has its database: how long that has not answered, and whether no word of it comes here.

A database that restarts refuses whoever connects, and is back in a moment: what was told is told then. One
that is cut off from this door says nothing, and others have it: readers are better off at theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

SILENT: Final = 3.0
"""Seconds without an answer, and without the connection that listens, after which this door is not well."""
UNANSWERED: Final = 2.0
"""Seconds after which a question that was not even refused says that the database is cut off."""


class Contact:
    """What a door's signs of life tell of its database. `asking` and the rest belong to one thread."""

    def __init__(self, held: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        """`held`: whether the connection that listens is there; the kernel ends it when nobody answers."""
        self._held, self._clock = held, clock
        self._answered = clock()
        self._asked: float | None = None
        self._mute = False
        """Whether the last question had no answer, not even a refusal."""

    @contextmanager
    def asking(self) -> Iterator[None]:
        """The database is asked in the block; it has answered unless that raises."""
        self._asked = begun = self._clock()
        try:
            yield
            self._answered = begun = self._clock()
        finally:
            self._asked, self._mute = None, self._clock() - begun >= UNANSWERED

    @property
    def away(self) -> float:
        """Seconds for which it has not answered; 0 while that is no matter."""
        seconds = self._clock() - self._answered
        return 0.0 if self._held() or seconds < SILENT else seconds

    @property
    def cut_off(self) -> bool:
        """Whether it does not even refuse."""
        waits = self._asked is not None and self._clock() - self._asked >= UNANSWERED
        return self.away > 0 and (self._mute or waits)
