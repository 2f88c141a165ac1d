"""What can go wrong with a store, each as one line for a person."""

from __future__ import annotations

from convai.conversation.tree import Conflict
from convai.core.errors import ConvaiError

__all__ = ["Conflict", "NotFound", "StoreError"]


class StoreError(ConvaiError):
    """The database cannot be opened, read or written."""


class NotFound(StoreError):
    """There is no such conversation or message, or it is somebody else's: the two look the same."""
