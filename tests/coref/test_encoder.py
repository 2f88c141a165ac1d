"""An encoder that learns with the model: what its words see, where it is from, training, its folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast, DistilBertConfig, DistilBertModel

from convai.core.errors import CheckpointError, SettingsError
from convai.coref.checkpoint import CONFIG, PIECES, WEIGHTS, load_coref_model, load_resolver
from convai.coref.contexts import ContextReader, encoder_reader
from convai.coref.data import Data
from convai.coref.document import Sentence
from convai.coref.encoder import WordEncoder, pretrained
from convai.coref.learner import with_encoder
from convai.coref.pieces import SPECIAL, Pieces, needed
from convai.coref.resolver import CorefResolver
from convai.coref.settings import CorefTrainSettings
from convai.coref.train import Run
from convai.model.run_folder import RunFolder
from tests.coref.made_up import (
    SMALL,
    WORDS,
    random_document,
    sees_its_sentence_and_what_was_before,
    tiny_model,
    vectors,
)

SETTINGS: CorefTrainSettings = replace(
    SMALL, encoder_layers=2, encoder_fixed=1, encoder_pieces=60, encoder_lr=1e-2, products=3, product_size=4
)


def tiny_bert(folder: Path) -> Path:
    folder.mkdir()
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *WORDS]
    (folder / "vocab.txt").write_text("\n".join(known) + "\n")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(known), hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=48,
    )  # fmt: skip
    model = BertModel(config)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(6.0 if p.dim() > 1 else 1.0)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("encoder") / "bert")


@pytest.fixture(scope="module")
def encoder(bert: Path) -> WordEncoder:
    return pretrained(bert, 2, WORDS, 200).eval()


@pytest.fixture(scope="module")
def reader(encoder: WordEncoder) -> ContextReader:
    return encoder_reader(encoder)


def test_a_text_read_sentence_by_sentence_has_the_states_of_the_text_read_at_once(
    encoder: WordEncoder,
) -> None:
    document = random_document(3, sentences=60)
    for reader in (encoder_reader(encoder), encoder_reader(encoder.frozen())):
        whole = reader.begin().add(document.sentences)
        stream = reader.begin()
        parts = np.concatenate([stream.add([sentence]) for sentence in document.sentences])
        assert whole.shape == (len(document), 32)
        assert np.abs(whole - parts).max() < 1e-3


def test_words_see_their_whole_sentence_and_nothing_after_it(reader: ContextReader) -> None:
    sees_its_sentence_and_what_was_before(reader)


def test_what_learns_is_what_reads(encoder: WordEncoder, reader: ContextReader) -> None:
    documents = [random_document(seed, sentences=40) for seed in (1, 2)]
    chunks = [chunk for document in documents for chunk in reader.cutter().cut(document.sentences)]
    assert len(chunks) > 2
    with torch.inference_mode():
        states = encoder(chunks).numpy()
    read = np.concatenate([reader.begin().add(document.sentences) for document in documents])
    assert np.abs(states - read).max() < 1e-3


def test_its_states_are_those_of_the_encoder_that_it_is_from(bert: Path, reader: ContextReader) -> None:
    model = BertModel.from_pretrained(bert).eval()
    tokenizer = BertTokenizerFast.from_pretrained(bert)
    [chunk] = reader.cutter().cut([Sentence("the dog sees john".split()), Sentence("he likes it".split())])
    ids = tokenizer("the dog sees john he likes it", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        right = model(
            torch.tensor([[tokenizer.cls_token_id, *ids]]),
            attention_mask=torch.from_numpy(chunk.sight(forward=True))[None, None],
            output_hidden_states=True,
        ).hidden_states[2][0, 1:]
    found = reader.begin().add([Sentence("the dog sees john".split()), Sentence("he likes it".split())])
    assert np.abs(found - right.numpy()).max() < 0.05  # its table is kept in 8 bits


def test_pieces_are_those_that_the_commonest_words_need() -> None:
    known = {piece: i for i, piece in enumerate([*SPECIAL, "a", "##a", "cat", "##s", "s", "dog", "mice"])}
    kept = needed(known, ["cats", "dog", "mice"], 9)
    assert kept == [*SPECIAL, "a", "##a", "##s", "s", "cat", "dog"]
    pieces = Pieces(kept)
    assert pieces.encode(" Cats") == [kept.index("cat"), kept.index("##s")]
    assert pieces.encode("mice") == [0]
    assert 0 not in pieces.encode("cat aas")
    assert 2 not in pieces.encode("[SEP]")  # what is written is no special piece


def trained(folder: Path, bert: Path, data: Data | None = None) -> Run:
    documents = [random_document(seed) for seed in range(4)]
    for document in documents:
        document.clusters = [[(0, 1), (2, 3)], [(1, 2), (5, 6), (8, 9)]]
    run = Run(
        RunFolder(folder), data or Data(documents[:3], {"dev": documents[3:]}, WORDS, vectors()), SETTINGS,
        lambda record: None, encoder=bert,
    )  # fmt: skip
    run.go()
    return run


def test_it_learns_but_for_what_is_fixed_and_is_kept_in_8_bits(tmp_path: Path, bert: Path) -> None:
    before = pretrained(bert, 2, WORDS, 60).state_dict()
    run = trained(tmp_path, bert)
    assert run.model.encoder is not None
    after = run.model.encoder.state_dict()
    moved = {name for name, p in after.items() if not torch.equal(p, before[name])}
    assert moved
    assert all(name.startswith("blocks.1.") for name in moved)

    model, words = load_coref_model(tmp_path)
    assert words.words == WORDS
    assert model.encoder is not None
    assert len(model.encoder.pieces) == 60
    learnt = run.averaged.state_dict()
    for name, p in model.state_dict().items():
        assert torch.allclose(p, learnt[name], atol=0.02 * float(learnt[name].abs().max()) + 1e-3), name
    document = random_document(9, sentences=30)
    resolver = load_resolver(tmp_path)
    growing = resolver.begin()
    for sentence in document.sentences:
        growing.add([sentence])
    assert growing.clusters() == resolver.resolve(document)


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path, bert: Path) -> None:
    trained(tmp_path / "whole", bert)

    class Stop(Exception):
        pass

    def stop(record: dict[str, object]) -> None:
        raise Stop

    documents = [random_document(seed) for seed in range(4)]
    for document in documents:
        document.clusters = [[(0, 1), (2, 3)], [(1, 2), (5, 6), (8, 9)]]
    data = Data(documents[:3], {"dev": documents[3:]}, WORDS, vectors())
    with pytest.raises(Stop):
        Run(RunFolder(tmp_path / "parts"), data, SETTINGS, stop, encoder=bert).go()
    Run(RunFolder(tmp_path / "parts"), data, SETTINGS, lambda record: None, encoder=bert).go()
    whole, parts = (load_coref_model(tmp_path / name)[0].state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(p, parts[name]) for name, p in whole.items())


def test_a_model_goes_on_with_its_own_encoder(tmp_path: Path, bert: Path) -> None:
    trained(tmp_path / "first", bert)
    start = load_coref_model(tmp_path / "first")
    documents = [random_document(seed) for seed in range(4)]
    for document in documents:
        document.clusters = [[(0, 1), (2, 3)]]
    data = Data(documents[:3], {"dev": documents[3:]}, WORDS, vectors())
    run = Run(RunFolder(tmp_path / "second"), data, SETTINGS, lambda record: None, start=start)
    assert run.model.encoder is not None
    begun = run.model.state_dict()
    assert all(torch.equal(p, begun[name]) for name, p in start[0].state_dict().items())
    run.go()
    document = random_document(9)
    assert CorefResolver(
        *load_coref_model(tmp_path / "second"), contexts=encoder_reader(run.averaged.encoder.frozen())
    ).resolve(document) == load_resolver(tmp_path / "second").resolve(document)
    with pytest.raises(SettingsError, match="leave --encoder out"):
        with_encoder(run.model, run.words, bert, SETTINGS)


def test_what_is_no_encoder_is_refused(tmp_path: Path, bert: Path) -> None:
    with pytest.raises(CheckpointError, match="has 3 layers"):
        pretrained(bert, 4, WORDS, 60)
    with pytest.raises(CheckpointError, match="no encoder in transformers' layout"):
        pretrained(tmp_path, 1, WORDS, 60)
    other = tmp_path / "other"
    DistilBertModel(
        DistilBertConfig(vocab_size=90, dim=8, n_heads=2, n_layers=1, hidden_dim=8)
    ).save_pretrained(other)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (other / name).write_text((bert / name).read_text())
    with pytest.raises(CheckpointError, match="BERT's"):
        pretrained(other, 1, WORDS, 60)


def test_a_folder_that_lacks_something_is_refused(tmp_path: Path, bert: Path) -> None:
    trained(tmp_path, bert)
    text = (tmp_path / PIECES).read_text()
    (tmp_path / PIECES).write_text(text + "more\n")
    with pytest.raises(CheckpointError, match="61 pieces"):
        load_coref_model(tmp_path)
    (tmp_path / PIECES).unlink()
    with pytest.raises(CheckpointError, match="missing or damaged"):
        load_coref_model(tmp_path)
    (tmp_path / PIECES).write_text(text)
    values = json.loads((tmp_path / CONFIG).read_text())
    values["context"]["encoder"]["layers"] = "two"
    (tmp_path / CONFIG).write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match='in "context"'):
        load_coref_model(tmp_path)
    assert (tmp_path / WEIGHTS).is_file()


def test_a_model_without_states_grows_and_begins_as_it_was(bert: Path) -> None:
    start, words = tiny_model()
    grown = with_encoder(start, words, bert, SETTINGS).eval()
    assert grown.encoder is not None
    document = random_document(5, sentences=20)
    before = CorefResolver(start, words).resolve(document)
    assert before
    assert CorefResolver(grown, words, contexts=encoder_reader(grown.encoder)).resolve(document) == before
