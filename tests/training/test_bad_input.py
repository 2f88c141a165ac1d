"""What people get wrong: one clear line on stderr, exit code 2, and nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from convai.__main__ import main
from convai.core.resources import data_dir
from convai.training.loop import Trainer

SAMPLES = str(data_dir() / "sample_dialogues.jsonl")
SHAPE = {"model_type": "gpt2", "vocab_size": 300, "n_positions": 256, "n_embd": 16, "n_layer": 2, "n_head": 2}
QUICK = ["--steps", "2", "--eval-every", "0", "--eval-dialogs", "2", "--batch-tokens", "1024"]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command line that must fail; the line it says."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main(["train", *map(str, arguments)]) == 2
        found = capsys.readouterr()
        lines = [line for line in found.err.splitlines() if line.startswith("convai: error: ")]
        assert len(lines) == 1
        assert "Traceback" not in found.err
        assert "done" not in found.out
        return lines[0].removeprefix("convai: error: ")

    return run


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    path = tmp_path / "shape.json"
    path.write_text(json.dumps(SHAPE))
    return path


def test_a_checkpoint_of_another_architecture(tmp_path: Path, refused: Callable[..., str]) -> None:
    folder, out = tmp_path / "bert", tmp_path / "out"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    (folder / "model.safetensors").touch()
    expected = (
        f"{folder}/config.json: model_type 'bert' is not supported; use one of gpt2, openai-gpt, llama, "
        "qwen3, gemma3_text"
    )
    assert refused(SAMPLES, "--model", folder, "--out", out) == expected
    assert refused(SAMPLES, "--config", folder / "config.json", "--out", out) == expected
    assert not out.exists()


@pytest.mark.parametrize("valid", [(), ("--valid", SAMPLES)])
def test_a_corpus_without_agent_replies(
    tmp_path: Path, shape: Path, refused: Callable[..., str], valid: tuple[str, ...]
) -> None:
    alone, out = tmp_path / "alone.jsonl", tmp_path / "out"
    turns = [{"speaker": 0, "text": "anybody?"}, {"speaker": 0, "text": "hello?"}]
    alone.write_text("".join(json.dumps({"turns": turns}) + "\n" for _ in range(3)))
    line = refused(alone, "--config", shape, "--out", out, *valid)
    assert line.startswith(f"{alone}: no agent reply that answers anything; check the speakers")
    assert not out.exists()


def test_what_is_no_run_cannot_be_resumed(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "no training run here (run.json is missing)" in refused("--resume", tmp_path / "nowhere")
    assert "no training run here (run.json is missing)" in refused("--resume", tmp_path)
    (tmp_path / "run.json").write_text('{"name": "sweep 7", "config": {"lr": 0.1}, "files": []}')
    assert "run.json: not written by convai; give --resume the --out folder" in refused("--resume", tmp_path)
    (tmp_path / "run.json").write_text('{"convai": "9.0", "config": {"unheard_of": 1}}')
    assert "run.json: not written by this version of convai" in refused("--resume", tmp_path)
    (tmp_path / "run.json").write_text("[]")
    assert "run.json: expected a JSON object" in refused("--resume", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_finished_run_cannot_be_resumed(tmp_path: Path, shape: Path, refused: Callable[..., str]) -> None:
    out = tmp_path / "out"
    assert main(["train", SAMPLES, "--config", str(shape), "--out", str(out), *QUICK]) == 0
    log = (out / "log.jsonl").read_bytes()
    assert refused("--resume", out) == (
        f"{out}: the run is finished (2 steps); start a new one with --model {out}"
    )
    assert (out / "log.jsonl").read_bytes() == log


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"
        ),
        MemoryError(),
    ],
    ids=["GPU", "processor", "python"],
)
@pytest.mark.parametrize("more", [(), ("--gradient-checkpointing",)])
def test_exhausted_memory_names_the_options_that_take_less(
    tmp_path: Path,
    shape: Path,
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    more: tuple[str, ...],
) -> None:
    def exhausted(*_: object) -> None:
        raise error

    monkeypatch.setattr(Trainer, "step", exhausted)
    line = refused(SAMPLES, "--config", shape, "--out", tmp_path / "out", *QUICK, *more)
    assert line.startswith("out of memory: lower --batch-tokens (now 1024) and raise --accumulation as much")
    assert ("--gradient-checkpointing" in line) == (not more)
    assert "--distractors" in line
    assert (tmp_path / "out" / "checkpoints" / "step-00000000" / "model.safetensors").exists()


def test_a_defect_is_not_taken_for_exhausted_memory(
    tmp_path: Path, shape: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Trainer, "step", broken)
    assert main(["train", SAMPLES, "--config", str(shape), "--out", str(tmp_path / "out"), *QUICK]) == 1
    assert "shapes do not match; this is a defect" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-1"])
def test_a_timeout_is_some_seconds(refused: Callable[..., str], tmp_path: Path, value: str) -> None:
    line = refused(SAMPLES, "--out", tmp_path / "out", f"--timeout={value}")
    assert line == f"--timeout={value}: use a number of seconds above 0"
