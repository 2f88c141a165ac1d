"""Whole runs by each recipe: resumed equals uninterrupted; what is shipped is an ordinary model."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from convai.__main__ import main
from convai.conversation.agent import load_agent
from convai.core.errors import SettingsError, TrainingError
from convai.core.settings import TrainConfig
from convai.model import adapters as lora
from convai.model.checkpoint import load_model
from convai.model.run_folder import RunFolder
from convai.train import new_run, resume_run
from convai.training.prepare import Files
from convai.training.start import Start, build
from tests import torchrun
from tests.training.runs import SHAPE, weights, whole_and_resumed, write_corpus
from tests.training.test_run import stock

RUN = TrainConfig(
    precision="float32", steps=12, lr=3e-3, muon_lr=3e-3, distractors=2, eval_every=5, eval_dialogs=2,
    save_every=4, warmup=0.25, batch_tokens=512, dropout=0.1,
)  # fmt: skip

RECIPES: dict[str, dict[str, Any]] = {
    "ulmfit": {"layer_decay": 2.6, "schedule": "slanted", "unfreeze_every": 0.25},
    "last": {"last_blocks": 1},
    "lora": {"lora_rank": 2, "lora_dropout": 0.1},
    "lora, unfrozen": {
        "lora_rank": 2,
        "unfreeze_every": 0.5,
        "layer_decay": 1.5,
        "gradient_checkpointing": True,
    },
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data") / "mine.jsonl")


@pytest.fixture(scope="module")
def start(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """A model that was tuned for dialogue already."""
    folder = tmp_path_factory.mktemp("start")
    (folder / "shape.json").write_text(json.dumps(SHAPE), encoding="utf-8")
    config = dataclasses.replace(RUN, steps=1, eval_every=0)
    new_run(Files((corpus,)), Start(shape=folder / "shape.json"), config, folder / "model")
    return Start(model=str(folder / "model"))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_that_stopped_and_went_on_equals_one_that_did_not(
    recipe: str, optimizer: Any, corpus: Path, start: Start, tmp_path: Path
) -> None:
    config = dataclasses.replace(RUN, optimizer=optimizer, **RECIPES[recipe])
    # two steps after the checkpoint at 8
    folders = whole_and_resumed(corpus, start, config, tmp_path, killed_at=10)
    whole, broken = map(load_model, folders)
    assert torch.equal(weights(whole), weights(broken))
    assert not torch.equal(weights(whole), weights(load_model(Path(str(start.model)))))
    records = [RunFolder(folder).records() for folder in folders]
    losses = [[(r["step"], r.get("lm_loss"), r.get("valid_loss")) for r in run] for run in records]
    assert losses[0] == losses[1]


def test_a_run_keeps_the_number_type_that_it_began_with(
    corpus: Path, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which one `auto` takes is a matter of timing, and may be another when the run goes on."""
    config, out = dataclasses.replace(RUN, precision="auto", steps=4), tmp_path / "out"
    monkeypatch.setattr("convai.training.autocast.bf16_pays", lambda: True)
    new_run(Files((corpus,)), start, config, out)
    assert json.loads((out / "run.json").read_text())["config"]["precision"] == "bf16"
    for checkpoint in RunFolder(out).checkpoints()[1:]:
        shutil.rmtree(checkpoint)
    whole = load_model(out)
    monkeypatch.setattr("convai.training.autocast.bf16_pays", lambda: False)
    resume_run(out)
    assert torch.equal(weights(whole), weights(load_model(out)))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["ulmfit", "lora, unfrozen"])
def test_two_processes_equal_one_with_the_joint_batch(
    recipe: str, corpus: Path, start: Start, tmp_path: Path
) -> None:
    """Layers begin to learn at the same step in both, and the adapters begin alike."""
    config = dataclasses.replace(RUN, batch_tokens=256, steps=8, **RECIPES[recipe])
    joint = dataclasses.replace(config, accumulation=2)
    one, two = tmp_path / "one", tmp_path / "two"
    new_run(Files((corpus,), valid=corpus), start, joint, one)
    options = ["--valid", str(corpus), "--model", str(start.model), "--out", str(two), "--threads", "1"]
    for field in dataclasses.fields(config):
        if (value := getattr(config, field.name)) != field.default:
            name = "--" + field.name.replace("_", "-")
            options += [name] if value is True else [name, str(value)]
    ends = torchrun.run(2, ["train", str(corpus), *options])
    assert [code for code, _, _ in ends] == [0, 0], ends
    models = [load_model(folder) for folder in (one, two)]
    for model in models:  # its gradient is nothing but rounding
        model.multiple_choice_head.summary.bias.data.zero_()
    torch.testing.assert_close(weights(models[0]), weights(models[1]), atol=2e-5, rtol=0)
    assert not torch.equal(weights(models[0]), weights(load_model(Path(str(start.model)))))


@pytest.mark.parametrize("valid", [True, False])
def test_lora_ships_an_ordinary_model_and_the_adapter_that_makes_it(
    valid: bool, corpus: Path, start: Start, tmp_path: Path
) -> None:
    """The same whether the best of several validations was kept or there was nothing to validate on."""
    config = dataclasses.replace(RUN, lora_rank=2)
    alone = tmp_path / "one.jsonl"
    alone.write_text(corpus.read_text().splitlines()[0] + "\n")
    out = tmp_path / "out"
    new_run(Files((corpus if valid else alone,)), start, dataclasses.replace(config, distractors=0), out)
    assert any("valid_loss" in r for r in RunFolder(out).records()) == valid
    shipped = load_agent(out).model
    assert not lora.is_adapted(shipped)
    base = load_model(Path(str(start.model)))
    assert not torch.equal(weights(base), weights(shipped))
    assert torch.equal(base.transformer.wte.weight, shipped.transformer.wte.weight)
    lora.load_adapter(base, out / lora.ADAPTER)
    torch.testing.assert_close(weights(lora.merged(base)), weights(shipped), atol=0, rtol=0)
    # a checkpoint holds the model as it was, so that its rounding is not learnt on
    [*_, last] = RunFolder(out).checkpoints()
    assert torch.equal(weights(load_model(last)), weights(load_model(Path(str(start.model)))))


def test_only_the_last_block_learns(corpus: Path, start: Start, tmp_path: Path) -> None:
    new_run(Files((corpus,)), start, dataclasses.replace(RUN, last_blocks=1), tmp_path / "out")
    before, after = load_model(Path(str(start.model))).state_dict(), load_model(tmp_path / "out").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert all(".h.1." in name or "ln_f" in name or "multiple_choice" in name for name in changed)
    assert any("c_fc" in name for name in changed)


def test_adapters_learn_the_control_tokens_of_a_stock_model(corpus: Path, tmp_path: Path) -> None:
    source, out = stock("gpt2", tmp_path / "stock"), tmp_path / "out"
    new_run(Files((corpus,)), Start(model=str(source)), dataclasses.replace(RUN, lora_rank=2), out)
    torch.manual_seed(RUN.seed)
    first, tokenizer, *_ = build(Files((corpus,)), Start(model=str(source)), RUN)
    rows = (first.transformer.wte.weight != load_model(out).transformer.wte.weight).any(1)
    special = {tokenizer.bos_id, tokenizer.eos_id, *tokenizer.frame.segments}
    assert special <= set(rows.nonzero().flatten().tolist()) <= special | {tokenizer.pad_id}


def test_what_cannot_learn_is_told_before_anything_is_written(
    corpus: Path, start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, files = tmp_path / "out", Files((corpus,))
    with pytest.raises(SettingsError, match="last_blocks=3: the model has 2"):
        new_run(files, start, dataclasses.replace(RUN, last_blocks=3), out)
    with pytest.raises(SettingsError, match="the run ends before all 3 groups"):
        new_run(files, start, dataclasses.replace(RUN, unfreeze_every=100.0), out)
    source = stock("gpt2", tmp_path / "stock")
    with pytest.raises(TrainingError, match="--last-blocks: stock does not know the control tokens"):
        new_run(files, Start(model=str(source)), dataclasses.replace(RUN, last_blocks=1), out)
    shape = tmp_path / "shape.json"
    shape.write_text(json.dumps({"model_type": "gpt2", "vocab_size": 300}))
    for option in ("--lora-rank", "--last-blocks"):
        assert main(["train", str(corpus), "--config", str(shape), "--out", str(out), option, "2"]) == 2
        assert f"{option}: most of a fresh model would never learn" in capsys.readouterr().err
    assert not out.exists()


def test_a_lost_adapter_is_one_line(corpus: Path, start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    new_run(Files((corpus,)), start, dataclasses.replace(RUN, lora_rank=2), out)
    [*_, last] = RunFolder(out).checkpoints()
    (last / lora.ADAPTER / lora.CONFIG).unlink()
    assert main(["train", "--resume", str(out)]) == 2
