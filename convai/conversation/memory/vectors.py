"""What texts are compared by: their words that say something, and vectors of whole sentences.

`sentences` makes the vectors; this is what the rest knows of them, without torch.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convai.text.claims.words import EMPTY, normal

Floats = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Floats]
"""Texts → unit vectors `[texts, size]`; a text of which nothing is known is a row of zeros."""

_WORD: Final = re.compile(r"[a-z]+|\d+")
_EMPTY: Final = EMPTY | frozenset(
    "what which where when who whom whose how why that there about from by than can could may might must "
    "shall should "
    "something anything everything someone ever even remember know tell told said say does doing done "
    "being thing things take takes took make makes go goes "
    "get gets put these those day days now still".split()
)


def words_of(text: str) -> list[str]:
    """The words of a text that say something."""
    return [word for word in _WORD.findall(without_accents(normal(text))) if word not in _EMPTY]


def without_accents(text: str) -> str:
    """A text with plain letters: "fiancé" as most people type it."""
    if text.isascii():
        return text
    return "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))
