"""Whole releases: converted, compared layer by layer, tuned; bad ones are one line and leave nothing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer

from convai.__main__ import main
from convai.conversation.agent import load_agent
from convai.core.errors import CheckpointError
from convai.core.resources import data_dir
from convai.core.settings import TrainConfig
from convai.model.checkpoint import load_model, save_model
from convai.model.openai_release import reference
from convai.model.openai_release.conversion import convert
from convai.text.tokenizer import SPECIAL_TOKENS
from convai.train import new_run
from convai.training.prepare import Files
from convai.training.start import Start
from tests.model.openai_release.releases import write_bundle, write_gpt2, write_openai_gpt

WRITE = {"gpt2": write_gpt2, "openai-gpt": write_openai_gpt}


@pytest.fixture(params=list(WRITE))
def release(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    WRITE[request.param](tmp_path / "source")
    return request.param, tmp_path / "source"


def test_a_release_becomes_a_model_that_is_tuned_and_talks(
    release: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family, source = release
    out = tmp_path / "out"
    assert main(["models", "convert", str(source), str(out)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"variables: \d+ used, 0 not used, 0 missing", printed)
    layers = re.findall(r"^(embeddings|block \d|last norm) +\S+ +(\S+) +(\S+)$", printed, re.MULTILINE)
    assert [layer for layer, *_ in layers] == (
        ["embeddings", "block 0", "block 1", *(["block 2", "last norm"] if family == "gpt2" else [])]
    )
    assert all(float(difference) < 2e-5 for _, *row in layers for difference in row)
    assert sorted(p.name for p in out.iterdir()) == [
        *("config.json", "merges.txt", "model.safetensors", "vocab.json")
    ]
    config = TrainConfig(precision="float32", steps=1, eval_every=0, row_tokens=160, batch_tokens=640)
    new_run(Files((data_dir() / "sample_dialogues.jsonl",)), Start(model=str(out)), config, tmp_path / "run")
    agent = load_agent(tmp_path / "run")
    assert agent.model.config.family == family
    assert agent.model.config.vocab_size == load_model(out).config.vocab_size + len(SPECIAL_TOKENS)


def test_words_keep_their_ids(release: tuple[str, Path], tmp_path: Path) -> None:
    family, source = release
    convert(source, tmp_path / "out")
    name = "encoder.json" if family == "gpt2" else "encoder_bpe_40000.json"
    vocab = json.loads((source / name).read_text(encoding="utf-8"))
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert {token: vocab.get(token) for token in theirs.get_vocab() if token in vocab} == vocab


def test_the_comparison_can_fail(
    release: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in one of two implementations shows at its layer, and nothing is left behind."""
    _, source = release
    right = reference.hidden_states

    def wrong(*args: Any) -> list[NDArray[np.float64]]:
        states = right(*args)
        states[2] = states[2] + 0.01
        return states

    monkeypatch.setattr("convai.model.openai_release.compare.hidden_states", wrong)
    with pytest.raises(CheckpointError, match=r"block 1: the states differ from those of source by 0\.01"):
        convert(source, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_another_folder_is_compared_too(
    release: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, source = release
    first, second = tmp_path / "first", tmp_path / "second"
    convert(source, first)
    model = load_model(first)
    with torch.no_grad():
        model.get_parameter("transformer.h.1.mlp.c_proj.bias")[0] += 1.0
    save_model(model, first)
    capsys.readouterr()
    assert main(["models", "convert", str(source), str(second), "--compare", str(first)]) == 0
    rows = {line[:12].strip(): line.split() for line in capsys.readouterr().out.splitlines()}
    assert float(rows["block 0"][-1]) == 0
    assert float(rows["block 1"][-1]) > 0.1


def test_the_file_checkpoint_names_the_one_that_counts(tmp_path: Path) -> None:
    variables = write_gpt2(tmp_path / "source")
    extra = {"beta1_power": np.array(0.9, "f4"), "model/wte/Adam": variables["model/wte"]}
    newer = {name: 2 * a if name == "model/wte" else a for name, a in variables.items()}
    write_bundle(tmp_path / "source" / "model-9", newer | extra, shards=2)
    (tmp_path / "source" / "checkpoint").write_text('model_checkpoint_path: "/home/you/run\\\\model-9"\n')
    result = convert(tmp_path / "source", tmp_path / "out")
    assert result.walk.unused == ["beta1_power", "model/wte/Adam"]
    words = load_model(tmp_path / "out").transformer.wte.weight.detach().numpy()
    assert np.array_equal(words, 2 * variables["model/wte"])


def test_heads_of_another_width(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_openai_gpt(tmp_path / "source", width=24)
    assert main(["models", "convert", str(tmp_path / "source"), str(tmp_path / "out")]) == 2
    assert "say with --heads how many heads share the width of 24" in capsys.readouterr().err
    assert convert(tmp_path / "source", tmp_path / "out", heads=3).config.n_head == 3
    with pytest.raises(CheckpointError, match="n_embd=24 is not a multiple of n_head=5"):
        convert(tmp_path / "source", tmp_path / "other", heads=5)


BAD = {
    "no hparams": ("gpt2", "hparams.json", None, "hparams.json: missing"),
    "hparams that lack": ("gpt2", "hparams.json", '{"n_vocab": 401}', "lacks n_ctx, n_embd, n_head, n_layer"),
    "a wild number": (
        "gpt2",
        "hparams.json",
        "LAYERS=1000000000",
        "n_layer is 1000000000, the",
    ),
    "a wide number": ("gpt2", "hparams.json", "WIDTH=16000000", r"model/\S+ has shape"),
    "a name for a number": ("gpt2", "hparams.json", 'WIDTH="x"', "n_embd='x': use a whole number"),
    "no vocabulary": ("gpt2", "encoder.json", None, "encoder.json: missing"),
    "half a vocabulary": ("gpt2", "encoder.json", '{"a": 0', "encoder.json:1: cut short"),
    "other merges": ("gpt2", "vocab.bpe", "#version: 0.2\nq x", "vocab.bpe: does not belong to encoder.json"),
    "no merges": ("openai-gpt", "vocab_40000.bpe", None, "vocab_40000.bpe: missing"),
    "one word": ("openai-gpt", "encoder_bpe_40000.json", '{"a</w>": 0}', "bpe: does not belong to encoder_"),
    "no data": ("gpt2", "model.ckpt.data-00000-of-00001", None, "data-00000-of-00001: No such file"),
    "no index": ("gpt2", "model.ckpt.index", None, "holds neither params_shapes.json"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_release_is_one_line_and_leaves_nothing(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family, name, text, reason = BAD[case]
    source = tmp_path / "source"
    WRITE[family](source)
    if text is None:
        (source / name).unlink()
    elif "=" in text:
        key, _, value = text.partition("=")
        settings = json.loads((source / name).read_text())
        settings[{"LAYERS": "n_layer", "WIDTH": "n_embd"}[key]] = json.loads(value)
        (source / name).write_text(json.dumps(settings))
    else:
        (source / name).write_text(text)
    assert main(["models", "convert", str(source), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(reason, error), error
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_missing_and_unused_variables_are_all_named(tmp_path: Path) -> None:
    variables = write_gpt2(tmp_path / "source")
    renamed = {name.replace("h1/ln_1", "h1/norm"): a for name, a in variables.items()}
    write_bundle(tmp_path / "source" / "model.ckpt", renamed)
    expected = r"lacks model/h1/ln_1/g, model/h1/ln_1/b; .*not used: model/h1/norm/b, model/h1/norm/g"
    with pytest.raises(CheckpointError, match=expected):
        convert(tmp_path / "source", tmp_path / "out")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    variables = write_gpt2(tmp_path / "source")
    variables["model/h2/mlp/c_fc/b"][3] = np.nan
    write_bundle(tmp_path / "source" / "model.ckpt", variables)
    with pytest.raises(CheckpointError, match="model/h2/mlp/c_fc/b holds a number that is none"):
        convert(tmp_path / "source", tmp_path / "out")


def test_an_existing_folder_and_a_missing_source_are_refused(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    with pytest.raises(CheckpointError, match="source: no such folder"):
        convert(source, out)
    write_gpt2(source)
    out.mkdir()
    (out / "mine.txt").write_text("precious")
    with pytest.raises(CheckpointError, match="out: is there already"):
        convert(source, out)
    assert (out / "mine.txt").read_text() == "precious"
    shutil.rmtree(out)
    out.mkdir()
    with pytest.raises(CheckpointError, match="no such model folder"):
        convert(source, out, others=[tmp_path / "nowhere"])
    with pytest.raises(CheckpointError, match="--heads is for OpenAI GPT"):
        convert(source, out, heads=2)
    convert(source, out)
    assert load_model(out).config.n_layer == 3
