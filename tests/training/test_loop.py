"""Training: accumulating equals the big batch, resuming equals going on, failures leave the last good."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine

from convai.core.dialog import AGENT, USER
from convai.core.errors import CheckpointError, DataError, TrainingError
from convai.core.settings import TrainConfig
from convai.model.checkpoint import load_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.run_folder import RunFolder
from convai.model.shape import Shape
from convai.text.segments import EncodedDialog, EncodedTurn, dialogue_tree
from convai.text.tokenizer import Tokenizer
from convai.train import new_run, resume_run
from convai.training.batches import Batch, collate
from convai.training.corpus import EncodedCorpus
from convai.training.dialogues import DialogueData
from convai.training.loop import Trainer
from convai.training.prepare import Files
from convai.training.rates import rate_factor
from convai.training.start import Start
from tests.forked import Forked
from tests.training.runs import SHAPE, Given, weights, whole_and_resumed, write_corpus

TOKENIZER = Tokenizer.byte_level()
CONFIG = TrainConfig(
    precision="float32",
    steps=4,
    lr=1e-3,
    distractors=2,
    eval_every=0,
    save_every=2,
    warmup=0.0,
    batch_tokens=256,
)


def tiny_model(seed: int = 0, dropout: float = 0.0) -> DoubleHeadsModel:
    torch.manual_seed(seed)
    config = Shape(vocab_size=TOKENIZER.vocab_size, n_positions=128, n_embd=16, n_layer=2, n_head=2)
    return DoubleHeadsModel(config.without_dropout().replace(resid_pdrop=dropout))


def dialogs(count: int = 8) -> list[EncodedDialog]:
    said = ["hello you", "i bake bread", "do you like rain?", "no, i stay in", "my cat does too", "bye now"]
    return [
        EncodedDialog(
            [TOKENIZER.encode(f"i own {n} boats.")],
            [
                EncodedTurn(AGENT if i % 2 else USER, TOKENIZER.encode(f"{said[(n + i) % 6]} {n}"))
                for i in range(4)
            ],
        )
        for n in range(count)
    ]


def trainer(
    model: DoubleHeadsModel, source: Any, folder: Path, config: TrainConfig = CONFIG, **options: Any
) -> Trainer:
    def save(network: DoubleHeadsModel, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), path / "weights.pt")

    return Trainer(model, source, config, RunFolder(folder), save, **options)


def trees(chosen: list[EncodedDialog]) -> Batch:
    wrong = TOKENIZER.encode("wrong reply")
    rows = []
    for d in chosen:
        turns = [dataclasses.replace(t, distractors=[wrong, wrong[:5]]) for t in d.turns]
        rows.append(dialogue_tree(TOKENIZER.frame, d.persona, turns))
    return collate(rows, TOKENIZER.pad_id)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_accumulated_gradients_equal_the_big_batch(tmp_path: Path, optimizer: Any) -> None:
    config = dataclasses.replace(CONFIG, optimizer=optimizer, steps=3)
    big, small = tiny_model(), tiny_model()
    all_of_them = dialogs(6)
    uneven = [trees(all_of_them[:1]), trees(all_of_them[1:3]), trees(all_of_them[3:])]
    trainer(big, Given([[trees(all_of_them)]] * 3), tmp_path / "big", config).fit()
    trainer(small, Given([uneven] * 3), tmp_path / "small", config).fit()
    assert not torch.equal(weights(big), weights(tiny_model()))
    for model in (big, small):
        # its gradient is nothing but rounding: a constant added to all scores changes no softmax
        model.multiple_choice_head.summary.bias.data.zero_()
    # Muon orthogonalises in bfloat16, which turns a last bit into more
    torch.testing.assert_close(
        weights(big), weights(small), atol=2e-5 if optimizer == "adamw" else 5e-4, rtol=0
    )


def test_training_learns_both_objectives(tmp_path: Path) -> None:
    model = tiny_model()
    records: list[dict[str, Any]] = []
    config = dataclasses.replace(CONFIG, steps=150, lr=5e-3, save_every=1000)
    source = DialogueData(
        EncodedCorpus.pack(dialogs()), TOKENIZER.frame, n_positions=128, distractors=2, batch_tokens=2048
    )
    trainer(model, source, tmp_path, config, report=records.append).fit()
    assert records[-1]["lm_loss"] < 0.5 * records[0]["lm_loss"]
    assert records[-1]["mc_loss"] < 0.7 * records[0]["mc_loss"]


def test_early_stopping_counts_validations_without_a_better_one(tmp_path: Path) -> None:
    losses = iter([3.0, 2.0, 2.5, 2.6, 1.0, 0.5])
    config = dataclasses.replace(CONFIG, steps=6, eval_every=1, patience=2)
    batch = trees(dialogs(2))
    run = trainer(
        tiny_model(), Given([[batch]] * 6), tmp_path, config, validate=lambda m: {"loss": next(losses)}
    )
    run.fit()
    assert run.progress.step == 4
    assert run.progress.best == 2.0


def test_a_loss_that_is_not_a_number_stops_with_the_last_checkpoint_intact(tmp_path: Path) -> None:
    model = tiny_model()
    run = trainer(model, Given([[trees(dialogs(2))]] * 3), tmp_path)
    step = run.step

    def poisoned(engine: Engine, micro_batches: list[Batch]) -> dict[str, float]:
        if run.progress.step == 2:
            with torch.no_grad():
                model.transformer.wte.weight[0] = torch.nan
                model.transformer.wpe.weight[1] = torch.nan
        return step(engine, micro_batches)

    run.step = poisoned  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"step 3: the loss is not a number.*--resume"):
        run.fit()
    [*_, last] = RunFolder(tmp_path).checkpoints()
    assert last.name == "step-00000002"
    saved = torch.load(last / "weights.pt", weights_only=True)
    assert all(p.isfinite().all() for p in saved.values())


def test_a_full_disk_names_itself_and_leaves_no_half_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path)
    folder.save(1, {"step": 1}, lambda path: (path / "model").write_text("one"))

    def full(path: Path) -> None:
        (path / "model").write_text("tw")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(TrainingError, match=r"No space left.*the last checkpoint is intact.*free some space"):
        folder.save(2, {"step": 2}, full)
    assert [p.name for p in folder.checkpoints()] == ["step-00000001"]
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-00000001"]


def test_a_damaged_training_state_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    saved = folder.save(1, {"step": 1}, lambda path: None)
    data = (saved / "training.pt").read_bytes()
    (saved / "training.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=r"training\.pt: damaged or cut short"):
        folder.load_state(saved)


def test_the_log_survives_a_half_written_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (1, 2, 3):
        folder.log({"step": step})
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"step": 4, "lm')
    folder.rewind(2)
    assert [r["step"] for r in folder.records()] == [1, 2]


@pytest.mark.parametrize("schedule", ["linear", "trapezoid"])
def test_the_rate_rises_then_falls_to_nothing(schedule: Any) -> None:
    config = TrainConfig(schedule=schedule, warmup=0.1)
    rates = [rate_factor(step, 100, config) for step in range(100)]
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(rates) == 1.0
    assert 0 < rates[-1] < 0.06
    assert rates[50] == (1.0 if schedule == "trapezoid" else pytest.approx(50 / 90))


# -- whole runs from files -----------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "mine.jsonl")


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    path = tmp_path / "shape.json"
    path.write_text(json.dumps(SHAPE), encoding="utf-8")
    return path


RUN = dataclasses.replace(CONFIG, steps=30, save_every=5, eval_every=10, eval_dialogs=2)


def test_a_run_that_stopped_and_went_on_equals_one_that_did_not(
    corpus: Path, shape: Path, tmp_path: Path
) -> None:
    """Dropout, distractors, order, optimizer and learning rate all go on exactly."""
    start = Start(shape=shape)
    # three steps after the checkpoint at 10
    folders = whole_and_resumed(corpus, start, RUN, tmp_path, killed_at=13)
    whole, broken = map(load_model, folders)
    assert torch.equal(weights(whole), weights(broken))
    records = [RunFolder(folder).records() for folder in folders]
    losses = [[(r["step"], r.get("lm_loss"), r.get("valid_loss")) for r in run] for run in records]
    assert losses[0] == losses[1]


DYING = """
import os, signal, sys
from convai.__main__ import main
from convai.model.run_folder import RunFolder
save = RunFolder.save
def save_or_die(self, step, *rest, **more):
    if step >= 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return save(self, step, *rest, **more)
RunFolder.save = save_or_die
sys.exit(main(sys.argv[1:]))
"""
"""`convai` that is killed when it is about to save step 20: the log has steps that no checkpoint has."""


def ended(arguments: list[str], code: str = "") -> int | None:
    """How `convai ARGUMENTS`, or `code`, ends."""
    with Forked(arguments, os.environ, code=code) as process:
        process.communicate(timeout=300)
        return process.returncode


@pytest.mark.slow
def test_kill_minus_nine_and_resume_give_the_same_weights(corpus: Path, shape: Path, tmp_path: Path) -> None:
    options = [
        "--steps",
        "60",
        "--save-every",
        "5",
        "--eval-every",
        "0",
        "--precision",
        "float32",
        "--threads",
        "1",
    ]
    options += ["--batch-tokens", "256", "--distractors", "2", "--lr", "0.001"]
    train = ["train", str(corpus), "--config", str(shape), *options]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert ended([*train, "--out", str(whole)]) == 0
    assert ended([*train, "--out", str(killed)], DYING) == -signal.SIGKILL
    assert (killed / "checkpoints" / "step-00000015").exists()
    assert not (killed / "model.safetensors").exists()
    assert ended(["train", "--resume", str(killed), "--threads", "1"]) == 0
    assert torch.equal(weights(load_model(whole)), weights(load_model(killed)))


@pytest.mark.parametrize("layout", ["dialogue", "utterance", "stream"])
def test_every_layout_trains_to_a_model_folder(
    corpus: Path, shape: Path, tmp_path: Path, layout: Any
) -> None:
    config = dataclasses.replace(RUN, layout=layout, steps=2, row_tokens=64)
    new_run(
        Files((corpus,), valid=corpus), Start(shape=shape), config, tmp_path / "out", cache=tmp_path / "cache"
    )
    out = tmp_path / "out"
    assert {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "convai.json",
        "README.md",
        "curves.png",
    } <= {p.name for p in out.iterdir()}
    assert "valid_ppl" in (out / "log.jsonl").read_text()
    assert corpus.name in (out / "README.md").read_text()


def test_tuning_goes_on_from_a_model_folder_with_its_tokenizer_and_settings(
    corpus: Path, shape: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    new_run(Files((corpus,)), Start(shape=shape), dataclasses.replace(RUN, steps=1), first)
    settings = json.loads((first / "convai.json").read_text())
    settings["decoding"]["top_p"] = 0.77
    settings["max_history"] = 3
    (first / "convai.json").write_text(json.dumps(settings))
    config = dataclasses.replace(RUN, steps=1, lr=1e-9, dropout=0.2)
    new_run(Files((corpus,)), Start(model=str(first)), config, second)
    assert json.loads((second / "convai.json").read_text()) == settings
    assert (second / "tokenizer.json").read_bytes() == (first / "tokenizer.json").read_bytes()
    torch.testing.assert_close(weights(load_model(second)), weights(load_model(first)), atol=1e-6, rtol=0)


def test_what_cannot_be_resumed_says_why(corpus: Path, shape: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(CheckpointError, match="no training run here"):
        resume_run(tmp_path)
    new_run(Files((corpus,)), Start(shape=shape), dataclasses.replace(RUN, steps=2), out)
    with pytest.raises(TrainingError, match="the run is finished"):
        resume_run(out)
    with pytest.raises(TrainingError, match="holds a run already"):
        new_run(Files((corpus,)), Start(shape=shape), RUN, out)
    corpus.write_text(corpus.read_text() + "\n")
    with pytest.raises(DataError, match="has changed since the run began"):
        resume_run(out)


def test_nothing_is_written_when_the_data_is_bad(shape: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError, match="no such file"):
        new_run(Files((tmp_path / "none.jsonl",)), Start(shape=shape), RUN, out)
    alone = tmp_path / "user.jsonl"
    turns = [{"speaker": 0, "text": "anybody?"}, {"speaker": 0, "text": "hello?"}]
    alone.write_text("".join(json.dumps({"turns": turns}) + "\n" for _ in range(3)))
    with pytest.raises(DataError):
        new_run(Files((alone,)), Start(shape=shape), RUN, out)
    assert not out.exists()


def test_resume_takes_no_other_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from convai.__main__ import main

    assert main(["train", "--resume", str(tmp_path), "--lr", "0.1"]) == 2
    assert "leave the other options out" in capsys.readouterr().err
    assert main(["train", "x.jsonl"]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_model_says_what_suits_its_tuning_and_options_come_before_that(
    corpus: Path, shape: Path, tmp_path: Path
) -> None:
    from convai.__main__ import main

    first, second = tmp_path / "first", tmp_path / "second"
    new_run(Files((corpus,)), Start(shape=shape), dataclasses.replace(RUN, steps=1), first)
    settings = json.loads((first / "convai.json").read_text())
    settings["training"] = {"optimizer": "muon", "lr": 0.002, "steps": 1, "eval_every": 0, "eval_dialogs": 2}
    (first / "convai.json").write_text(json.dumps(settings))
    command = ["train", str(corpus), "--model", str(first), "--out", str(second), "--lr", "0.003"]
    assert main(command) == 0
    ran = json.loads((second / "run.json").read_text())["config"]
    assert (ran["optimizer"], ran["lr"], ran["steps"]) == ("muon", 0.003, 1)
    assert json.loads((second / "convai.json").read_text()) == settings
