"""An engine whose replies are known, letters that follow from what was said: a reader sees what is missing.

The user's message holds a marker (`said`); letter number n of the reply depends on it and on n. So a letter
that is missing, comes twice, or belongs to another conversation is seen at once, whoever wrote the rest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import MutableSequence
from functools import lru_cache
from typing import Final

from convai.bench.server.stub import StubEngine
from convai.engine import Request, Token

_MARKER: Final = re.compile(rb"q[0-9]+x[0-9]+z")
_LEAST: Final = 97
_BYTES: Final = 256
"""Ids below are bytes, those from here on special tokens."""
_LOOK: Final = 100
"""Tokens before the reply in which the marker is."""
_BLOCK: Final = 64
"""Letters of one digest."""


def said(person: int, turn: int) -> str:
    """What a person says; no two are alike."""
    return f"q{person}x{turn}z what comes next?"


@lru_cache(maxsize=4096)
def _letters(marker: bytes, block: int) -> str:
    digest = hashlib.blake2b(marker + b" %d" % block, digest_size=_BLOCK).digest()
    return "".join(chr(_LEAST + byte % 26) for byte in digest)


def letters(text: str, length: int) -> str:
    """The reply to `text`, its first `length` letters."""
    return _of(_marker(text.encode()), length)


def _of(marker: bytes, length: int) -> str:
    return "".join(_letters(marker, block) for block in range(-(-length // _BLOCK)))[:length]


def _marker(data: bytes) -> bytes:
    found = _MARKER.findall(data)
    return found[-1] if found else b""


class CountingEngine(StubEngine):
    """`turns`, where it is given: requests that came, and those whose conversation had been here before."""

    def __init__(self, interval: float, turns: MutableSequence[int] | None = None) -> None:
        super().__init__(interval)
        self._turns = turns

    def _looked_up(self, request: Request) -> None:
        if self._turns is not None and not request.begun:
            self._turns[0] += 1
            self._turns[1] += request.session in self._known
        super()._looked_up(request)

    def token(self, request: Request, place: int) -> Token:
        """A letter."""
        marker, begun = _asked(request)
        place += begun
        letter = _letters(marker, place // _BLOCK)[place % _BLOCK]
        return Token(0, ord(letter), letter, -1.0)

    def whole(self, request: Request, count: int) -> tuple[tuple[int, ...], str]:
        """All of them."""
        marker, begun = _asked(request)
        text = _of(marker, begun + count)[begun:]
        return tuple(text.encode()), text


def _asked(request: Request) -> tuple[bytes, int]:
    """The marker, and how many letters of the reply are in the prompt already."""
    ids = request.prompt.ids
    end = next(place for place in range(len(ids) - 1, -1, -1) if ids[place] >= _BYTES)
    return _marker(bytes(id for id in ids[max(end - _LOOK, 0) : end] if id < _BYTES)), len(ids) - 1 - end
