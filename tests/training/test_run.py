"""Where a run begins: stock GPT and GPT-2 checkpoints, the hub, and what cannot be tuned."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import sys
from pathlib import Path

import ignite.distributed as idist
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import (
    GPT2Config,
    GPT2DoubleHeadsModel,
    GPT2LMHeadModel,
    OpenAIGPTConfig,
    OpenAIGPTDoubleHeadsModel,
    OpenAIGPTLMHeadModel,
)

from convai.__main__ import main
from convai.conversation.agent import load_agent
from convai.core.dialog import Persona
from convai.core.errors import CheckpointError, TrainingError
from convai.core.resources import data_dir, model_path
from convai.core.settings import TrainConfig
from convai.model.shape import Shape
from convai.text.personas import trained_persona
from convai.text.tokenizer import SPECIAL_TOKENS
from convai.train import new_run
from convai.training.model_card import card
from convai.training.prepare import Files
from convai.training.start import Start, build, describe_base, licences_of, local_folder
from tests.tokenizer_kinds import publish

SAMPLES = Files((data_dir() / "sample_dialogues.jsonl",))
QUICK = TrainConfig(precision="float32", steps=2, eval_every=0, eval_dialogs=2, batch_tokens=1024)
SIZES = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 256}


def stock(family: str, folder: Path, extra: int = 0) -> Path:
    """A checkpoint as transformers publishes it: a plain language model without special tokens."""
    folder.mkdir()
    publish(family, folder)
    words = len(json.loads((folder / "vocab.json").read_text(encoding="utf-8"))) + extra
    torch.manual_seed(0)
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    if family == "gpt2":
        GPT2LMHeadModel(GPT2Config(vocab_size=words, **SIZES, **ends)).save_pretrained(folder)
    else:
        OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=words, **SIZES)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["gpt2", "openai-gpt"])
def test_a_stock_checkpoint_is_tuned_talks_and_goes_back(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = stock(family, tmp_path / "stock"), tmp_path / "out"
    words = json.loads((source / "config.json").read_text())["vocab_size"]
    new_run(SAMPLES, Start(model=str(source)), QUICK, out)
    agent = load_agent(out)
    assert agent.model.config.family == family
    assert agent.model.config.vocab_size == words + len(SPECIAL_TOKENS)
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n"))
    capsys.readouterr()
    assert main(["chat", "--model", str(out), "--persona", "i row.", "--seed", "1"]) == 0
    assert capsys.readouterr().out.count("\n") == 1
    theirs = (GPT2DoubleHeadsModel if family == "gpt2" else OpenAIGPTDoubleHeadsModel).from_pretrained(out)
    ids = torch.randint(0, words, (1, 9))
    with torch.no_grad():
        hidden = agent.model(ids, torch.arange(9)[None])
        expected = theirs(ids, mc_token_ids=torch.tensor([8])).logits
    torch.testing.assert_close(agent.model.lm_logits(hidden), expected, atol=1e-4, rtol=0)


def test_a_padded_vocabulary_takes_the_special_tokens_without_growing(tmp_path: Path) -> None:
    source = stock("gpt2", tmp_path / "stock", extra=9)
    model, tokenizer, *_ = build(SAMPLES, Start(model=str(source)), QUICK)
    words = json.loads((source / "config.json").read_text())["vocab_size"]
    assert model.config.vocab_size == words
    assert tokenizer.vocab_size == words - 4


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path: Path) -> None:
    source = stock("gpt2", tmp_path / "stock", extra=-20)
    with pytest.raises(CheckpointError, match="take both from the same place"):
        build(SAMPLES, Start(model=str(source)), QUICK)


def test_well_known_names_come_from_the_hub_and_its_absence_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[tuple[str, list[str], bool]] = []

    def fetched(name: str, allow_patterns: list[str], local_files_only: bool) -> str:
        asked.append((name, allow_patterns, local_files_only))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    assert local_folder("openai-gpt") == tmp_path
    assert asked[0][0] == "openai-gpt"
    assert {"config.json", "model.safetensors", "merges.txt"} <= set(asked[0][1])
    assert not asked[0][2]
    with monkeypatch.context() as second_process:
        second_process.setattr(idist, "get_local_rank", lambda: 1)
        local_folder("openai-gpt")
    assert asked[1][2], "one process of a machine downloads"

    def unreachable(name: str, **options: object) -> str:
        raise LocalEntryNotFoundError("cannot reach the hub\nand more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(
        CheckpointError, match=r"gpt2: cannot be fetched from the hub \(cannot reach the hub\)"
    ):
        local_folder("gpt2")


def test_what_a_run_began_with_is_said_with_digest_and_licences(tmp_path: Path) -> None:
    folder = model_path("persona-mini")
    base = describe_base(folder)
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert (base["name"], base["sha256"]) == ("persona-mini", digest)
    assert "CC BY 4.0" in base["licence"]
    assert "steps" not in base["licence"], "the table of sources alone"
    described = {
        "config": {"layout": "dialogue", "optimizer": "adamw", "seed": 0},
        "files": {"dialogs": [], "text": [], "valid": None},
        "convai": "0",
        "started_from": "mine",
        "base": {"name": "mine", "sha256": "ab" * 32, "licence": "MIT", "base": base},
    }
    text = card("run", described, Shape(vocab_size=300, n_positions=32, n_embd=8, n_layer=1, n_head=1), [])
    assert f"starting from `mine` (SHA-256 `{'ab' * 8}…`; licences: MIT) on `persona-mini`" in text
    assert f"(SHA-256 `{digest[:16]}…`; licences: {base['licence']})" in text


@pytest.mark.parametrize(
    ("text", "licences"),
    [
        ("# x\n\nlicence: MIT\n", "MIT"),
        ("# x\n\n## Licence\n\nApache-2.0\n", "Apache-2.0"),
        (
            "| a | License |\n|---|---|\n| x | CC0 |\n| y | MIT |\n| z | CC0 |\n\n| a | n |\n| b | 2 |\n",
            "CC0; MIT",
        ),
        ("# nothing said", ""),
    ],
)
def test_licences_of_a_card(text: str, licences: str) -> None:
    assert licences_of(text) == licences


def test_a_run_on_one_persona_says_who_to_talk_as(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = tmp_path / "one.jsonl"
    who = [[], ["i am griotte.", "i bake bread."]]
    turns = [{"speaker": 0, "text": "hi"}, {"speaker": 1, "text": "hello!"}]
    one.write_text("\n".join([json.dumps({"personas": who, "turns": turns})] * 3), encoding="utf-8")
    source, out = stock("gpt2", tmp_path / "stock"), tmp_path / "out"
    command = ["train", str(one), "--model", str(source), "--out", str(out), "--steps", "1"]
    assert main([*command, "--precision", "float32", "--eval-dialogs", "1"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith(f"convai chat --model {out} --persona 'i am griotte. i bake bread.'")
    described = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert described["started_from"] == str(source)
    assert described["base"]["sha256"]
    assert trained_persona(out) == Persona(("i am griotte.", "i bake bread."))


def test_a_run_without_a_model_names_the_default_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = stock("gpt2", tmp_path / "the-default"), tmp_path / "out"
    (source / "README.md").write_text("# It\n\nlicence: CC0-1.0\n", encoding="utf-8")
    monkeypatch.setattr("convai.model.folder._default_folder", lambda: source)
    talks = tmp_path / "talks.jsonl"
    turns = [{"speaker": 0, "text": "hi"}, {"speaker": 1, "text": "hello!"}]
    talks.write_text("\n".join([json.dumps({"turns": turns})] * 3), encoding="utf-8")
    command = ["train", str(talks), "--out", str(out), "--steps", "1", "--precision", "float32"]
    assert main([*command, "--eval-dialogs", "1"]) == 0
    digest = hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()
    described = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert (described["started_from"], described["base"]["sha256"]) == ("the-default", digest)
    assert described["base"]["licence"] == "CC0-1.0"
    told = (out / "README.md").read_text(encoding="utf-8")
    assert f"starting from `the-default` (SHA-256 `{digest[:16]}…`; licences: CC0-1.0)" in told
    assert "from scratch" not in told


def test_a_fresh_model_is_not_tuned_from_another(tmp_path: Path) -> None:
    shape = tmp_path / "shape.json"
    shape.write_text(json.dumps({"model_type": "gpt2", "vocab_size": 300, **SIZES}))
    with pytest.raises(TrainingError, match="--model and --config exclude each other"):
        build(SAMPLES, Start(model="gpt2", shape=shape), QUICK)


def test_a_tokenizer_can_be_brought_to_a_fresh_model(tmp_path: Path) -> None:
    first = tmp_path / "first"
    shape = tmp_path / "shape.json"
    shape.write_text(json.dumps({"model_type": "gpt2", "vocab_size": 300, **SIZES}))
    new_run(SAMPLES, Start(shape=shape), dataclasses.replace(QUICK, steps=1), first)
    _, tokenizer, *_ = build(SAMPLES, Start(shape=shape, tokenizer=first), QUICK)
    assert tokenizer.fingerprint == load_agent(first).tokenizer.fingerprint
