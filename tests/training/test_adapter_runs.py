"""Whole runs on a base of a rotary family in its chat template: what is shipped is an adapter that talks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from convai.conversation.agent import load_agent
from convai.core.errors import SettingsError, TrainingError
from convai.core.settings import TrainConfig
from convai.model import adapters
from convai.model.checkpoint import load_model, save_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.folder import BaseReference, is_adapter, shape_of
from convai.model.shape import Shape
from convai.train import new_run, resume_run
from convai.training.prepare import Files
from convai.training.start import Start, build
from tests.chat_templates import chat_bytes
from tests.tiny import close, inputs, randomize
from tests.training.runs import whole_and_resumed

RUN = TrainConfig(
    precision="float32", optimizer="adamw", steps=6, lr=3e-3, distractors=1, eval_every=0, eval_dialogs=2,
    save_every=2, batch_tokens=512, lora_rank=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "mine.jsonl"
    lines = []
    for n in range(12):
        turns = [{"speaker": 0, "text": f"do you like {n}?"}, {"speaker": 1, "text": f"I have {n} boats."}]
        lines.append(json.dumps({"personas": [[], [f"I own {n} boats."]], "turns": turns}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tokenizer = chat_bytes()
    shape = Shape(
        family="llama", vocab_size=tokenizer.vocab_size, n_positions=256, n_embd=32, n_layer=2, n_head=4,
        n_kv_head=2, n_inner=48,
    )  # fmt: skip
    model = DoubleHeadsModel(shape.without_dropout())
    randomize(model)
    with torch.no_grad():
        model.transformer.segment_gate.zero_()
    save_model(model, folder)
    tokenizer.save(folder)
    return folder


@pytest.mark.parametrize(
    ("frozen", "precision"), [("float32", "float32"), ("int8", "float32"), ("int8", "bf16")]
)
def test_a_stopped_run_equals_an_undisturbed_one_and_ships_an_adapter(
    frozen: Any, precision: Any, corpus: Path, base: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(RUN, frozen_precision=frozen, precision=precision)
    # a step after the checkpoint at 4
    whole, broken = whole_and_resumed(corpus, Start(model=str(base)), config, tmp_path, killed_at=5)
    for name in (adapters.WEIGHTS, adapters.HEADS_FILE):
        one, other = load_file(whole / name), load_file(broken / name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert is_adapter(whole)
    assert (whole / "README.md").is_file()
    assert not list(whole.glob("**/model.safetensors")), "the base is not copied"
    tuned, plain = load_agent(whole), load_agent(base)
    assert tuned.tokenizer.frame == plain.tokenizer.frame
    assert not close(tuned.model(*inputs()), plain.model(*inputs()))


def test_an_adapter_goes_on_learning(corpus: Path, base: Path, tmp_path: Path) -> None:
    new_run(Files((corpus,)), Start(model=str(base)), RUN, tmp_path / "first")
    start = Start(model=str(tmp_path / "first"))
    more = dataclasses.replace(RUN, steps=1)
    new_run(Files((corpus,)), start, more, tmp_path / "second")
    first, second = (load_file(tmp_path / name / adapters.WEIGHTS) for name in ("first", "second"))
    moved = max(float((first[key] - second[key]).abs().max()) for key in first)
    assert 0 < moved <= 2 * more.lr, "one step from where it stood"
    with pytest.raises(TrainingError, match="add --lora-rank"):
        new_run(Files((corpus,)), start, dataclasses.replace(more, lora_rank=0), tmp_path / "x")
    with pytest.raises(SettingsError, match="has rank 2"):
        new_run(Files((corpus,)), start, dataclasses.replace(more, lora_rank=4), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_an_adapter_gets_a_match_head_and_keeps_or_loses_it(corpus: Path, base: Path, tmp_path: Path) -> None:
    def run(start: Path, out: str, match_size: int | None) -> DoubleHeadsModel:
        config = dataclasses.replace(RUN, steps=2, match_size=match_size, save_every=1)
        new_run(Files((corpus,)), Start(model=str(start)), config, tmp_path / out)
        assert shape_of(tmp_path / out).match_size == (match_size or 0)
        return load_agent(tmp_path / out).model

    first, wide = tmp_path / "first", tmp_path / "wide"
    assert run(base, "first", None).match_head is None
    head = run(first, "wide", 8).match_head
    assert head is not None
    assert head.projection.weight.shape == (8, 32)
    with pytest.raises(TrainingError, match="is finished"):
        resume_run(wide)  # what it holds is read back before that
    again = run(wide, "again", 8).match_head
    assert again is not None
    moved = float((again.projection.weight - head.projection.weight).detach().abs().max())
    assert 0 < moved <= 2 * 2 * RUN.lr, "it went on from the first head"
    other = run(wide, "other", 4).match_head
    assert other is not None
    assert other.projection.weight.shape == (4, 32)
    assert run(wide, "without", 0).match_head is None


def test_the_base_is_read_once(corpus: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counting(folder: Path) -> DoubleHeadsModel:
        read.append(folder)
        return load_model(folder)

    monkeypatch.setattr("convai.training.start.load_model", counting)
    built = build(Files((corpus,)), Start(model=str(base)), RUN)
    assert read == [base]
    assert built.base == BaseReference.of(load_model(base), base)
