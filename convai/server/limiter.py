"""How much each address may ask for: connections, replies at once, requests a minute. No I/O."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

from convai.core.errors import ConvaiError
from convai.core.settings import ServerConfig

Reason = Literal["queue", "rate", "connections", "draining"]
_KNOWN: Final = 10_000
"""Addresses whose rate is remembered; the one that was silent longest is forgotten first."""
UPLOADS: Final = 16
UPLOADS_PER_ADDRESS: Final = 4
"""Bodies of requests that are received at once."""
RETRY: Final = 1.0
"""Seconds after which a place may have become free, where nothing better is known."""


class Busy(ConvaiError):
    """Not now; ask again after `retry` seconds."""

    def __init__(self, reason: Reason, retry: float, message: str = "") -> None:
        said = {
            "queue": "too many replies are being written",
            "rate": "too many requests",
            "connections": "too many connections",
            "draining": "the server is about to stop",
        }[reason]
        super().__init__(f"{message or said}; try again in {max(retry, 0.1):.1f} seconds")
        self.reason: Reason = reason
        self.retry = min(max(retry, 0.1), 86_400.0)


class Limiter:
    """What the addresses hold at the moment, and their rates (token buckets that fill in a minute)."""

    def __init__(self, config: ServerConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config, self._clock = config, clock
        self._sockets: Counter[str] = Counter()
        self._replies: Counter[str] = Counter()
        self._uploads: Counter[str] = Counter()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def sockets(self) -> int:
        """Sockets that are connected."""
        return self._sockets.total()

    @contextmanager
    def socket(self, address: str) -> Iterator[None]:
        """A connected socket. Raises Busy."""
        if self._sockets[address] >= self._config.connections_per_address:
            raise Busy("connections", RETRY, "too many connections from this address")
        if self.sockets >= self._config.connections:
            raise Busy("connections", RETRY)
        self._sockets[address] += 1
        try:
            yield
        finally:
            _less(self._sockets, address)

    @contextmanager
    def upload(self, address: str) -> Iterator[None]:
        """The body of a request on its way. Raises Busy."""
        if self._uploads[address] >= UPLOADS_PER_ADDRESS or self._uploads.total() >= UPLOADS:
            raise Busy("connections", RETRY, "too many uploads at once")
        self._uploads[address] += 1
        try:
            yield
        finally:
            _less(self._uploads, address)

    def begin_reply(self, address: str) -> Callable[[], None]:
        """A reply that is being written, until what is returned is called (once or more). Raises Busy."""
        if self._replies[address] >= self._config.generations:
            raise Busy("queue", RETRY, "too many replies at once for this address")
        self._replies[address] += 1
        held = [address]

        def release() -> None:
            if held:
                _less(self._replies, held.pop())

        return release

    def request(self, address: str) -> None:
        """One more request. Raises Busy."""
        most, now = float(self._config.rate), self._clock()
        tokens, then = self._buckets.pop(address, (most, now))
        tokens = min(most, tokens + (now - then) * most / 60)
        spent = tokens >= 1
        self._buckets[address] = (tokens - spent, now)
        if len(self._buckets) > _KNOWN:
            self._buckets.popitem(last=False)
        if not spent:
            raise Busy("rate", (1 - tokens) * 60 / most)


def _less(counter: Counter[str], address: str) -> None:
    counter[address] -= 1
    if counter[address] <= 0:
        del counter[address]
