from __future__ import annotations

import errno
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import (
    GPT2Config,
    GPT2DoubleHeadsModel,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
    OpenAIGPTConfig,
    OpenAIGPTDoubleHeadsModel,
    OpenAIGPTLMHeadModel,
    OpenAIGPTModel,
    PreTrainedModel,
)

from convai.core.errors import CheckpointError
from convai.core.files import atomic_write, read_json, write_json
from convai.model import checkpoint
from convai.model.checkpoint import load_config, load_model, save_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Family
from tests.tiny import FAMILIES, SPECIAL, close, randomize, tiny_config, tiny_model

V = SPECIAL.vocab_size
STOCK: dict[str, Any] = {"gpt2": GPT2DoubleHeadsModel, "openai-gpt": OpenAIGPTDoubleHeadsModel}
CONFIGS: dict[str, Any] = {"gpt2": GPT2Config, "openai-gpt": OpenAIGPTConfig}

WORDS = torch.randint(0, V, (2, 9), generator=torch.Generator().manual_seed(1))
SEGMENTS = torch.randint(0, V, (2, 9), generator=torch.Generator().manual_seed(2))
POSITIONS = torch.arange(9).expand(2, 9)


def our_logits(model: DoubleHeadsModel) -> tuple[torch.Tensor, torch.Tensor]:
    hidden = model(WORDS, POSITIONS, SEGMENTS)
    return model.lm_logits(hidden), model.mc_logits(hidden[:, -1])


def their_logits(model: PreTrainedModel) -> tuple[torch.Tensor, torch.Tensor]:
    out = model(WORDS[:, None], token_type_ids=SEGMENTS[:, None])
    return out.logits[:, 0], out.mc_logits[:, 0]


def stock(family: Family, kind: Callable[[Any], PreTrainedModel] | None = None) -> PreTrainedModel:
    model: PreTrainedModel = (kind or STOCK[family])(CONFIGS[family](**tiny_config(family).to_hf()))
    randomize(model, 4)
    model.train(False)
    return model


def same(
    a: tuple[torch.Tensor, torch.Tensor], b: tuple[torch.Tensor, torch.Tensor], atol: float = 1e-4
) -> bool:
    assert a[0].std() > 0.5
    return close(a[0], b[0], atol) and close(a[1], b[1], atol)


# -- both ways between here and stock transformers


@pytest.mark.parametrize("family", FAMILIES)
def test_what_we_save_loads_in_transformers(
    family: Family, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ours = tiny_model(family)
    save_model(ours, tmp_path)
    theirs, report = STOCK[family].from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert same(our_logits(ours), their_logits(theirs))
    assert theirs.config.architectures == [STOCK[family].__name__]
    assert "may result in unexpected behavior" not in capfd.readouterr().err


@pytest.mark.parametrize("family", FAMILIES)
def test_what_transformers_saves_loads_here(family: Family, tmp_path: Path) -> None:
    theirs = stock(family)
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    assert not ours.training
    assert same(our_logits(ours), their_logits(theirs))


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded_here_is_the_same_to_the_bit(family: Family, tmp_path: Path) -> None:
    ours = tiny_model(family)
    save_model(ours, tmp_path)
    again = load_model(tmp_path)
    assert again.config == ours.config
    state = again.state_dict()
    assert all(torch.equal(p, state[name]) for name, p in ours.state_dict().items())


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("gpt2", GPT2LMHeadModel),
        ("gpt2", GPT2Model),
        ("openai-gpt", OpenAIGPTLMHeadModel),
        ("openai-gpt", OpenAIGPTModel),
    ],
)
def test_a_plain_language_model_gets_a_fresh_head(family: Family, kind: Any, tmp_path: Path) -> None:
    theirs = stock(family, kind)
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    trunk = getattr(theirs, "transformer", theirs)  # a base model is the trunk
    expected = trunk(WORDS, token_type_ids=SEGMENTS).last_hidden_state
    assert close(ours(WORDS, POSITIONS, SEGMENTS), expected)
    head = ours.multiple_choice_head.summary.state_dict()
    assert head["weight"].any()
    assert float(head["weight"].std()) < 0.1
    assert not head["bias"].any()


def test_the_output_embedding_alone_is_enough(tmp_path: Path) -> None:
    """transformers may keep either of two tied weights."""
    save_model(tiny_model(), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["lm_head.weight"] = state.pop("transformer.wte.weight")
    save_file(state, tmp_path / "model.safetensors")
    assert same(our_logits(load_model(tmp_path)), our_logits(tiny_model()))


def test_buffers_of_older_releases_are_no_weights(tmp_path: Path) -> None:
    """As in the published gpt2: a trunk without a prefix, with the causal mask stored in every layer."""
    model = tiny_model()
    save_model(model, tmp_path)
    state = {n.removeprefix("transformer."): p for n, p in load_file(tmp_path / "model.safetensors").items()}
    state = {n: p for n, p in state.items() if not n.startswith("multiple_choice")}
    for layer in range(2):
        state[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 160, 160).tril()
        state[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(state, tmp_path / "model.safetensors")
    assert close(our_logits(load_model(tmp_path))[0], our_logits(model)[0])


def test_saved_as_bfloat16(tmp_path: Path) -> None:
    ours = tiny_model()
    save_model(ours, tmp_path, torch.bfloat16)
    assert {p.dtype for p in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    assert next(ours.parameters()).dtype == torch.float32, "saving must not convert the model itself"
    again = load_model(tmp_path)
    assert next(again.parameters()).dtype == torch.float32
    for name, p in again.state_dict().items():
        assert torch.equal(p, ours.state_dict()[name].bfloat16().float())
    theirs = STOCK["gpt2"].from_pretrained(tmp_path, dtype=torch.float32)
    assert same(our_logits(again), their_logits(theirs))
    assert next(load_model(tmp_path, torch.bfloat16).parameters()).dtype == torch.bfloat16


def test_control_ids_go_where_generate_looks_for_them(tmp_path: Path) -> None:
    ids = {"bos_token_id": 30, "eos_token_id": 31, "pad_token_id": 34}
    save_model(tiny_model(), tmp_path, control_ids=ids)
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path)
    assert theirs.generation_config.eos_token_id == 31
    assert {name: getattr(theirs.config, name) for name in ids} == ids


# -- pytorch_model.bin


def test_old_weights_load(tmp_path: Path) -> None:
    theirs = stock("openai-gpt")
    theirs.config.save_pretrained(tmp_path)
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    assert same(our_logits(load_model(tmp_path)), their_logits(theirs))


def test_old_weights_in_the_oldest_format_load(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    theirs = stock("gpt2")
    theirs.config.save_pretrained(tmp_path)
    torch.save(
        theirs.state_dict(),
        tmp_path / "pytorch_model.bin",
        _use_new_zipfile_serialization=False,
    )
    assert same(our_logits(load_model(tmp_path)), their_logits(theirs))
    assert not recwarn.list


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[Path], object], tuple[Path]]:
        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_runs_nothing(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "ran"
    write_json(tmp_path / "config.json", tiny_config().to_hf())
    weights = {"transformer.wte.weight": Malicious(marker)}
    path = tmp_path / "pytorch_model.bin"
    if zipped:
        torch.save(weights, path)
    else:
        path.write_bytes(pickle.dumps(weights))
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path)
    assert not marker.exists()
    message = str(caught.value)
    assert message.startswith(f"{path}: not plain weights")
    assert "weights_only" not in message, "no advice to load it all the same"
    # it would have run
    pickle.loads(pickle.dumps(weights))  # noqa: S301
    assert marker.exists()


# -- damaged and foreign folders


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def edit(path: Path, **changes: object) -> None:
    write_json(path, json.loads(path.read_text()) | changes)


def edit_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    state = load_file(path)
    change(state)
    save_file(state, path)


def as_old(folder: Path, content: bytes | object, size: int | None = None) -> None:
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    if size:
        cut(path, size)


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda d: (d / "config.json").unlink(), "config.json: missing; is "),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), "model.safetensors is missing; copy"),
    "config cut": (lambda d: cut(d / "config.json", 200), "not JSON ("),
    "config empty": (lambda d: cut(d / "config.json", 0), "config.json:1: not JSON"),
    "config a list": (lambda d: (d / "config.json").write_text("[1]"), "expected a JSON object"),
    "config binary": (lambda d: (d / "config.json").write_bytes(b"\xff\xfe\x00"), "not a text file"),
    "config deep": (lambda d: (d / "config.json").write_text("[" * 100_000), "config.json:1: not JSON"),
    "config digits": (lambda d: (d / "config.json").write_text('{"n_embd": ' + "9" * 5000 + "}"), "not JSON"),
    "config a folder": (lambda d: as_folder(d / "config.json"), "config.json: Is a directory"),
    "another kind": (lambda d: edit(d / "config.json", model_type="bert"), "model_type 'bert'"),
    "another family": (
        lambda d: edit(d / "config.json", model_type="openai-gpt", n_inner=None),
        "unknown weight transformer.ln_f",
    ),
    "more words": (
        lambda d: edit(d / "config.json", vocab_size=36),
        "says vocab_size 36, the weights have 35",
    ),
    "more layers": (lambda d: edit(d / "config.json", n_layer=3), "the weights lack transformer.h.2."),
    "fewer layers": (lambda d: edit(d / "config.json", n_layer=1), "unknown weight transformer.h.1."),
    "wider": (lambda d: edit(d / "config.json", n_embd=32), "config.json asks for"),
    "absurd": (lambda d: edit(d / "config.json", n_embd=1 << 24, n_head=1), "config.json asks for"),
    "fewer positions": (
        lambda d: edit(d / "config.json", n_positions=10),
        "transformer.wpe.weight has shape",
    ),
    "weights cut": (lambda d: cut(d / "model.safetensors", 5000), "model.safetensors: damaged or cut short"),
    "weights cut in the header": (lambda d: cut(d / "model.safetensors", 100), "damaged or cut short"),
    "weights empty": (lambda d: cut(d / "model.safetensors", 0), "damaged or cut short"),
    "weights junk": (lambda d: (d / "model.safetensors").write_bytes(b"junk" * 99), "damaged or cut short"),
    "weights a folder": (lambda d: as_folder(d / "model.safetensors"), "damaged or cut short"),
    "a weight lost": (
        lambda d: edit_weights(d / "model.safetensors", lambda s: s.pop("transformer.h.1.ln_2.bias")),
        "the weights lack transformer.h.1.ln_2.bias (1 missing in all)",
    ),
    "half a head": (
        lambda d: edit_weights(d / "model.safetensors", lambda s: s.pop("multiple_choice_head.summary.bias")),
        "the weights lack multiple_choice_head.summary.bias",
    ),
    "untied": (
        lambda d: edit_weights(
            d / "model.safetensors", lambda s: s.update({"lm_head.weight": torch.ones(V, 16)})
        ),
        "not tied to the word embedding",
    ),
    "old weights empty": (lambda d: as_old(d, b""), "pytorch_model.bin: damaged or cut short"),
    "old weights junk": (lambda d: as_old(d, b"\x00\x01junk" * 20), "pytorch_model.bin: not plain weights"),
    "old weights cut": (lambda d: as_old(d, {"a": torch.ones(999)}, size=900), "damaged or cut short"),
    "old weights a list": (lambda d: as_old(d, [torch.ones(1)]), "does not hold named tensors"),
    "old weights numbered": (lambda d: as_old(d, {1: torch.ones(1)}), "does not hold named tensors"),
    "old weights no tensors": (lambda d: as_old(d, {"a": 1}), "does not hold named tensors"),
    "old weights of nothing": (lambda d: as_old(d, {}), "the weights lack"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path)
    load_model(tmp_path)
    do, message = DAMAGE[damage]
    do(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path)
    text = str(caught.value)
    assert str(tmp_path) in text
    assert message in text
    assert "\n" not in text
    assert len(text) < 400


def test_a_model_with_another_head_is_refused(tmp_path: Path) -> None:
    stock("gpt2", GPT2ForSequenceClassification).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"unknown weight \S*score.weight; is this a gpt2 checkpoint\?"):
        load_model(tmp_path)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere: no such model folder"):
        load_config(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="file: no such model folder"):
        load_model(tmp_path / "file")


# -- writing


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("dies_in", ["the weights", "the rename"])
def test_an_interrupted_save_leaves_the_old_files(
    dies_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tiny_model(), tmp_path)
    before = contents(tmp_path)

    def half(state: object, path: Path, metadata: object = None) -> None:
        path.write_bytes(b"half of the")
        raise Killed

    def killed(*_: object) -> None:
        raise Killed

    if dies_in == "the weights":
        monkeypatch.setattr(checkpoint, "save_file", half)
    else:
        monkeypatch.setattr("convai.core.files.os.replace", killed)
    with pytest.raises(Killed):
        save_model(tiny_model(seed=1), tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("I/O error: No space left on device (os error 28) at path x", errno.ENOSPC),
        ("something else", errno.EIO),
    ],
)
def test_a_full_disk_is_an_os_error(
    reason: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tiny_model(), tmp_path)
    before = contents(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise SafetensorError(f"Error while serializing: {reason}")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="Error while serializing") as caught:
        save_model(tiny_model(seed=1), tmp_path)
    assert caught.value.errno == code
    assert contents(tmp_path) == before


def test_atomic_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    atomic_write(path, lambda part: part.write_text("one, and long"))
    atomic_write(path, lambda part: part.write_text("two"))
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_json_keeps_its_characters(tmp_path: Path) -> None:
    values = {"name": "Zoë 🙂", "n": [1, 2.5, None]}
    write_json(tmp_path / "a.json", values)
    assert read_json(tmp_path / "a.json") == values
    assert "Zoë 🙂" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("heads", [True, False], ids=["with heads", "without"])
@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gpt2"])
def test_loading_imports_no_compiler(family: Family, heads: bool, tmp_path: Path) -> None:
    """torch's draws, ranges and copies of shapes on the meta device would: a second of every start."""
    save_model(tiny_model(family), tmp_path)
    if not heads:  # as a base has it
        state = load_file(tmp_path / "model.safetensors")
        kept = {name: p for name, p in state.items() if "multiple_choice_head" not in name}
        assert len(kept) < len(state)
        save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loads = "import sys; from pathlib import Path; from convai.model.checkpoint import load_model"
    heavy = "sorted({'sympy', 'torch._dynamo', 'torch._inductor'} & sys.modules.keys())"
    code = f"{loads}; load_model(Path({str(tmp_path)!r})); print({heavy})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
