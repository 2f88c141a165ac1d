"""Phases and their end, a run resumed as if uninterrupted, model folders, and what is refused."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convai.core.errors import CheckpointError, DataError, SettingsError, TrainingError
from convai.coref.checkpoint import (
    CONFIG,
    VOCABULARY,
    WEIGHTS,
    load_coref_model,
    load_resolver,
    save_coref_model,
)
from convai.coref.data import Data, read_vectors
from convai.coref.document import Document
from convai.coref.examples import Question, examples, packed, questions
from convai.coref.learner import scored
from convai.coref.losses import LOSSES, Together, answers
from convai.coref.pairs import Window
from convai.coref.reading import FeatureReader
from convai.coref.resolver import CorefResolver
from convai.coref.scorer.gap import ParsedExample
from convai.coref.settings import CorefTrainSettings
from convai.coref.train import Run, new_run, resume_run
from convai.model.run_folder import LOG, STATE, RunFolder
from tests.coref.made_up import SMALL, WORDS, random_document, tiny_model, tiny_resolver, vectors


def annotated(seed: int) -> Document:
    """A document where mentions with the same head are the same."""
    document = random_document(seed, sentences=12)
    table, _ = FeatureReader(tiny_resolver().words).read(document.sentences)
    same: dict[int, list[tuple[int, int]]] = {}
    for start, end, key in zip(
        table.start.tolist(), table.end.tolist(), table.lemma_key.tolist(), strict=True
    ):
        same.setdefault(key, []).append((start, end))
    document.clusters = sorted(sorted(c) for c in same.values() if len(c) > 1)
    return document


def asked(seed: int, same: tuple[bool, bool] = (True, False)) -> ParsedExample:
    """A question of a random document: its last mention is the pronoun, two before it the names."""
    document = random_document(seed, sentences=5)
    table, _ = FeatureReader(tiny_resolver().words).read(document.sentences)
    spans = list(zip(table.start.tolist(), table.end.tolist(), strict=True))
    return ParsedExample(document, spans[-1], (spans[2], spans[5]), same, False)


class Files:
    """Reads what it was given, by the names of files."""

    def __init__(
        self, documents: dict[str, list[Document]], gap: dict[str, list[ParsedExample]] | None = None
    ) -> None:
        self.found, self.gap = documents, gap or {}

    def documents(self, path: Path) -> list[Document]:
        return self.found[path.name]

    def asked(self, path: Path) -> list[ParsedExample]:
        return self.gap[path.name]


@pytest.fixture
def data() -> Data:
    return Data([annotated(i) for i in range(8)], {"dev": [annotated(20)]}, WORDS, vectors())


def test_the_phases_follow_each_other_and_teach(tmp_path: Path, data: Data) -> None:
    settings = replace(SMALL, all_pairs=1, top_pairs=1, ranking=2, likelihood=4, patience=9)
    records: list[dict[str, object]] = []
    Run(RunFolder(tmp_path), data, settings, records.append).go()
    assert [r["phase"] for r in records] == (
        ["all-pairs"] + ["top-pairs"] + ["ranking"] * 2 + ["likelihood"] * 4
    )
    assert max(r["mean"] for r in records) > 0.5
    assert [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()] == records
    model, words = load_coref_model(tmp_path)
    assert words.words == WORDS
    document = data.dev["dev"][0]
    assert CorefResolver(model, words).resolve(document)


def test_a_phase_ends_when_the_score_stops_rising(tmp_path: Path, data: Data) -> None:
    records: list[dict[str, object]] = []
    settings = replace(SMALL, all_pairs=40, top_pairs=0, ranking=0, likelihood=1, patience=1, lr=1e-9)
    Run(RunFolder(tmp_path), data, settings, records.append).go()
    phases = [r["phase"] for r in records]
    assert phases == ["all-pairs", "all-pairs", "likelihood"]


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path, data: Data) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    Run(RunFolder(whole), data, SMALL, lambda record: None).go()

    class Stop(Exception):
        pass

    def stop(record: dict[str, object]) -> None:
        raise Stop

    for _ in range(4):
        with pytest.raises(Stop):
            Run(RunFolder(parts), data, SMALL, stop).go()
    Run(RunFolder(parts), data, SMALL, lambda record: None).go()

    def log(folder: Path) -> list[dict[str, object]]:
        return [{**json.loads(line), "seconds": 0} for line in (folder / LOG).read_text().splitlines()]

    assert log(parts) == log(whole)
    one, other = (torch.load(folder / STATE, weights_only=True) for folder in (whole, parts))
    for name, weights in one["model"].items():
        assert torch.equal(weights, other["model"][name]), name


def test_files_are_read_once_and_resumed_from_the_run(tmp_path: Path) -> None:
    documents = {"a.conll": [annotated(i) for i in range(6)], "dev.conll": [annotated(9)]}
    np.savez(tmp_path / "v.npz", words=np.array(WORDS), vectors=vectors())

    read = Files(documents)
    settings = replace(SMALL, all_pairs=0, top_pairs=0, ranking=0, likelihood=1)
    train, dev, out = [Path("a.conll")], [Path("dev.conll")], tmp_path / "out"
    new_run(train, dev, tmp_path / "v.npz", settings, out, read, skip=["made_3"])
    described = json.loads((out / "run.json").read_text())
    assert described["skip"] == ["made_3"]
    with pytest.raises(TrainingError, match="holds a run already"):
        new_run(train, dev, tmp_path / "v.npz", settings, out, read)
    before = (out / LOG).read_text()
    resume_run(out, lambda parser: read)
    assert (out / LOG).read_text() == before
    (out / STATE).write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="damaged"):
        resume_run(out, lambda parser: read)
    with pytest.raises(CheckpointError, match="no training run"):
        resume_run(tmp_path / "nowhere", lambda parser: read)
    with pytest.raises(SettingsError, match="DATA is missing"):
        new_run([], dev, tmp_path / "v.npz", settings, tmp_path / "x", read)
    with pytest.raises(SettingsError, match="nothing to learn"):
        new_run(train, dev, tmp_path / "v.npz", settings, tmp_path / "x", read, skip=["made"])


def test_without_a_development_file_documents_are_held_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", words=np.array(WORDS), vectors=vectors())
    settings = replace(SMALL, all_pairs=0, top_pairs=0, ranking=0, likelihood=1)
    records: list[dict[str, object]] = []

    read = Files({"a": [annotated(i) for i in range(6)]})
    new_run([Path("a")], [], tmp_path / "v.npz", settings, tmp_path / "out", read, report=records.append)
    assert list(records[0]["f1"]) == ["held_out"]  # type: ignore[call-overload]


def test_every_loss_falls_on_what_it_is_trained_on() -> None:
    for name, loss in LOSSES.items():
        model, words = tiny_model()
        unit = CorefResolver(model, words).unit
        [example] = examples([annotated(3)], words, unit, model.config.window)
        optim = torch.optim.Adam(model.parameters(), lr=0.01)
        values = []
        for _ in range(30):
            value = loss(*scored(model, example), example)
            values.append(float(value.detach()))
            optim.zero_grad()
            value.backward()
            optim.step()
        assert values[-1] < 0.5 * values[0], name


def test_where_single_mentions_are_marked_others_teach_nothing() -> None:
    model, words = tiny_model()
    document = annotated(3)
    unit = CorefResolver(model, words).unit
    [full] = examples([document], words, unit, model.config.window)
    assert full.taught.all()
    alone = next(
        (c, c + 1) for c in range(len(document)) if not any((c, c + 1) in k for k in document.clusters)
    )
    document.clusters.append([alone])
    [partial] = examples([document], words, unit, model.config.window)
    marked = sum(map(len, document.clusters))
    assert 0 < int(partial.taught.sum()) <= marked < full.mentions
    scores, single = scored(model, partial)
    for loss in LOSSES.values():
        changed = torch.where(partial.taught, single, single + 3)
        assert torch.allclose(loss(scores, single, partial), loss(scores, changed, partial))


def test_the_probability_of_being_in_one_cluster_is_that_of_all_choices_of_antecedents() -> None:
    model, words = tiny_model()
    [example] = questions([asked(2)], words, CorefResolver(model, words).unit, model.config.window)
    assert example.question is not None
    assert not example.taught.any()
    assert example.lessons == 2
    scores, alone = (value.detach() for value in scored(model, example))
    n = 6  # the first mentions alone, of which every way is gone through
    kept = example.later < n
    small = replace(
        example, later=example.later[kept], earlier=example.earlier[kept], words=example.words[:n],
        question=Question(5, ([1], [3, 4]), (True, False)),
    )  # fmt: skip
    choices: list[list[tuple[int, float]]] = []
    for i in range(n):
        own = small.later == i
        weights = torch.cat((scores[kept][own], alone[i : i + 1])).softmax(0).tolist()
        choices.append(list(zip([*small.earlier[own].tolist(), -1], weights, strict=True)))
    together = [0.0, 0.0]
    for way in itertools.product(*choices):
        root = list(range(n))
        for i, (j, _) in enumerate(way):
            root[i] = i if j < 0 else root[j]
        weight = math.prod(p for _, p in way)
        together[0] += weight * (root[5] == root[1])
        together[1] += weight * ((root[5] == root[3]) + (root[5] == root[4]))
    expected = -math.log(together[0]) - math.log(1 - min(together[1], 1 - 1e-4))
    assert float(answers(scores[kept], alone[:n], small)) == pytest.approx(expected, rel=1e-3)


def test_the_gradient_of_being_in_one_cluster_is_what_small_changes_say() -> None:
    own = torch.rand(7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).tril(-1) / 7
    lower = torch.ones(7, 7).tril(-1) > 0

    def together(values: torch.Tensor) -> torch.Tensor:
        own = torch.zeros(7, 7, dtype=torch.float64).masked_scatter(lower, values)
        found: torch.Tensor = Together.apply(own)  # type: ignore[no-untyped-call]
        return found

    assert torch.autograd.gradcheck(together, own[lower].requires_grad_())


def test_answers_are_learnt() -> None:
    model, words = tiny_model()
    unit = CorefResolver(model, words).unit
    # in the third text both names are in the same mentions, and it cannot be learnt
    made = [asked(i, (i % 2 == 0, i % 2 == 1)) for i in (0, 1, 3)]
    learnt = list(questions(made, words, unit, Window(8, 2, 30)))
    assert len(learnt) == 3
    optim = torch.optim.Adam(model.parameters(), lr=0.01)
    values = []
    for _ in range(40):
        value = torch.stack([answers(*scored(model, example), example) for example in learnt]).sum()
        values.append(float(value.detach()))
        optim.zero_grad()
        value.backward()
        optim.step()
    assert values[-1] < 0.2 * values[0]


def test_a_run_learns_from_questions_beside_documents_and_is_judged_by_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", words=np.array(WORDS), vectors=vectors())
    settings = replace(SMALL, all_pairs=0, top_pairs=0, ranking=0, likelihood=2, dropout=0.0)
    learnt = [asked(i, (i % 2 == 0, i % 2 == 1)) for i in range(6)]
    files = Files({"a": [annotated(i) for i in range(3)], "d": [annotated(20)]}, {"q.tsv": learnt})
    records: list[dict[str, Any]] = []
    train, dev = [Path("a"), Path("q.tsv")], [Path("d"), Path("q.tsv")]
    for folder, given in (("with", train), ("without", train[:1])):
        new_run(given, dev, tmp_path / "v.npz", settings, tmp_path / folder, files, report=records.append)
    assert [list(record["f1"]) for record in records] == [["d", "q"]] * 4
    assert records[0]["loss"] != records[2]["loss"]
    with pytest.raises(SettingsError, match="nothing to learn"):
        new_run(train[1:], dev, tmp_path / "v.npz", settings, tmp_path / "other", files)


def test_batches_are_packed_by_pairs() -> None:
    model, words = tiny_model()
    found = list(
        examples(
            [annotated(i) for i in range(6)], words, CorefResolver(model, words).unit, model.config.window
        )
    )
    batches = list(packed(found, [5, 4, 3, 2, 1, 0], found[5].pairs + 1))
    assert [id(e) for batch in batches for e in batch] == [id(e) for e in reversed(found)]
    assert len(batches[0]) == 2
    assert all(sum(e.pairs for e in batch) > found[5].pairs for batch in batches[:-1])


def test_a_folder_gives_the_same_answers(tmp_path: Path) -> None:
    model, words = tiny_model()
    save_coref_model(model, words, tmp_path, torch.float32)
    document = random_document(1, sentences=30)
    assert load_resolver(tmp_path).resolve(document) == CorefResolver(model, words).resolve(document)


def test_damaged_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no coreference model here"):
        load_coref_model(tmp_path)
    for broken in (CONFIG, VOCABULARY, WEIGHTS, "size"):
        save_coref_model(*tiny_model(), tmp_path)
        if broken == "size":
            config = json.loads((tmp_path / CONFIG).read_text())
            (tmp_path / CONFIG).write_text(json.dumps({**config, "pair": 11}))
        else:
            (tmp_path / broken).write_text("{}" if broken == CONFIG else "xx\n")
        with pytest.raises(CheckpointError) as told:
            load_coref_model(tmp_path)
        assert "\n" not in str(told.value)


def test_vectors_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    with pytest.raises(DataError, match="no such file"):
        read_vectors(path)
    np.savez(path, words=np.array(["a"]), vectors=np.zeros((2, 3)))
    with pytest.raises(DataError, match="finite numbers"):
        read_vectors(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": 0.0}, {"dropout": 1.0}, {"window": 0}, {"reach": 3}, {"all_pairs": -1}, {"weight_decay": -1.0},
        {"all_pairs": 0, "top_pairs": 0, "ranking": 0, "likelihood": 0},
    ],
)  # fmt: skip
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=f"^{next(iter(wrong))}="):
        CorefTrainSettings(**wrong)  # type: ignore[arg-type]
