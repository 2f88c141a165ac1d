"""Who is meant in a chat: its turns are read beside the conversation, never in its way.

A `LinkReader` reads in a thread of its own, from the first time that somebody asks. What goes wrong there is
told to whoever asks; the chat goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from convai.conversation.background import waited_for
from convai.core.dialog import Turn

if TYPE_CHECKING:
    from convai.coref.chat import ChatReader, Linked

_SHORT: Final = 1.0
"""Seconds that a reply waits for its history at most, once everything is loaded."""
_PATIENCE: Final = 20.0
"""Seconds that somebody who asks is made to wait at most; loading spaCy and the model is in them."""


class LinkReader:
    """Reads what it is given in a thread of its own; `load` gives the reader, when first asked."""

    def __init__(self, load: Callable[[], ChatReader]) -> None:
        self._load = load
        self._reader: ChatReader | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="coref")
        self._asked = threading.Event()

    def __call__(self, turn: Turn) -> None:
        """Have a turn parsed ahead, once somebody has asked; returns at once. For `Session(on_turn=...)`."""
        if self._asked.is_set():
            self._worker.submit(self._prepare, turn)

    def of(self, turns: Sequence[Turn]) -> list[Linked]:
        """The clusters of a conversation, waited for at most some seconds.

        Raises ConvaiError, with the reason, where there are none: no spaCy, no model, a failure, too slow.
        """
        self._asked.set()
        reading: Future[list[Linked]] = self._worker.submit(self._read, list(turns))
        late, failed = "the conversation is still being read; ask again", "coreference failed"
        return waited_for(reading, _PATIENCE, late, failed)

    def load(self) -> None:
        """Load now what is otherwise loaded when first asked. Raises ConvaiError where it is missing."""
        self._worker.submit(self._loaded).result()

    def resolved(self, turns: Sequence[Turn]) -> Sequence[Turn]:
        """The turns as a model is to read them, their pronouns replaced; as they are where that fails.

        For `Session(history=...)`. Waits a short while at most, so that the reply does not.
        """
        self._asked.set()
        work: Future[list[Turn]] = self._worker.submit(self._resolved, list(turns))
        try:
            return work.result(_PATIENCE if self._reader is None else _SHORT)
        except Exception:  # too slow, or whatever a model may raise: the chat is to go on
            work.cancel()
            return turns

    def close(self) -> None:
        """Read no more."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _loaded(self) -> ChatReader:
        if self._reader is None:
            self._reader = self._load()
        return self._reader

    def _read(self, turns: list[Turn]) -> list[Linked]:
        return self._loaded()(turns)

    def _resolved(self, turns: list[Turn]) -> list[Turn]:
        return self._loaded().resolved(turns)

    def _prepare(self, turn: Turn) -> None:
        self._loaded().prepare(turn)
