"""An engine that computes nothing: its replies are times, a token every so often, as many as are asked for.

Each token's text is the clock's reading when it was handed over, so that a client on the same machine sees
how long it was on its way. Tokens reach their readers as the real engine's do, from one thread through
mailboxes.
"""

from __future__ import annotations

import heapq
import threading
import time
from dataclasses import replace
from typing import Final

from convai.core.settings import EngineConfig
from convai.engine import Finished, Request, Stream, Token
from convai.engine.errors import EngineClosed
from convai.engine.job import Job, new_job
from convai.engine.mailbox import Parcel
from convai.engine.stats import Health, Stats

_POSITIONS: Final = 4096


class StubEngine:
    """Stands where `convai.engine.Engine` does. `interval`: seconds between the tokens of a reply."""

    def __init__(self, interval: float) -> None:
        self.config = EngineConfig(slots=1024)
        self._interval = interval
        self._stats = Stats()
        self._due: list[tuple[float, int, Job, int]] = []
        self._left: set[Job] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._count = 0
        self._thread = threading.Thread(target=self._serve, name="stub-engine", daemon=True)
        self._thread.start()

    # -- what a server asks of an engine ---------------------------------------------------------------

    def stream(self, request: Request) -> Stream:
        """Begin a reply of as many tokens as the request allows. Raises EngineClosed."""
        job = new_job(request, _POSITIONS, now=time.monotonic(), deadline=None)
        with self._changed:
            if self._closed:
                raise EngineClosed
            self._count += 1
            # replies begin at different moments, as they do where people talk
            first = time.monotonic() + self._interval * ((self._count * 0.618) % 1)
            heapq.heappush(self._due, (first, self._count, job, 0))
            self._stats.submitted += 1
            self._stats.running += 1
            self._changed.notify()
        return Stream(self, job)

    def next_parcel(self, job: Job) -> Parcel:
        """The next events of a reply, for a thread."""
        return job.mailbox.wait()

    async def arriving_parcel(self, job: Job) -> Parcel:
        """The next events of a reply, for a coroutine."""
        return await job.mailbox.arrive()

    def cancel(self, job: Job) -> None:
        """Nobody reads it any more."""
        with self._changed:
            self._left.add(job)
        job.mailbox.put(Parcel((), over=True))

    def stats(self) -> Stats:
        """What was done."""
        with self._changed:
            return replace(self._stats)

    def health(self) -> Health:
        """How it is."""
        return Health("closed" if self._closed else "ok")

    def close(self) -> None:
        """The end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    # -- the thread ------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._closed and not (self._due and self._due[0][0] <= time.monotonic()):
                    wait = self._due[0][0] - time.monotonic() if self._due else None
                    self._changed.wait(wait if wait is None else max(wait, 0.0))
                if self._closed:
                    return
                due, number, job, done = heapq.heappop(self._due)
                if job in self._left:
                    self._left.discard(job)
                    self._over("cancelled")
                    continue
                self._stats.tokens_drawn += 1
                self._stats.steps += 1
                last = done + 1 >= job.limit
                if last:
                    self._over("finished")
                else:
                    heapq.heappush(self._due, (due + self._interval, number, job, done + 1))
            job.mailbox.put(self._parcel(job, done + 1, last))

    def _over(self, how: str) -> None:
        setattr(self._stats, how, getattr(self._stats, how) + 1)
        self._stats.running -= 1

    def _parcel(self, job: Job, count: int, last: bool) -> Parcel:
        token = Token(0, 97, f" {time.monotonic():.6f}", -1.0)
        if not last:
            return Parcel((token,))
        end = Finished(0, (97,) * count, "stub", -float(count), 0.5, "length")
        return Parcel((token, end), over=True)
