"""The encoder of sentences: what it reads is what the pretrained one does, its folder, the embedded one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from convai.conversation.memory.sentences import (
    CONFIG,
    MOST_PIECES,
    PIECES,
    WEIGHTS,
    SentenceVectors,
    embedded_sentences,
    load,
    write,
)
from convai.core.errors import CheckpointError

WORDS = "[PAD] [UNK] [CLS] [SEP] i you live in lima the cello play a dog ##s b c d e".split()
SOURCE = "bert"


def made(folder: Path) -> tuple[Path, BertModel]:
    """A folder made of a tiny encoder, and that one."""
    torch.manual_seed(0)
    source = folder / SOURCE
    source.mkdir(parents=True)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=32,
        hidden_act="gelu",
        max_position_embeddings=300,
    )
    model = BertModel(config).eval()
    (source / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    BertTokenizerFast(str(source / "vocab.txt")).save_pretrained(source)
    model.save_pretrained(source)
    write(source, folder / "made", WORDS, 100)
    return folder / "made", model


def test_a_text_is_the_mean_of_its_last_states(tmp_path: Path) -> None:
    """As the encoder that it was made of says, up to the 8 bits."""
    folder, model = made(tmp_path)
    texts = ["i live in lima", "the dogs play a cello", "you"]
    tokenizer = BertTokenizerFast.from_pretrained(tmp_path / SOURCE)
    for text, row in zip(texts, load(folder)(texts), strict=True):
        states = model(**tokenizer(text, return_tensors="pt"))[0][0]
        expected = torch.nn.functional.normalize(states.mean(dim=0), dim=0).detach().numpy()
        assert float(row @ expected) > 0.995
        assert np.linalg.norm(row) == pytest.approx(1, abs=2e-3)


def test_a_text_has_one_vector_in_whatever_company(tmp_path: Path) -> None:
    folder, _ = made(tmp_path)
    texts = ["i live in lima", "a dog", "the dogs play a cello in lima", "you", "a dog", ""]
    together = load(folder)(texts)
    alone = np.concatenate([load(folder)([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=2e-3)  # half precision
    assert load(folder)([]).shape == (0, 24)


def test_what_was_read_is_not_read_again_and_long_texts_are_cut(tmp_path: Path) -> None:
    folder, _ = made(tmp_path)
    vectors = load(folder)
    first = vectors(["a dog"])
    vectors._encoder = None  # type: ignore[assignment]
    np.testing.assert_array_equal(vectors(["a dog", "a dog"]), np.concatenate([first, first]))
    long = load(folder)
    np.testing.assert_allclose(
        long(["lima " * MOST_PIECES]), long(["lima " * MOST_PIECES + "the cello"]), atol=2e-3
    )


@pytest.mark.parametrize("file", [CONFIG, PIECES, WEIGHTS])
def test_a_folder_that_lacks_or_mixes_up_a_file_is_refused(tmp_path: Path, file: str) -> None:
    folder, _ = made(tmp_path)
    (folder / file).write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"made|recall\.json"):
        load(folder)
    (folder / file).unlink()
    with pytest.raises(CheckpointError):
        load(folder)


def test_the_embedded_encoder_knows_what_is_meant() -> None:
    vectors = embedded_sentences()
    assert isinstance(vectors, SentenceVectors)
    facts = [
        "we are getting married in cyprus",
        "i quit smoking",
        "my boss is called graham",
        "i play netball",
    ]
    asked = ["which country is the wedding in?", "cigarettes", "what is my manager's name?", "which sport?"]
    near = vectors(asked) @ vectors(facts).T
    assert near.argmax(axis=1).tolist() == [0, 1, 2, 3]
