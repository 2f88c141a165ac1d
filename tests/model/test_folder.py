"""A model folder: an adapter finds its base, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from convai.core.errors import BaseUnavailable, CheckpointError
from convai.core.files import write_json
from convai.core.settings import TrainConfig
from convai.model import adapters
from convai.model.bases import ABOUT
from convai.model.checkpoint import load_model, save_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.folder import BASE, SETTINGS, BaseReference, fingerprint, is_adapter, load_folder, shape_of
from convai.model.shape import Shape
from tests.tiny import close, inputs, randomize

SHAPE = Shape(
    family="llama", vocab_size=35, n_positions=160, n_embd=32, n_layer=2, n_head=4, n_kv_head=2, n_inner=48
).without_dropout()


def base(folder: Path, seed: int = 0) -> DoubleHeadsModel:
    model = DoubleHeadsModel(SHAPE)
    randomize(model, seed)
    save_model(model, folder)
    return model.eval()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where bases are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "convai" / "models"


@pytest.fixture
def adapter(tmp_path: Path, home: Path) -> Path:
    model = base(tmp_path / "small")
    reference = BaseReference.of(model, tmp_path / "small")
    torch.manual_seed(0)
    adapters.adapt(model, TrainConfig(lora_rank=2))
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
    adapters.save_adapter(model, tmp_path / "tuned")
    write_json(tmp_path / "tuned" / SETTINGS, {BASE: reference.to_json()})
    return tmp_path / "tuned"


def test_an_adapter_is_loaded_with_its_base(adapter: Path, tmp_path: Path) -> None:
    assert is_adapter(adapter)
    assert not is_adapter(tmp_path / "small")
    assert shape_of(adapter) == load_model(tmp_path / "small").config
    tuned, plain = load_folder(adapter), load_folder(tmp_path / "small")
    assert not close(tuned(*inputs()), plain(*inputs()))
    assert not tuned.training


def test_a_base_by_name_is_taken_before_the_place_where_it_was(
    adapter: Path, tmp_path: Path, home: Path
) -> None:
    expected = load_folder(adapter)(*inputs())
    (tmp_path / "small").rename(tmp_path / "moved")
    with pytest.raises(BaseUnavailable, match="convai models get small"):
        load_folder(adapter)
    home.mkdir(parents=True)
    (tmp_path / "moved").rename(home / "small")
    write_json(home / "small" / ABOUT, {})
    assert torch.equal(load_folder(adapter)(*inputs()), expected)


def test_another_base_is_refused(adapter: Path, tmp_path: Path) -> None:
    base(tmp_path / "small", seed=1)
    with pytest.raises(CheckpointError, match="its base is another small"):
        load_folder(adapter)


def test_settings_without_a_base_are_refused(adapter: Path) -> None:
    write_json(adapter / SETTINGS, {})
    with pytest.raises(CheckpointError, match="without its base"):
        load_folder(adapter)


def test_a_fingerprint_is_the_weights_alone(tmp_path: Path) -> None:
    model = base(tmp_path / "a")
    first = fingerprint(model)
    with torch.no_grad():
        model.multiple_choice_head.summary.weight.zero_()
        model.transformer.segment_gate.fill_(1)
    assert fingerprint(model) == fingerprint(load_model(tmp_path / "a")) == first
    with torch.no_grad():
        model.transformer.h[1].mlp.up_proj.weight[0, 0] += 1
    assert fingerprint(model) != first
