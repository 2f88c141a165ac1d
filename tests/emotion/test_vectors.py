"""An embedding's start: vectors learnt from texts, beside others, and from a file."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch

from convai.__main__ import main
from convai.core.errors import DataError
from convai.emotion.vectors import begin_with, beside, texts_in
from convai.emotion.vocabulary import Vocabulary
from convai.text.corpora.reading import Reading, Taken
from convai.text.word_vectors import read_vectors, write_vectors
from tests.emotion.models import VOCABULARY, WORDS


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
        for number, part in enumerate(("train", "valid", "train")):
            turns = [{"speaker": i, "text": f"{text} {number}"} for i, text in enumerate(("hi", "you"))]
            stream.write(json.dumps({"turns": turns, "split": part}) + "\n")
        stream.write('{"turns": ["hi"]}\n')
    with pytest.raises(DataError, match=r"b\.jsonl\.xz:4, turn 1: "):
        list(texts_in(str(talks)))
    told: list[Taken] = []
    skipping = Reading(skip_bad=True)
    assert list(texts_in(str(talks), skipping, report=told.append)) == ["hi 0", "you 0", "hi 2", "you 2"]
    assert (told[0].split, told[0].left_out) == ("train", 1)
    assert list(texts_in(f"{talks}@2", skipping)) == ["hi 0", "you 0"]
    assert list(texts_in(str(plain), Reading("text"))) == ["one", "two", "four", "five"]
    with pytest.raises(DataError, match=r"c\.txt"):
        list(texts_in(str(tmp_path / "c.txt")))


def test_an_embedding_begins_with_the_vectors(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_vectors(path, ["happy", "unheard", "sad"], vectors)
    words, rows = read_vectors(path)
    assert (words, rows.tolist()) == (["happy", "unheard", "sad"], vectors.tolist())
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
    found = dict(zip(*read_vectors(out), strict=True))
    assert set(WORDS) <= set(found)
    assert all(len(vector) == 5 for vector in found.values())
    for wrong in (["--size", "0"], ["--out", "words"], ["--beside", str(tweets)]):
        assert main([*run, *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1
