"""Word vectors from plain text: pointwise mutual information of what stands beside what, made short.

Counts fall off with the distance (1/d, five words to both sides), contexts are smoothed by a power of 0.75,
and the matrix is cut to its first singular directions, each weighted by the root of its value: Levy, Goldberg
and Dagan 2015, "Improving Distributional Similarity with Lessons Learned from Word Embeddings", §3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from convai.core.errors import DataError, SettingsError
from convai.core.files import atomic_write
from convai.coref.pairs import Floats
from convai.coref.words import normal
from convai.text.corpora.files import lines
from convai.text.corpora.reading import iter_dialogs

_WORD: Final = re.compile(r"n't|'(?:s|m|re|ve|ll|d)\b|[^\W\d_]+(?=n't)|[^\W\d_]+|\d+|[^\s\w]")
"""Roughly as treebanks cut words."""
REACH: Final = 5
SMOOTHING: Final = 0.75
FEWEST: Final = 0.9
"""Weighted count below which a pair of words is left out."""
_CHUNK: Final = 2_000_000
_PARTS: Final = 8
"""Chunks that are counted before their counts are summed."""
_EXTRA: Final = 16
"""Directions beyond those that are kept, for accuracy (Halko et al. 2011, §4.2)."""
_ROUNDS: Final = 5
_END: Final = -1
_TEXT: Final = (".txt", ".txt.xz", ".txt.gz")

Counts = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Keys of pairs of words, each once, and their weights."""


def read_texts(paths: Iterable[Path]) -> Iterator[str]:
    """The lines of text files, and the turns of dialogues in any readable format."""
    for path in paths:
        if path.name.endswith(_TEXT):
            for _, line in lines(path):
                yield line
        else:
            for dialog in iter_dialogs(path):
                for turn in dialog.turns:
                    yield turn.text


def train_vectors(
    texts: Iterable[str], words: int, size: int, seed: int = 0, progress: bool = False
) -> tuple[list[str], Floats]:
    """The commonest words of the texts, commonest first, and their vectors `[words, size]`.

    Raises SettingsError for sizes below 1, DataError for texts with fewer words than `size`.
    """
    for name, value in (("words", words), ("size", size)):
        if value < 1:
            raise SettingsError(f"{name}={value}: use 1 or more")
    ids, known = _encoded(tqdm(texts, desc="reading", unit=" texts", disable=not progress))
    counts = np.bincount(ids[ids >= 0], minlength=len(known))
    order = np.argsort(-counts, kind="stable")[:words]
    if len(order) <= size + _EXTRA:
        raise DataError(f"{len(order)} different words; {size} numbers a word need more text")
    rows = np.full(len(known) + 1, _END, np.int64)
    rows[order] = np.arange(len(order))
    keys, weights = _beside(rows[ids], len(order), progress)
    return [known[i] for i in order], _short(keys, weights, len(order), size, seed)


def save_vectors(words: list[str], vectors: Floats, path: Path) -> None:
    """Write an .npz file with the arrays `words` and `vectors`. Raises SettingsError for another ending."""
    if path.suffix != ".npz":
        raise SettingsError(f"--out={path}: end the name in .npz, which it will be")

    def write(part: Path) -> None:
        with part.open("wb") as stream:
            np.savez(stream, words=np.array(words), vectors=vectors)

    atomic_write(path, write)


def _encoded(texts: Iterable[str]) -> tuple[NDArray[np.int64], list[str]]:
    """The texts as numbers of words with an end after each, and the words."""
    known: dict[str, int] = {}
    chunks: list[NDArray[np.int64]] = []
    buffer: list[int] = []
    for text in texts:
        for word in _WORD.findall(text.lower().replace("’", "'")):
            buffer.append(known.setdefault(normal(word), len(known)))
        buffer.append(_END)
        if len(buffer) > _CHUNK:
            chunks.append(np.array(buffer, np.int64))
            buffer = []
    chunks.append(np.array(buffer, np.int64))
    return np.concatenate(chunks), list(known)


def _beside(ids: NDArray[np.int64], words: int, progress: bool) -> Counts:
    """How often words stand beside each other, both ways; a text's end keeps its neighbours apart little."""
    parts: list[Counts] = []
    for start in tqdm(range(0, len(ids), _CHUNK), desc="counting", disable=not progress):
        chunk = ids[start : start + _CHUNK + REACH]
        keys, weights = [], []
        for distance in range(1, REACH + 1):
            a, b = chunk[:-distance], chunk[distance:]
            a, b = a[:_CHUNK], b[:_CHUNK]
            both = (a >= 0) & (b >= 0)
            a, b = a[both], b[both]
            keys.append(np.minimum(a, b) * words + np.maximum(a, b))
            weights.append(np.where(a == b, 2.0 / distance, 1.0 / distance))
        parts.append(_summed(np.concatenate(keys), np.concatenate(weights)))
        if len(parts) == _PARTS:  # else each would keep its own copy of the common pairs
            parts = [_together(parts)]
    keys_, weights_ = _together(parts)
    a, b = np.divmod(keys_, words)
    other = a != b
    return (
        np.concatenate((keys_, b[other] * words + a[other])),
        np.concatenate((weights_, weights_[other])),
    )


def _together(parts: list[Counts]) -> Counts:
    return _summed(np.concatenate([k for k, _ in parts]), np.concatenate([w for _, w in parts]))


def _summed(keys: NDArray[np.int64], weights: NDArray[np.float64]) -> Counts:
    order = np.argsort(keys)
    keys, weights = keys[order], weights[order]
    first = np.flatnonzero(np.concatenate((np.ones(min(1, len(keys)), np.bool_), keys[1:] != keys[:-1])))
    return keys[first], np.add.reduceat(weights, first) if len(first) else weights


def _short(keys: NDArray[np.int64], weights: NDArray[np.float64], words: int, size: int, seed: int) -> Floats:
    """Vectors `[words, size]` of mean square 1 from the counts."""
    a, b = np.divmod(keys, words)
    totals = np.bincount(a, weights=weights, minlength=words)
    context = totals**SMOOTHING
    context /= context.sum()
    information = np.log(weights / (totals[a] * context[b]))
    kept = (information > 0) & (weights > FEWEST)
    indices = torch.from_numpy(np.stack((a[kept], b[kept])))
    values = torch.from_numpy(information[kept].astype(np.float32))
    with torch.sparse.check_sparse_tensor_invariants(False):
        matrix = torch.sparse_coo_tensor(indices, values, (words, words)).coalesce()
    back = matrix.t().coalesce()
    base = torch.randn(words, size + _EXTRA, generator=torch.Generator().manual_seed(seed))
    for _ in range(_ROUNDS):
        base = torch.linalg.qr(torch.sparse.mm(back, torch.sparse.mm(matrix, base)))[0]
    base = torch.linalg.qr(torch.sparse.mm(matrix, base))[0]
    left, values, _ = torch.linalg.svd(torch.sparse.mm(back, base).T, full_matrices=False)
    vectors = (base @ left[:, :size]) * values[:size].sqrt()
    vectors /= vectors.pow(2).mean().sqrt().clamp(min=1e-12)
    out: Floats = vectors.numpy()
    return out
