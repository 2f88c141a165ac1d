"""All that a door may know of an engine: its limits, streams of replies, counters, health, the end.

`convai.engine.engine.Engine` is the one that computes here; whatever else behaves so may stand in its place,
in another process or on another machine: what is said and answered is plain data (`convai.engine.messages`).
"""

from __future__ import annotations

from typing import Protocol

from convai.engine.messages import Health, ModelLimits, Request, Stats
from convai.engine.stream import Stream


class Port(Protocol):
    """An engine, to a door."""

    @property
    def limits(self) -> ModelLimits:
        """What its model takes."""

    def stream(self, request: Request) -> Stream:
        """Draw replies, event by event; closing the stream is the one way to cancel.

        Raises at once SettingsError for a request that does not fit, Overloaded when the queue is full, with
        the seconds to wait, and EngineClosed.
        """

    def stats(self) -> Stats:
        """What has been done, and what is going on."""

    def health(self) -> Health:
        """Whether it can be trusted; it costs nothing."""

    def close(self) -> None:
        """Break off all requests (their readers get EngineClosed) and take no more. May be called twice."""
