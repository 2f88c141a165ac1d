"""What is measured, for Prometheus: how long tokens take, and what the engine and the sockets are doing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from convai.engine import Stats

Door = Literal["socket", "rest"]
Outcome = Literal["finished", "stopped", "left", "shutdown", "failed"]
_FIRST: Final = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 30.0)
_BETWEEN: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5)
"""Bounds of the histograms' buckets, in seconds."""


class Metrics:
    """The measurements of one server. Each has a registry of its own: two in a process do not add up."""

    def __init__(
        self,
        stats: Callable[[], Stats],
        connections: Callable[[], int],
        moved: Callable[[], int] = lambda: 0,
    ) -> None:
        """`moved`: replies that have gone on at another engine."""
        self.registry = CollectorRegistry()
        self.registry.register(_Now(stats, connections, moved))
        self.first_token = Histogram(
            "convai_time_to_first_token_seconds",
            "From a request to the first token of its reply.",
            ["door"],
            buckets=_FIRST,
            registry=self.registry,
        )
        self.inter_token = Histogram(
            "convai_inter_token_seconds",
            "From one token of a reply to the next.",
            ["door"],
            buckets=_BETWEEN,
            registry=self.registry,
        )
        self.replies = Counter(
            "convai_replies", "Replies that have ended, by how.", ["door", "outcome"], registry=self.registry
        )
        self.rejected = Counter(
            "convai_rejected", "Requests and connections refused, by why.", ["reason"], registry=self.registry
        )
        self.marks = Counter(
            "convai_marks",
            "Messages (emotion) and branches (coref) that were read along, by how that ended.",
            ["kind", "outcome"],
            registry=self.registry,
        )

    def text(self) -> bytes:
        """The measurements in Prometheus' text format."""
        return generate_latest(self.registry)


class Pace:
    """Times the tokens of one reply: hand it the clock's seconds at each."""

    def __init__(self, metrics: Metrics, door: Door, begun: float) -> None:
        self._first = metrics.first_token.labels(door)
        self._between = metrics.inter_token.labels(door)
        self._last, self._any = begun, False

    def token(self, now: float) -> None:
        """A token has come."""
        (self._between if self._any else self._first).observe(max(now - self._last, 0.0))
        self._last, self._any = now, True


class _Now(Collector):
    """What is read at the moment of asking."""

    def __init__(
        self, stats: Callable[[], Stats], connections: Callable[[], int], moved: Callable[[], int]
    ) -> None:
        self._stats, self._connections, self._moved = stats, connections, moved

    def collect(self) -> Iterable[Metric]:
        stats = self._stats()
        moved = self._moved()
        gauges = {
            "convai_connections": ("Sockets that are connected.", self._connections()),
            "convai_queue": ("Requests that wait for a slot.", stats.waiting),
            "convai_running": ("Requests that are being computed.", stats.running),
            "convai_slots_in_use": ("Slots of the cache that replies are computed in.", stats.slots_in_use),
            "convai_slots": ("Slots of the cache.", stats.slots),
            "convai_cache_bytes": ("Memory of the cache.", stats.cache_bytes),
            "convai_adapters_loaded": ("Adapters that are in memory.", stats.loaded),
        }
        counters = {
            "convai_engine_submitted": ("Requests that the engine took.", stats.submitted),
            "convai_engine_finished": ("Requests that came to their end.", stats.finished),
            "convai_engine_cancelled": ("Requests whose reader left or stopped them.", stats.cancelled),
            "convai_engine_failed": ("Requests that broke off.", stats.failed),
            "convai_engine_refused": ("Requests that found the queue full.", stats.refused),
            "convai_engine_moved": ("Replies that have gone on at another engine.", moved),
            "convai_adapter_loads": ("Adapters that were loaded when asked for.", stats.loads),
            "convai_adapter_evictions": ("Adapters that made room for others.", stats.evictions),
            "convai_tokens_drawn": ("Tokens of replies.", stats.tokens_drawn),
            "convai_tokens_computed": ("Tokens that went through the model.", stats.tokens_computed),
            "convai_tokens_reused": ("Tokens of prompts that were in the cache.", stats.tokens_reused),
        }
        for name, (doc, value) in gauges.items():
            yield GaugeMetricFamily(name, doc, value=value)
        for name, (doc, value) in counters.items():
            yield CounterMetricFamily(name, doc, value=value)
