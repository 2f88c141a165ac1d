"""Word vectors: counts of neighbours, what is left of them in few dimensions, files, an embedding's start."""

from __future__ import annotations

import json
import lzma
from collections import Counter
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convai.__main__ import main
from convai.core.errors import DataError
from convai.emotion import cooccurrence
from convai.emotion.cooccurrence import WINDOW, Neighbours, beside, texts_in, word_vectors
from convai.emotion.vectors import begin_with, read_vectors, write_vectors
from convai.emotion.vocabulary import UNKNOWN_ID, Vocabulary
from tests.emotion.models import VOCABULARY, WORDS

SIZE = 6
texts = st.lists(st.lists(st.integers(0, SIZE - 1), max_size=12), min_size=1, max_size=5)


def counted(rows: list[list[int]]) -> Counter[tuple[int, int]]:
    """Weights of ordered pairs, one by one."""
    found: Counter[tuple[int, int]] = Counter()
    for row in rows:
        for i, word in enumerate(row):
            for j, other in enumerate(row):
                if 0 < abs(i - j) <= WINDOW and word > UNKNOWN_ID and other > UNKNOWN_ID:
                    found[word, other] += 1 / abs(i - j)  # type: ignore[assignment]
    return found


@given(texts)
def test_mutual_information_is_that_of_the_counts(rows: list[list[int]]) -> None:
    near = Neighbours(SIZE)
    for row in rows:
        near.add(row)
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
    monkeypatch.setattr(cooccurrence, "_CHUNK", 30)
    for row in rows:
        parts.add(row)
    assert torch.allclose(once.mutual_information().to_dense(), parts.mutual_information().to_dense())


def test_vectors_are_the_leading_singular_ones() -> None:
    dense = torch.randn(30, 30, generator=torch.Generator().manual_seed(0)).relu()
    found = torch.from_numpy(word_vectors(dense.to_sparse(), 8))
    left, values, _ = torch.linalg.svd(dense)
    for k in range(8):
        expected = left[:, k] * values[k].sqrt()
        assert min(float((found[:, k] - expected).norm()), float((found[:, k] + expected).norm())) < 1e-3


def test_vectors_beside_others_have_their_share_of_the_length() -> None:
    own = np.ones((len(VOCABULARY), 3), np.float32)
    both = beside(VOCABULARY, own, {"happy": np.array([2.0, 0.0], np.float32)})
    assert both.shape == (len(VOCABULARY), 5)
    [happy], [sad] = VOCABULARY.ids(["happy"]), VOCABULARY.ids(["sad"])
    assert both[happy, :2].tolist() == pytest.approx([0.4**0.5, 0.0], abs=1e-5)
    assert both[sad, :2].tolist() == [0.0, 0.0]
    assert np.linalg.norm(both[sad]) == pytest.approx(0.6**0.5, abs=1e-5)
    assert beside(VOCABULARY, own, {}).shape == own.shape


def test_texts_of_files_and_every_kth_line(tmp_path: Path) -> None:
    plain = tmp_path / "a.txt"
    plain.write_text("one\ntwo\n\nfour\nfive\n")
    assert list(texts_in(str(plain))) == ["one", "two", "four", "five"]
    assert list(texts_in(f"{plain}@2")) == ["one", "five"]
    talks = tmp_path / "b.jsonl.xz"
    with lzma.open(talks, "wt") as stream:
        stream.write(json.dumps({"turns": [{"text": "hi"}, {"text": "you"}]}) + "\n")
    assert list(texts_in(str(talks))) == ["hi", "you"]
    talks.write_bytes(lzma.compress(b'{"turns": ["hi"]}\n'))
    with pytest.raises(DataError, match=r"b\.jsonl\.xz:1: expected a dialogue"):
        list(texts_in(str(talks)))
    with pytest.raises(DataError, match=r"c\.txt"):
        list(texts_in(str(tmp_path / "c.txt")))


def test_an_embedding_begins_with_the_vectors(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_vectors(path, ["happy", "unheard", "sad"], vectors)
    assert {word: row.tolist() for word, row in read_vectors(path).items()} == {
        "happy": [0.0, 1.0], "unheard": [2.0, 3.0], "sad": [4.0, 5.0],
    }  # fmt: skip
    embedding = torch.nn.Embedding(len(VOCABULARY), 4)
    before = embedding.weight.detach().clone()
    assert begin_with(embedding, VOCABULARY, path, 0.4) == 2
    rows = VOCABULARY.ids(["happy", "sad"])
    start = embedding.weight.detach()[rows]
    assert float(start[:, :2].square().mean().sqrt()) == pytest.approx(0.4)
    assert start[1, 0] / start[0, 1] == pytest.approx(4.0)
    changed = (embedding.weight.detach() != before).any(1).nonzero().flatten().tolist()
    assert sorted(changed) == sorted(rows)
    assert torch.equal(start[:, 2:], before[rows, 2:])
    with pytest.raises(DataError, match="embedding_size of 2 or more, not 1"):
        begin_with(torch.nn.Embedding(len(VOCABULARY), 1), VOCABULARY, path, 0.4)
    with pytest.raises(DataError, match="none of the vocabulary's words"):
        begin_with(embedding, Vocabulary(VOCABULARY.words[:10]), path, 0.4)


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


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tweets = tmp_path / "tweeteval_irony"
    tweets.mkdir()
    said = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(8)]
    (tweets / "train_text.txt").write_text("".join(line + "\n" for line in said))
    (tweets / "train_labels.txt").write_text("0\n1\n" * 4)
    out, first = tmp_path / "words.npz", tmp_path / "first.npz"
    write_vectors(first, ["happy"], np.ones((1, 2), np.float32))
    run = ["emotion", "vectors", str(tweets), "--size", "3", "--out", str(out), "--beside", str(first)]
    assert main(run) == 0
    assert "5 numbers each" in capsys.readouterr().out
    found = read_vectors(out)
    assert set(WORDS) <= set(found)
    assert all(len(vector) == 5 for vector in found.values())
    for wrong in (["--size", "0"], ["--out", "words"], ["--beside", str(tweets)]):
        assert main([*run, *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1
