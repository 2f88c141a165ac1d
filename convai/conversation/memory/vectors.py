"""Texts as vectors, so that "what's my dog called?" finds "i have a beagle named rex".

The default needs nothing that is not installed: the mean of the word vectors that the coreference model has,
common words weighing less (Arora, Liang, Ma 2017, "A simple but tough-to-beat baseline for sentence
embeddings", section 3). Its words are sorted by how common they are, so a rank gives a probability (Zipf).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from convai.core import resources
from convai.core.errors import CheckpointError
from convai.text.claims.words import EMPTY, normal

Floats = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Floats]
"""Texts → unit vectors `[texts, size]`; a text of which nothing is known is a row of zeros."""

_WORD: Final = re.compile(r"[a-z]+|\d+")
_WEIGHT: Final = 1e-3
"""`a` in a / (a + p(word))."""
_SPECIAL: Final = 4
"""Rows of the coreference model's table before its first word's."""
_EMPTY: Final = EMPTY | frozenset(
    "what which where when who whom whose how why that there about from by than can could may might must "
    "shall should "
    "something anything everything someone ever even remember know tell told said say does doing done "
    "being thing things take takes took make makes go goes "
    "get gets put these those day days now still".split()
)


class MeanOfWords:
    """Texts as the weighted mean of the vectors of their words."""

    def __init__(self, words: Sequence[str], vectors: Floats) -> None:
        """`words`: the commonest first; `vectors [words, size]`."""
        self._rows = {word: row for row, word in enumerate(words)}
        ranks = np.arange(1, len(words) + 1, dtype=np.float64)
        shares = (1 / ranks) / np.log(len(words) * 1.781)
        weights = _WEIGHT / (_WEIGHT + shares)
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
        centred = unit - unit[: min(len(unit), 5000)].mean(axis=0)
        self._vectors = (centred * weights[:, None]).astype(np.float32)
        self.size = vectors.shape[1]

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Unit vectors `[texts, size]`."""
        out = np.zeros((len(texts), self.size), np.float32)
        for row, text in enumerate(texts):
            known = [self._rows[word] for word in words_of(text) if word in self._rows]
            if known:
                out[row] = self._vectors[known].sum(axis=0)
        return unit_rows(out)


def words_of(text: str) -> list[str]:
    """The words of a text that say something."""
    return [word for word in _WORD.findall(without_accents(normal(text))) if word not in _EMPTY]


def without_accents(text: str) -> str:
    """A text with plain letters: "fiancé" as most people type it."""
    if text.isascii():
        return text
    return "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))


def unit_rows(rows: Floats) -> Floats:
    """Rows of length 1; those of zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Floats = (rows / np.maximum(lengths, 1e-9)).astype(np.float32)
    return scaled


@cache
def embedded_vectors() -> MeanOfWords:
    """Those of the coreference model that travels with convai. Raises CheckpointError where it is missing."""
    folder = resources.models_dir() / "coref-mini"
    return load_vectors(folder)


def load_vectors(folder: Path) -> MeanOfWords:
    """The word vectors of a coreference model's folder. Raises CheckpointError."""
    try:
        words = (folder / "vocabulary.txt").read_text(encoding="utf-8").split("\n")[:-1]
        with safe_open(folder / "model.safetensors", "np") as stored:
            vectors = stored.get_tensor("vectors").astype(np.float32)
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{folder}: no word vectors ({error}); copy the whole model folder") from None
    if len(vectors) != len(words) + _SPECIAL:
        raise CheckpointError(
            f"{folder}: {len(words)} words and {len(vectors)} vectors; copy the whole model folder"
        )
    return MeanOfWords(words, vectors[_SPECIAL:])
