"""Word vectors from plain text: which words stand near which, and what is left of that in few dimensions.

Counts of neighbours become positive pointwise mutual information, of which the leading singular vectors are
the word vectors. Source: Levy, Goldberg, Dagan 2015 (TACL 3, "Improving distributional similarity with
lessons learned from word embeddings"): PPMI with contexts smoothed by 0.75, eigenvalues weighted by 1/2, and
neighbours by 1 / distance (as GloVe does). For some ten thousand words it takes minutes on one core.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch

from convai.core.errors import DataError
from convai.emotion import text
from convai.emotion.labelled import TRAIN
from convai.emotion.readers import read_labelled
from convai.emotion.vocabulary import UNKNOWN_ID, Vocabulary
from convai.text.corpora.files import lines

WINDOW: Final = 5
"""Words to either side that count as near."""
_LONGEST: Final = 2000
"""Words that are read of one text."""
_SMOOTHING: Final = 0.75
_CHUNK: Final = 3_000_000
"""Words counted at a time."""
_OVERSAMPLED: Final = 20
_ITERATIONS: Final = 5
_NO_WORD: Final = -1

Array = np.ndarray


def texts_in(source: str) -> Iterator[str]:
    """The texts of `PATH` or `PATH@K` (every K-th line): a label set's training texts, the turns of dialogues
    as JSON lines, or the lines of a text file. Raises DataError.
    """
    name, at, every = source.rpartition("@")
    if not at or not every.isdecimal() or int(every) < 1:
        name, every = source, "1"
    path = Path(name)
    if path.is_dir():
        yield from read_labelled(path).split(TRAIN).texts
        return
    dialogues = ".jsonl" in path.suffixes
    for number, line in lines(path):
        if (number - 1) % int(every) or not line.strip():
            continue
        if dialogues:
            yield from _turns(line, f"{path}:{number}")
        else:
            yield line


def _turns(line: str, where: str) -> list[str]:
    try:
        return [str(turn["text"]) for turn in json.loads(line)["turns"]]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{where}: expected a dialogue, an object with turns that have a text") from None


class Neighbours:
    """How often words stand near each other, as a symmetric matrix of which the pairs that occur are kept."""

    def __init__(self, words: int) -> None:
        self.words = words
        self._pairs: Array = np.empty(0, np.int64)  # smaller id * words + larger id, rising
        self._weights: Array = np.empty(0, np.float64)
        self._waiting: list[int] = []

    def add(self, ids: Iterable[int]) -> None:
        """Count a text."""
        self._waiting += ids
        self._waiting += [_NO_WORD] * WINDOW
        if len(self._waiting) >= _CHUNK:
            self._count()

    def _count(self) -> None:
        row = np.array(self._waiting, np.int64)
        self._waiting = []
        pairs, weights = [self._pairs], [self._weights]
        for distance in range(1, WINDOW + 1):
            one, other = row[:-distance], row[distance:]
            known = (one > UNKNOWN_ID) & (other > UNKNOWN_ID)
            one, other = one[known], other[known]
            pairs.append(np.minimum(one, other) * self.words + np.maximum(one, other))
            # a word beside itself is its own neighbour from both sides
            weights.append(np.where(one == other, 2.0, 1.0) / distance)
        self._pairs, places = np.unique(np.concatenate(pairs), return_inverse=True)
        self._weights = np.bincount(places, np.concatenate(weights))

    def mutual_information(self) -> torch.Tensor:
        """The positive pointwise mutual information of word and neighbour, sparse `[words, words]`."""
        if self._waiting:
            self._count()
        one, other = np.divmod(self._pairs, self.words)
        different = one != other
        rows = np.concatenate([one, other[different]])
        columns = np.concatenate([other, one[different]])
        weights = np.concatenate([self._weights, self._weights[different]])
        if not len(weights):
            raise DataError("no two known words stand near each other in the texts; give more text")
        word = np.bincount(rows, weights, self.words)
        context = word**_SMOOTHING
        information = np.log(weights / (word[rows] * (context / context.sum())[columns]))
        kept = information > 0
        places = torch.from_numpy(np.stack([rows[kept], columns[kept]]))
        values = torch.from_numpy(information[kept].astype(np.float32))
        return torch.sparse_coo_tensor(
            places, values, (self.words, self.words), check_invariants=True
        ).coalesce()


def word_vectors(near: torch.Tensor, size: int) -> Array:
    """The `size` leading left singular vectors of a sparse `[words, words]`, times the root of their values.

    A randomised subspace iteration (Halko et al. 2011, algorithm 4.4), with a fixed seed; `[words, size]`.
    """
    words = near.shape[0]
    width = min(words, size + _OVERSAMPLED)
    start = np.random.default_rng(0).standard_normal((words, width)).astype(np.float32)
    basis, back = torch.from_numpy(start), near.t().coalesce()
    for _ in range(_ITERATIONS):
        basis = torch.linalg.qr(near @ basis).Q
        basis = torch.linalg.qr(back @ basis).Q
    left, values, _ = torch.linalg.svd(near @ basis, full_matrices=False)
    found: Array = (left[:, :size] * values[:size].sqrt()).numpy()
    return found


def beside(vocabulary: Vocabulary, own: Array, others: dict[str, Array]) -> Array:
    """Vectors with those of `others` put before them, each part of length 1 times the root of its share.

    Words that `others` lacks have zeros there.
    """
    width = len(next(iter(others.values()))) if others else 0
    first = np.zeros((len(vocabulary), width), np.float32)
    for i, word in enumerate(vocabulary.words):
        if word in others:
            first[i] = others[word]
    total = width + own.shape[1]
    parts = [_unit(part) * np.sqrt(part.shape[1] / total) for part in (first, own) if part.shape[1]]
    return np.concatenate(parts, 1).astype(np.float32)


def _unit(rows: Array) -> Array:
    scaled: Array = rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6)
    return scaled


def learn_vectors(vocabulary: Vocabulary, sources: Iterable[str], size: int) -> Array:
    """Vectors `[words, size]` of the vocabulary's words from the texts of all `sources` (see `texts_in`)."""
    near = Neighbours(len(vocabulary))
    for source in sources:
        for line in texts_in(source):
            near.add(vocabulary.ids(text.split(line, _LONGEST)))
    return word_vectors(near.mutual_information(), size)
