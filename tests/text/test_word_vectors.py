"""Word vectors: counts of neighbours, what is left of them in few dimensions, and files of them."""

from __future__ import annotations

from collections import Counter
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convai.core.errors import DataError
from convai.text import word_vectors
from convai.text.word_vectors import NO_WORD, WINDOW, Neighbours, read_vectors, singular_vectors

SIZE = 6
APART = [NO_WORD] * WINDOW
texts = st.lists(st.lists(st.integers(NO_WORD, SIZE - 1), max_size=12), min_size=1, max_size=5)


def counted(rows: list[list[int]]) -> Counter[tuple[int, int]]:
    """Weights of ordered pairs, one by one."""
    found: Counter[tuple[int, int]] = Counter()
    for row in rows:
        for i, word in enumerate(row):
            for j, other in enumerate(row):
                if 0 < abs(i - j) <= WINDOW and word >= 0 and other >= 0:
                    found[word, other] += 1 / abs(i - j)  # type: ignore[assignment]
    return found


@given(texts)
def test_mutual_information_is_that_of_the_counts(rows: list[list[int]]) -> None:
    near = Neighbours(SIZE)
    for row in rows:
        near.add([*row, *APART])
    counts = counted(rows)
    if not counts:
        with pytest.raises(DataError, match="no two known words"):
            near.mutual_information()
        return
    word = [sum(counts[i, j] for j in range(SIZE)) for i in range(SIZE)]
    total = sum(w**0.75 for w in word)
    found = near.mutual_information().to_dense()
    for i in range(SIZE):
        for j in range(SIZE):
            said = log(counts[i, j] / (word[i] * word[j] ** 0.75 / total)) if counts[i, j] else 0.0
            assert float(found[i, j]) == pytest.approx(max(0.0, said), abs=1e-5)


def test_counting_in_parts_is_counting_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).integers(0, SIZE, (40, 9)).tolist()
    once, parts = Neighbours(SIZE), Neighbours(SIZE)
    for row in rows:
        once.add(row)
    monkeypatch.setattr(word_vectors, "_CHUNK", 30)
    for row in rows:
        parts.add(row)
    assert torch.allclose(once.mutual_information().to_dense(), parts.mutual_information().to_dense())


def test_vectors_are_the_leading_singular_ones() -> None:
    dense = torch.randn(30, 30, generator=torch.Generator().manual_seed(0)).relu()
    found = torch.from_numpy(singular_vectors(dense.to_sparse(), 8))
    left, values, _ = torch.linalg.svd(dense)
    for k in range(8):
        expected = left[:, k] * values[k].sqrt()
        assert min(float((found[:, k] - expected).norm()), float((found[:, k] + expected).norm())) < 1e-3


def test_files_that_hold_no_vectors(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    with pytest.raises(DataError, match="no such file"):
        read_vectors(path)
    path.write_bytes(b"junk")
    with pytest.raises(DataError, match=r"expected a \.npz file"):
        read_vectors(path)
    for words, vectors in (
        (["a"], np.zeros((2, 3))),
        (["a"], np.full((1, 3), np.nan)),
        ([], np.zeros((0, 3))),
    ):
        np.savez(path, words=np.array(words), vectors=vectors)
        with pytest.raises(DataError, match="a vector of finite numbers for every word"):
            read_vectors(path)
