"""What may listen to a conversation and lean on its replies: plain callables, the same at every door."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from convai.core.dialog import Turn

_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What leans on a reply.

    `preference` gives the texts of several candidates a bonus each, added to their scores; what it raises is
    logged, and counts as none. `history` gives the turns, each in its place, in the words that the model is
    to read; it raises nothing.
    """

    preference: Callable[[Sequence[str]], Sequence[float]] | None = None
    history: Callable[[Sequence[Turn]], Sequence[Turn]] | None = None


NO_HOOKS: Final = Hooks()


def notify(listener: Callable[[Turn], None] | None, turn: Turn) -> None:
    """Call `listener`; what it raises is logged and no more."""
    if listener is None:
        return
    try:
        listener(turn)
    except Exception:  # a listener must not break the chat
        _logger.exception("what listens to the chat failed")


def bonuses(
    preference: Callable[[Sequence[str]], Sequence[float]] | None, texts: Sequence[str]
) -> list[float]:
    """What `preference` adds to each candidate; nothing where there is none, or it fails, which is logged."""
    if preference is None:
        return [0.0] * len(texts)
    try:
        found = [float(value) for value in preference(texts)]
        if len(found) == len(texts):
            return found
        _logger.error("the preference gave %d scores for %d candidates", len(found), len(texts))
    except Exception:  # a preference must not break the reply
        _logger.exception("the preference among candidates failed")
    return [0.0] * len(texts)
