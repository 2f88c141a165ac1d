"""States of words: read as a text grows or at once, kept in a file, taken by a model, refused where wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from convai.core.errors import BaseUnavailable, CheckpointError, SettingsError
from convai.coref import chunks
from convai.coref.checkpoint import CONFIG, load_coref_model, load_resolver
from convai.coref.chunks import written
from convai.coref.context_cache import INDEX, ROWS, CachedContexts
from convai.coref.contexts import ContextReader, load_contexts
from convai.coref.data import Data
from convai.coref.document import Document, Sentence
from convai.coref.learner import grown_model
from convai.coref.model import Context
from convai.coref.resolver import CorefResolver, ResolveSettings
from convai.coref.settings import CorefTrainSettings
from convai.coref.train import Run
from convai.model.checkpoint import save_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.lower_blocks import LowerBlocks
from convai.model.run_folder import RunFolder
from convai.model.shape import Shape
from convai.text.tokenizer import Tokenizer
from tests.coref.made_up import (
    SMALL,
    WORDS,
    random_document,
    sees_its_sentence_and_what_was_before,
    tiny_model,
    vectors,
)

SETTINGS: CorefTrainSettings = replace(SMALL, context_layer=2, products=3, product_size=4)


def tiny_base(folder: Path) -> Path:
    tokenizer = Tokenizer.byte_level()
    shape = Shape(
        family="llama", vocab_size=tokenizer.vocab_size, n_positions=512, n_embd=32, n_layer=3, n_head=4,
        n_kv_head=2, n_inner=48,
    )  # fmt: skip
    torch.manual_seed(0)
    model = DoubleHeadsModel(shape)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(4.0 if p.dim() > 1 else 1.0)
    save_model(model, folder)
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def reader(base: Path) -> ContextReader:
    return load_contexts(base, 2)[0]


def test_a_text_read_sentence_by_sentence_has_the_states_of_the_text_read_at_once(
    reader: ContextReader,
) -> None:
    document = random_document(3, sentences=40)
    whole = reader.begin().add(document.sentences)
    stream = reader.begin()
    parts = np.concatenate([stream.add([sentence]) for sentence in document.sentences])
    assert whole.shape == (len(document), 32)
    assert np.abs(whole - parts).max() < 1e-3
    assert np.allclose(np.square(whole).mean(1), 1, atol=1e-2)


def test_words_see_their_whole_sentence_and_nothing_after_it(reader: ContextReader) -> None:
    sees_its_sentence_and_what_was_before(reader)


def test_the_second_reading_is_that_of_a_text_that_says_the_sentence_twice(reader: ContextReader) -> None:
    words = "the dog sees john".split()
    ids = [token for text in written(words, first=True) for token in reader.ids(text)]
    twice = [reader.start, *ids, *ids]
    with torch.inference_mode():
        states, _ = reader.blocks.read(
            torch.tensor(twice),
            torch.arange(len(twice)),
            # the second reading looks at the first and at itself: all that is before it
            torch.ones(len(twice), len(twice), dtype=torch.bool).tril(),
        )
    found = reader.begin().add([Sentence(words)])
    assert np.abs(found[-1] - states[-1].numpy()).max() < 1e-3


def test_a_sentence_of_any_length_is_read(reader: ContextReader) -> None:
    words = [*("dog",) * 300, "x" * 1000, "", "dog"]
    assert reader.begin().add([Sentence(words)]).shape == (303, 32)
    assert reader.begin().add([]).shape == (0, 32)


def test_words_are_written_as_people_write() -> None:
    words = "I do n't `` know '' ( yet ) , John 's dog .".split()
    assert "".join(written(words, first=True)) == "I don't \"know\" (yet), John's dog."
    assert "".join(written(['"', "Hm", '"', "he", "said"], first=True)) == '"Hm" he said'


def test_states_are_read_once_and_those_of_texts_that_begin_alike_are_kept_apart(
    tmp_path: Path, reader: ContextReader
) -> None:
    one = random_document(1, sentences=6)
    other = Document("other", 0, [*one.sentences[:2], *random_document(2, sentences=3).sentences])
    CachedContexts(tmp_path, 32, lambda: reader).fill([one])
    with open(tmp_path / ROWS, "ab") as rows:
        rows.write(b"rows without a line")

    cache = CachedContexts(tmp_path, 32, lambda: reader)
    cache.fill([other])
    cache = CachedContexts(tmp_path, 32, lambda: pytest.fail("nothing is left to read"))  # type: ignore[arg-type]
    cache.fill([one, other])
    for document in (one, other):
        stream, right = cache.begin(), reader.begin()
        for part in (document.sentences[:3], document.sentences[3:]):
            assert np.abs(stream.add(part) - right.add(part)).max() < 5e-3


def test_a_damaged_cache_is_refused(tmp_path: Path, reader: ContextReader) -> None:
    CachedContexts(tmp_path, 32, lambda: reader).fill([random_document(1)])
    (tmp_path / ROWS).write_bytes(b"")
    with pytest.raises(CheckpointError, match="too short; delete it"):
        CachedContexts(tmp_path, 32, lambda: reader)
    (tmp_path / INDEX).write_text("{}\n")
    with pytest.raises(CheckpointError, match="damaged; delete it"):
        CachedContexts(tmp_path, 32, lambda: reader)


def trained(folder: Path, base: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    documents = [random_document(seed) for seed in range(4)]
    for document in documents:
        document.clusters = [[(0, 1), (2, 3)]]
    data = Data(documents[:3], {"dev": documents[3:]}, WORDS, vectors())
    Run(RunFolder(folder), data, SETTINGS, lambda record: None, str(base)).go()
    return folder


def test_a_model_with_a_context_is_trained_saved_and_used(
    tmp_path: Path, base: Path, reader: ContextReader
) -> None:
    folder = trained(tmp_path / "run", base)
    model, words = load_coref_model(folder)
    assert model.config.context is not None
    assert model.config.context.layer == 2
    assert float(model.state_scale.std()) > 0

    resolver = load_resolver(folder)
    document = random_document(9, sentences=30)
    assert resolver.resolve(document) == CorefResolver(model, words, contexts=reader).resolve(document)
    growing = resolver.begin()
    for sentence in document.sentences:
        growing.add([sentence])
    assert growing.clusters() == resolver.resolve(document)


def test_states_change_the_scores_of_pairs(tmp_path: Path, base: Path, reader: ContextReader) -> None:
    model, words = load_coref_model(trained(tmp_path, base))

    class Nothing:
        def begin(self) -> Nothing:
            return self

        def add(self, sentences: list[Sentence]) -> np.ndarray:
            return np.zeros((sum(len(sentence.words) for sentence in sentences), 32), np.float32)

    document, settings = random_document(9), ResolveSettings(store_scores=True)
    scores = [
        CorefResolver(model, words, settings, contexts=c).read(document).scores for c in (reader, Nothing())
    ]
    assert scores[0].keys() == scores[1].keys()
    assert any(abs(scores[0][s][None] - scores[1][s][None]) > 1e-3 for s in scores[0])


def test_a_base_that_is_missing_or_another_one_is_told_in_a_line(tmp_path: Path, base: Path) -> None:
    folder = trained(tmp_path / "run", base)
    values = json.loads((folder / CONFIG).read_text())

    values["context"]["base"] |= {"name": "nowhere", "path": "nowhere"}
    (folder / CONFIG).write_text(json.dumps(values))
    with pytest.raises(BaseUnavailable, match="the base nowhere is not on this machine"):
        load_resolver(folder)

    values["context"]["base"] |= {"path": str(base), "fingerprint": "another"}
    (folder / CONFIG).write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="another"):
        load_resolver(folder)

    values["context"] = {"layer": "two"}
    (folder / CONFIG).write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="not a base and the sizes"):
        load_resolver(folder)


def test_a_layer_or_a_family_that_is_not_there_is_refused(base: Path) -> None:
    with pytest.raises(CheckpointError, match="layer 9 of a base of 3"):
        load_contexts(base, 9)
    gpt = DoubleHeadsModel(Shape(vocab_size=40, n_positions=16, n_embd=8, n_layer=1, n_head=2))
    with pytest.raises(CheckpointError, match="llama and qwen3"):
        LowerBlocks(gpt, 1)
    assert chunks.OVERLAP + chunks.PIECE < chunks.BLOCK


def test_a_model_that_goes_on_begins_as_the_one_before(
    tmp_path: Path, base: Path, reader: ContextReader
) -> None:
    start, words = tiny_model()
    reference = load_contexts(base, 2)[1]
    known = Context(reference, 2, 32, 3, 4)
    grown = grown_model(start, words, SETTINGS, known).eval()
    document = random_document(5, sentences=20)
    before = CorefResolver(start, words).resolve(document)
    assert CorefResolver(grown, words, contexts=reader).resolve(document) == before
    assert before
    with pytest.raises(SettingsError, match="--context-layer"):
        grown_model(grown, words, SETTINGS, Context(reference, 1, 32, 3, 4))
