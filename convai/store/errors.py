"""What can go wrong with a store, each as one line for a person."""

from __future__ import annotations

from convai.core.errors import ConvaiError


class StoreError(ConvaiError):
    """The database cannot be opened, read or written."""


class NotFound(StoreError):
    """There is no such conversation or message, or it is somebody else's: the two look the same."""


class Conflict(StoreError):
    """The conversation has moved on, or is not in the state that the operation needs."""
