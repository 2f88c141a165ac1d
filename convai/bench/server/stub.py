"""An engine that computes nothing: its replies are times, a token every so often, as many as are asked for.

Each token's text is the clock's reading when it was handed over, so that a client on the same machine sees
how long it was on its way. Tokens reach their readers as the real engine's do, from one thread through
mailboxes.
"""

from __future__ import annotations

import heapq
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Final

from convai.engine import EngineClosed, Event, Finished, Health, ModelLimits, Request, Stats, Stream, Token
from convai.engine.mailbox import Mailbox, Parcel
from convai.engine.stream import MailboxSource

_LIMITS: Final = ModelLimits(positions=4096, vocabulary=261, slots=1024, name="stub")


@dataclass(slots=True, eq=False)
class _Reply:
    """One that is being drawn: `length` tokens of it in all."""

    request: Request
    length: int
    mailbox: Mailbox = field(default_factory=Mailbox)
    left: bool = False


def _leave(reply: _Reply) -> None:
    reply.left = True
    reply.mailbox.put(Parcel((), over=True))


class StubEngine:
    """A `convai.engine.Port`. `interval`: seconds between the tokens of a reply."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._stats = Stats()
        self._due: list[tuple[float, int, _Reply, int]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._count = 0
        self._known: set[str] = set()
        self._thread = threading.Thread(target=self._serve, name="stub-engine", daemon=True)
        self._thread.start()

    # -- what a server asks of an engine ---------------------------------------------------------------

    @property
    def limits(self) -> ModelLimits:
        """As if there were a model."""
        return _LIMITS

    def stream(self, request: Request) -> Stream:
        """Begin a reply of as many tokens as the request allows. Raises EngineClosed, SettingsError."""
        reply = _Reply(request, request.room(_LIMITS.positions))
        begun = sum(len(one.ids) for one in request.begun)
        with self._changed:
            if self._closed:
                raise EngineClosed
            self._count += 1
            # replies begin at different moments, as they do where people talk
            first = time.monotonic() + self._interval * ((self._count * 0.618) % 1)
            heapq.heappush(self._due, (first, self._count, reply, begun))
            self._looked_up(request)
            self._stats.submitted += 1
            self._stats.running += 1
            self._changed.notify()
        return Stream(MailboxSource(reply.mailbox, lambda: _leave(reply)))

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
                due, number, reply, done = heapq.heappop(self._due)
                if reply.left:
                    self._over("cancelled")
                    continue
                drawn = done < reply.length  # or it was begun elsewhere, and lacks its end alone
                self._stats.tokens_drawn += drawn
                self._stats.steps += 1
                last = done + 1 >= reply.length
                if last:
                    self._over("finished")
                else:
                    heapq.heappush(self._due, (due + self._interval, number, reply, done + 1))
            reply.mailbox.put(self._parcel(reply, done, drawn, last))

    def _over(self, how: str) -> None:
        setattr(self._stats, how, getattr(self._stats, how) + 1)
        self._stats.running -= 1

    def _looked_up(self, request: Request) -> None:
        """As if the cache held every conversation that was here."""
        length = len(request.prompt)
        if request.session and request.session in self._known:
            self._stats.tokens_reused += length
        else:
            self._stats.tokens_computed += length
            self._known.add(request.session)

    def _parcel(self, reply: _Reply, place: int, drawn: bool, last: bool) -> Parcel:
        events: list[Event] = [self.token(reply.request, place)] if drawn else []
        if last:
            ids, text = self.whole(reply.request, reply.length)
            events.append(Finished(0, ids, text, -float(len(ids)), 0.5, "length"))
        return Parcel(events, over=last)

    def token(self, request: Request, place: int) -> Token:
        """Token number `place` of a reply, counted from 0."""
        return Token(0, 97, f" {time.monotonic():.6f}", -1.0)

    def whole(self, request: Request, count: int) -> tuple[tuple[int, ...], str]:
        """The ids and the text of a whole reply."""
        return (97,) * count, "stub"
