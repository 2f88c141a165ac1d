"""Vectors from text: words in like company are alike, whatever the order of texts; what is refused."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from convai.core.errors import DataError, SettingsError
from convai.coref.data import read_vectors
from convai.coref.vectors import read_texts, train_vectors
from convai.text.word_vectors import write_vectors

ANIMALS = ("dog", "cat", "cow", "horse")
TOOLS = ("hammer", "saw", "drill", "knife")


def texts(seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    filler = [f"w{chr(97 + i)}" for i in range(20)]
    made = []
    for _ in range(400):
        noun, verbs = rng.choice([(ANIMALS, ("eats", "sleeps", "runs")), (TOOLS, ("cuts", "rusts", "lies"))])
        made.append(f"The {rng.choice(noun)} {rng.choice(verbs)} {rng.choice(filler)} , don't it ?")
    return made


def test_words_in_like_company_are_alike() -> None:
    words, vectors = train_vectors(texts(), 60, 8)
    assert words[:6] == sorted(words[:6], key=words.index)
    assert {"n't", "do", ",", "?"} <= set(words)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    of = {word: unit[i] for i, word in enumerate(words)}
    for noun in ANIMALS:
        same = np.mean([of[noun] @ of[other] for other in ANIMALS if other != noun])
        other = np.mean([of[noun] @ of[tool] for tool in TOOLS])
        assert same > other + 0.3
    assert np.isclose((vectors**2).mean(), 1, atol=1e-3)


def test_what_is_saved_is_read_by_training(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(texts()), encoding="utf-8")
    turns = [{"speaker": 0, "text": "hello zebra"}, {"speaker": 1, "text": "zebra , hi"}]
    (tmp_path / "b.jsonl").write_text(json.dumps({"personas": [[], []], "turns": turns}) + "\n")
    words, vectors = train_vectors(read_texts([tmp_path / "a.txt", tmp_path / "b.jsonl"]), 100, 8)
    assert "zebra" in words
    write_vectors(tmp_path / "v.npz", words, vectors)
    again, found = read_vectors(tmp_path / "v.npz")
    assert again == words
    np.testing.assert_array_equal(found, vectors)


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="need more text"):
        train_vectors(["a b c"], 100, 8)
    with pytest.raises(SettingsError, match="size=0"):
        train_vectors(texts(), 100, 0)
    with pytest.raises(SettingsError, match=r"\.npz"):
        write_vectors(tmp_path / "v.txt", ["a"], np.zeros((1, 2), np.float32))
