"""Word vectors from plain text: truncated SVD of positive pointwise mutual information; and files of them.

Source: Levy, Goldberg, Dagan 2015 (TACL 3, "Improving distributional similarity with lessons learned from
word embeddings"): neighbours count 1 / distance (as in GloVe), contexts are smoothed by a power of 0.75,
singular directions weighted by the root of their value. For some ten thousand words it takes minutes on one
core.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from convai.core.errors import DataError, SettingsError
from convai.core.files import atomic_write

if TYPE_CHECKING:
    import torch

WINDOW: Final = 5
"""Words to either side that count as near."""
NO_WORD: Final = -1
"""The id of what is no word that is counted: an unknown one, or the end of a text."""
_SMOOTHING: Final = 0.75
_CHUNK: Final = 2_000_000
"""Words counted at a time."""
_PARTS: Final = 8
"""Chunks that are counted before their counts are summed."""
_EXTRA: Final = 16
"""Directions beyond those that are kept, for accuracy (Halko et al. 2011, section 4.2)."""
_ITERATIONS: Final = 5

Floats = NDArray[np.float32]
Counts = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Keys of pairs of words (smaller id * words + larger id), rising, and their weights."""


class Neighbours:
    """How often words stand near each other, as a symmetric matrix of which the pairs that occur are kept."""

    def __init__(self, words: int) -> None:
        self.words = words
        self._parts: list[Counts] = []
        self._waiting: list[NDArray[np.int64]] = []
        self._length = 0
        self._read = 0
        """Ids at the head of what waits that are counted with each other already."""

    def add(self, ids: Iterable[int]) -> None:
        """Count a piece of text: ids of words, NO_WORD for others.

        What is added next stands beside it: between texts that know nothing of each other belongs NO_WORD,
        WINDOW times.
        """
        row = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), np.int64)
        for start in range(0, len(row), _CHUNK):
            self._waiting.append(row[start : start + _CHUNK])
            self._length += len(self._waiting[-1])
            if self._length >= _CHUNK:
                self._count()

    def _count(self) -> None:
        row = np.concatenate(self._waiting)
        keys, weights = [], []
        for distance in range(1, WINDOW + 1):
            first = max(self._read, distance)
            one, other = row[first - distance : len(row) - distance], row[first:]
            known = (one >= 0) & (other >= 0)
            one, other = one[known], other[known]
            keys.append(np.minimum(one, other) * self.words + np.maximum(one, other))
            # a word beside itself is its own neighbour from both sides
            weights.append(np.where(one == other, 2.0, 1.0) / distance)
        self._waiting = [row[-WINDOW:]]
        self._read = self._length = len(self._waiting[0])
        self._parts.append(_summed(np.concatenate(keys), np.concatenate(weights)))
        if len(self._parts) == _PARTS:  # else each would keep its own copy of the common pairs
            self._parts = [_merged(self._parts)]

    def mutual_information(self, fewest: float = 0.0) -> torch.Tensor:
        """The positive pointwise mutual information of word and neighbour, sparse `[words, words]`.

        Pairs that count `fewest` or less are left out. Raises DataError where no two words stand near each
        other.
        """
        import torch

        if self._waiting:
            self._count()
        keys, weights = _merged(self._parts) if self._parts else (np.empty(0, np.int64), np.empty(0))
        if not len(keys):
            raise DataError("no two known words stand near each other in the texts; give more text")
        one, other = np.divmod(keys, self.words)
        different = one != other
        rows = np.concatenate((one, other[different]))
        columns = np.concatenate((other, one[different]))
        weights = np.concatenate((weights, weights[different]))
        word = np.bincount(rows, weights, self.words)
        context = word**_SMOOTHING
        information = np.log(weights / (word[rows] * (context / context.sum())[columns]))
        kept = (information > 0) & (weights > fewest)
        places = torch.from_numpy(np.stack([rows[kept], columns[kept]]))
        values = torch.from_numpy(information[kept].astype(np.float32))
        size = (self.words, self.words)
        return torch.sparse_coo_tensor(places, values, size, check_invariants=True).coalesce()


def _summed(keys: NDArray[np.int64], weights: NDArray[np.float64]) -> Counts:
    order = np.argsort(keys)
    keys, weights = keys[order], weights[order]
    first = np.flatnonzero(np.concatenate((np.ones(min(1, len(keys)), np.bool_), keys[1:] != keys[:-1])))
    return keys[first], np.add.reduceat(weights, first) if len(first) else weights


def _merged(parts: Sequence[Counts]) -> Counts:
    return _summed(np.concatenate([keys for keys, _ in parts]), np.concatenate([of for _, of in parts]))


def singular_vectors(near: torch.Tensor, size: int, seed: int = 0) -> Floats:
    """The `size` leading left singular vectors of a sparse `[words, words]`, times the root of their values.

    A randomised subspace iteration (Halko et al. 2011, algorithm 4.4); `[words, size]`.
    """
    import torch

    words = near.shape[0]
    width = min(words, size + _EXTRA)
    basis = torch.randn(words, width, generator=torch.Generator().manual_seed(seed))
    back = near.t().coalesce()
    for _ in range(_ITERATIONS):
        basis = torch.linalg.qr(near @ basis).Q
        basis = torch.linalg.qr(back @ basis).Q
    left, values, _ = torch.linalg.svd(near @ basis, full_matrices=False)
    found: Floats = (left[:, :size] * values[:size].sqrt()).numpy()
    return found


def read_vectors(path: Path) -> tuple[list[str], Floats]:
    """Words and vectors `[words, size]` from a .npz file of the two. Raises DataError for anything else."""
    if not path.exists():
        raise DataError(f"{path}: no such file; check the path, or make one: convai emotion | coref vectors")
    try:
        with np.load(path, allow_pickle=False) as stored:
            words, vectors = stored["words"].tolist(), stored["vectors"].astype(np.float32)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise DataError(f"{path}: expected a .npz file of words and vectors, without pickles") from None
    if vectors.ndim != 2 or len(vectors) != len(words) or not vectors.size or not np.isfinite(vectors).all():
        raise DataError(f"{path}: expected a vector of finite numbers for every word")
    return [str(word) for word in words], vectors


def write_vectors(path: Path, words: Sequence[str], vectors: NDArray[Any]) -> None:
    """Write such a file. Raises SettingsError for another ending, OSError."""
    check_name(path)

    def write(part: Path) -> None:
        with part.open("wb") as stream:
            np.savez_compressed(stream, words=np.array(words), vectors=vectors)

    atomic_write(path, write)


def check_name(path: Path) -> None:
    """Raise SettingsError for a file of vectors that would not be one by its name."""
    if path.suffix != ".npz":
        raise SettingsError(f"--out={path}: end the name in .npz, which it will be")
