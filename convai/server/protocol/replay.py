"""Numbered changes of one conversation, kept for a while, so that nobody misses a word or gets it twice.

One buffer a conversation serves all its readers, those that are slow and those that come back: each has
the number that it was sent last and asks for what follows. There is no queue a reader, so a reader that
never reads costs nothing more than its place in this buffer, and gets a `state` once that is passed.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Final, NamedTuple

from convai.server.protocol.changes import Change
from convai.server.protocol.values import Resume
from convai.server.protocol.wire import encode

FRAMES: Final = 64
BYTES: Final = 16_384


class SentChange(NamedTuple):
    """A change as it goes over the wire."""

    n: int
    text: str


class ReplayBuffer:
    """The latest changes of a stream, within bounds.

    The stream's name tells one life of a conversation in a server from the next: numbers begin again at 1
    when a conversation is opened after everybody had left, or after a restart.
    """

    def __init__(self, stream: str, *, frames: int = FRAMES, size: int = BYTES) -> None:
        """At most `frames` frames of together `size` bytes are kept. Raises ValueError below 1."""
        if frames < 1 or size < 1:
            raise ValueError(f"a buffer of {frames} frames and {size} bytes; use 1 or more")
        self.stream = stream
        self.last = 0
        """The number of the newest change; 0 before there is one."""
        self._kept: deque[str] = deque()
        self._frames, self._room = frames, size

    def append(self, change: Change) -> SentChange:
        """Number a change and keep it; the oldest make room."""
        self.last += 1
        text = encode(change, self.last)
        self._keep(text)
        return SentChange(self.last, text)

    def _keep(self, text: str) -> None:
        self._kept.append(text)
        self._room -= _size(text)
        while self._kept and (self._room < 0 or len(self._kept) > self._frames):
            self._room += _size(self._kept.popleft())

    def put(self, n: int, text: str) -> None:
        """Keep a change that was numbered elsewhere, `last + 1`. Raises ValueError for another number."""
        if n != self.last + 1:
            raise ValueError(f"change {n} behind {self.last}")
        self.last = n
        self._keep(text)

    def begin(self, stream: str, last: int) -> None:
        """Follow a stream from number `last` on; what was kept is of no use any more."""
        self.stream, self.last = stream, last
        self._room += sum(map(_size, self._kept))
        self._kept.clear()

    @property
    def first(self) -> int:
        """The number of the oldest change that is kept; `last + 1` when none is."""
        return self.last + 1 - len(self._kept)

    def after(self, last: int) -> list[SentChange] | None:
        """The changes behind number `last`, oldest first; None where some are gone, or it never was."""
        if not self.first - 1 <= last <= self.last:
            return None
        behind = itertools.islice(self._kept, last + 1 - self.first, None)
        return [*map(SentChange, itertools.count(last + 1), behind)]

    def resume(self, resume: Resume) -> list[SentChange] | None:
        """The changes that a returning client has not seen; None: it needs a `state`."""
        return self.after(resume.last) if resume.stream == self.stream else None


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
