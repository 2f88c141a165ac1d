"""NVIDIA's apex as an option, the other package of its name, and none at all (all of them made up here)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import ignite.distributed as idist
import pytest
import torch

from convai.__main__ import main
from convai.core.errors import SettingsError
from convai.core.resources import data_dir
from convai.core.settings import TrainConfig
from convai.training import apex
from convai.training.optim import Optimizers
from convai.training.start import prepared_for_training
from tests.tiny import inputs, tiny_model

OPTIMIZERS = """
import torch


class FusedAdam(torch.optim.AdamW):
    def __init__(self, params, lr=1e-3, bias_correction=True, betas=(0.9, 0.999), eps=1e-8, adam_w_mode=True,
                 weight_decay=0.0):
        assert adam_w_mode and bias_correction
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
"""
NORMALIZATION = """
import torch


class FusedLayerNorm(torch.nn.Module):
    def __init__(self, normalized_shape, eps=1e-5):
        super().__init__()
        self.shape, self.eps = normalized_shape, eps
        self.weight = torch.nn.Parameter(torch.ones(normalized_shape))
        self.bias = torch.nn.Parameter(torch.zeros(normalized_shape))

    def forward(self, x):
        return torch.nn.functional.layer_norm(x, self.shape, self.weight, self.bias, self.eps)
"""
WITHOUT_CUDA = """
class FusedAdam:
    def __init__(self, *args, **settings):
        raise RuntimeError("apex.optimizers.FusedAdam requires cuda extensions")
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, modules: dict[str, str]) -> None:
    for name, text in modules.items():
        path = folder / "apex" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(folder)


@pytest.fixture(autouse=True)
def no_apex_yet() -> Iterator[None]:
    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "apex"]:
            del sys.modules[name]

    forget()
    yield
    forget()


@pytest.fixture
def nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {"optimizers/__init__.py": OPTIMIZERS, "normalization/__init__.py": NORMALIZATION}
    install(tmp_path, monkeypatch, {"__init__.py": "", **modules})


@pytest.mark.usefixtures("nvidia")
def test_fused_adam_takes_the_place_of_torchs() -> None:
    weights = []
    for config in (TrainConfig(lr=1e-3), TrainConfig(lr=1e-3, apex_adam=True)):
        model = tiny_model()
        optimizers = Optimizers(model, config)
        assert type(optimizers.parts[0][0]).__name__ == ("FusedAdam" if config.apex_adam else "AdamW")
        for seed in range(3):
            words, positions, segments = inputs(seed=seed)
            model.lm_logits(model(words, positions, segments)).logsumexp(-1).mean().backward()
            optimizers.clip(1.0)
            optimizers.step()
            optimizers.zero_grad()
        # the gradient of a key's bias is nothing but rounding: it adds the same to all scores of a query
        kept = [p for name, p in model.named_parameters() if not name.endswith("c_attn.bias")]
        weights.append(torch.cat([p.detach().flatten() for p in kept]))
    torch.testing.assert_close(weights[0], weights[1], atol=1e-6, rtol=0)


@pytest.mark.usefixtures("nvidia")
def test_fused_layer_norms_compute_and_save_as_torchs() -> None:
    model, words = tiny_model(), inputs()
    before, names = model(*words), list(model.state_dict())
    apex.fuse_layer_norms(model)
    kinds = [type(m).__name__ for m in model.modules() if "LayerNorm" in type(m).__name__]
    assert kinds == ["FusedLayerNorm"] * 5
    torch.testing.assert_close(model(*words), before)
    assert list(model.state_dict()) == names


def test_none_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not (Path(p) / "apex").exists()])
    for option, ask in (("adam", apex.fused_adam), ("layer-norm", apex.fused_layer_norm)):
        with pytest.raises(
            SettingsError, match=f"--apex-{option}: NVIDIA's apex is not installed.*NVIDIA/apex"
        ):
            ask()


def test_the_other_apex_is_recognised_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, {"__init__.py": "import pyramid", "models.py": "", "lib/__init__.py": ""})
    with pytest.raises(SettingsError, match=r"not NVIDIA's: PyPI's package .* Pyramid.*pip uninstall apex"):
        apex.fused_adam()
    assert "apex" not in sys.modules


def test_an_apex_without_its_cuda_code_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = "raise ImportError('no fused_layer_norm_cuda')"
    modules = {"optimizers/__init__.py": WITHOUT_CUDA, "normalization/__init__.py": broken}
    install(tmp_path, monkeypatch, {"__init__.py": "", **modules})
    with pytest.raises(SettingsError, match="--apex-adam: apex is built without its CUDA code"):
        Optimizers(tiny_model(), TrainConfig(apex_adam=True))
    with pytest.raises(SettingsError, match=r"apex\.normalization cannot be loaded"):
        apex.fused_layer_norm()


@pytest.mark.usefixtures("nvidia")
def test_both_are_for_gpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert idist.device().type == "cpu"
    data = str(data_dir() / "sample_dialogues.jsonl")
    for option in ("--apex-adam", "--apex-layer-norm"):
        assert main(["train", data, "--out", str(tmp_path / "out"), option]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert f"{option}: apex computes on NVIDIA GPUs, and there is none here" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("nvidia")
def test_a_model_for_a_gpu_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Card:
        type = "cuda"

    monkeypatch.setattr(idist, "device", lambda: Card)
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, device: self)
    model = prepared_for_training(tiny_model(), TrainConfig(apex_layer_norm=True))
    assert type(model.transformer.ln_f).__name__ == "FusedLayerNorm"
