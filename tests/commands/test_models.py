"""`convai models`: list, show, export."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from convai.__main__ import main
from convai.conversation.agent import Agent, load_agent
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Shape
from convai.text.tokenizer import Tokenizer


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = Shape(vocab_size=261, n_positions=64, n_embd=16, n_layer=2, n_head=2)
    Agent(DoubleHeadsModel(config), Tokenizer.byte_level(), max_history=3).save(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("# card\n")
    return tmp_path / "model"


def test_show_names_shape_and_settings(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", str(saved)]) == 0
    out = capsys.readouterr().out
    assert "2 of width 16, 2 heads" in out
    assert "max_history  3" in out
    assert "top_p" in out


def test_export_halves_the_weights_and_keeps_everything_else(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "half"
    assert main(["models", "export", str(saved), str(out)]) == 0
    assert (out / "README.md").read_text() == "# card\n"
    assert (out / "model.safetensors").stat().st_size < 0.6 * (saved / "model.safetensors").stat().st_size
    full, half = load_agent(saved), load_agent(out)
    assert half.max_history == 3
    torch.testing.assert_close(
        half.model.transformer.wte.weight, full.model.transformer.wte.weight, rtol=2**-8, atol=0
    )


def test_export_can_leave_out_positions_that_were_never_trained(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "short"
    assert main(["models", "export", str(saved), str(out), "--positions", "40", "--dtype", "float32"]) == 0
    full, short = load_agent(saved), load_agent(out)
    assert short.model.config.n_positions == 40
    assert torch.equal(short.model.transformer.wpe.weight, full.model.transformer.wpe.weight[:40])
    assert main(["models", "export", str(saved), str(tmp_path / "x"), "--positions", "65"]) == 2
    assert "use 1 to the model's own 64" in capsys.readouterr().err


def test_export_onto_itself_is_refused(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (saved / "model.safetensors").read_bytes()
    assert main(["models", "export", str(saved), str(saved)]) == 2
    assert "export to another folder" in capsys.readouterr().err
    assert (saved / "model.safetensors").read_bytes() == before


def test_an_unknown_model_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "nonsuch"]) == 2
    assert "no such model folder" in capsys.readouterr().err
