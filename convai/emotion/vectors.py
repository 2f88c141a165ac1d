"""Word vectors that an embedding begins with: a numpy file of words and vectors, read and written."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from convai.core.errors import DataError
from convai.core.files import atomic_write
from convai.emotion.vocabulary import Vocabulary


def read_vectors(path: Path) -> dict[str, np.ndarray]:
    """Word → vector from a .npz file of `words` (text, `[N]`) and `vectors` (`[N, D]`). Raises DataError."""
    if not path.exists():
        raise DataError(f"{path}: no such file; check the path")
    try:
        with np.load(path, allow_pickle=False) as stored:
            words, vectors = stored["words"].tolist(), stored["vectors"].astype(np.float32)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise DataError(f"{path}: expected a .npz file of words and vectors, without pickles") from None
    if vectors.ndim != 2 or len(vectors) != len(words) or not vectors.size or not np.isfinite(vectors).all():
        raise DataError(f"{path}: expected a vector of finite numbers for every word")
    return {str(word): vector for word, vector in zip(words, vectors, strict=True)}


def write_vectors(path: Path, words: Sequence[str], vectors: np.ndarray) -> None:
    """Write such a file. Raises OSError."""

    def write(part: Path) -> None:
        with part.open("wb") as stream:
            np.savez_compressed(stream, words=np.array(words), vectors=vectors)

    atomic_write(path, write)


@torch.no_grad()
def begin_with(embedding: nn.Embedding, vocabulary: Vocabulary, path: Path, scale: float) -> int:
    """Put the vectors in `path` into the first channels of the words that have one; returns how many.

    They are scaled as a whole to a root mean square of `scale`; the other channels and words stay as they
    are. Raises DataError when the file is none, its vectors are too wide, or no word is in it.
    """
    vectors = read_vectors(path)
    rows = [(i, vectors[word]) for i, word in enumerate(vocabulary.words) if word in vectors]
    width = len(next(iter(vectors.values())))
    if width > embedding.embedding_dim:
        raise DataError(
            f"{path}: vectors of {width} numbers; use an embedding_size of {width} or more, "
            f"not {embedding.embedding_dim}"
        )
    if not rows:
        raise DataError(f"{path}: has none of the vocabulary's words; check the file")
    found = torch.from_numpy(np.stack([vector for _, vector in rows]))
    found *= scale / max(1e-12, float(found.square().mean().sqrt()))
    embedding.weight[[i for i, _ in rows], :width] = found.to(embedding.weight)
    return len(rows)
