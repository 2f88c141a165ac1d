"""`convai models`: list, show, merge, export."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from convai.__main__ import main
from convai.conversation.agent import Agent, load_agent
from convai.conversation.session import Session
from convai.core.dialog import Persona
from convai.core.files import read_json, write_json
from convai.core.settings import EngineConfig, TrainConfig
from convai.model import adapters
from convai.model.double_heads import DoubleHeadsModel
from convai.model.folder import BaseReference, is_adapter
from convai.model.shape import Family, Shape
from convai.text.tokenizer import Tokenizer
from tests.chat_templates import chat_kind
from tests.tiny import close, inputs, randomize


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
    assert "is the model itself" in capsys.readouterr().err
    assert (saved / "model.safetensors").read_bytes() == before


def test_an_unknown_model_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "nonsuch"]) == 2
    assert "no such model folder" in capsys.readouterr().err


# -- adapters


def tuned(folder: Path, family: Family = "llama") -> Path:
    """An adapter that has learnt, its base beside it in `folder`; segments stay out, as in stock models."""
    tokenizer = chat_kind("gemma3" if family == "gemma3_text" else "chatml")
    shape = Shape(
        family=family, vocab_size=tokenizer.vocab_size, n_positions=300, n_embd=32, n_layer=2, n_head=4,
        n_kv_head=2, n_inner=48, sliding_window=20,
    )  # fmt: skip
    model = DoubleHeadsModel(shape.without_dropout())
    randomize(model)
    with torch.no_grad():
        model.transformer.segment_gate.zero_()
    Agent(model, tokenizer).save(folder / "base")
    reference = BaseReference.of(model, folder / "base")
    torch.manual_seed(0)
    adapters.adapt(model, TrainConfig(lora_rank=2))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad and not name.endswith("segment_gate"):
                p.add_(0.1 * torch.randn_like(p))
    adapters.save_adapter(model, folder / "tuned")
    Agent(adapters.merged(model), tokenizer, max_history=5).save_beside(folder / "tuned", reference)
    (folder / "tuned" / "README.md").write_text("# card\n")
    return folder / "tuned"


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_what_is_merged_says_the_same_without_its_base(family: Family, tmp_path: Path) -> None:
    import transformers

    adapter, out = tuned(tmp_path, family), tmp_path / "merged"
    before = load_agent(adapter)
    assert main(["models", "merge", str(adapter), str(out)]) == 0
    (tmp_path / "base").rename(tmp_path / "gone")
    after = load_agent(out)
    assert not is_adapter(out)
    assert after.max_history == 5
    assert after.tokenizer.frame == before.tokenizer.frame
    assert (out / "README.md").read_text() == "# card\n"
    words, positions, segments = inputs()
    expected = before.model(words, positions, segments)
    assert torch.equal(after.model(words, positions, segments), expected)
    assert torch.equal(after.model.mc_logits(expected), before.model.mc_logits(expected))
    replies = ["".join(said_by(agent)) for agent in (before, after)]
    assert replies[0] == replies[1]
    stock = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    assert close(stock(words, position_ids=positions).logits, before.model.lm_logits(expected))


def test_a_copy_of_an_adapter_is_an_adapter_of_half_the_size(tmp_path: Path) -> None:
    adapter, out = tuned(tmp_path), tmp_path / "half"
    assert main(["models", "export", str(adapter), str(out)]) == 0
    assert is_adapter(out)
    assert BaseReference.read(out) == BaseReference.read(adapter)
    assert (out / adapters.WEIGHTS).stat().st_size < 0.75 * (adapter / adapters.WEIGHTS).stat().st_size
    before, after = load_agent(adapter), load_agent(out)
    assert after.max_history == 5
    assert close(after.model(*inputs()), before.model(*inputs()), 0.1)
    assert not close(after.model(*inputs()), load_agent(tmp_path / "base").model(*inputs()), 0.1)


def said_by(agent: Agent) -> Iterator[str]:
    """A reply of a few tokens, through the engine."""
    decoding = dataclasses.replace(agent.decoding, seed=3, max_length=12, candidates=2)
    with agent.engine(EngineConfig(precision="float32")) as engine:
        session = Session(agent, engine, Persona(("i bake.",)), decoding=decoding)
        yield from (event.text for event in session.say("hi"))


def problem(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    assert main(["models", *map(str, argv)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def test_what_cannot_be_merged_is_one_clear_line(
    tmp_path: Path, saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    adapter, out = tuned(tmp_path), tmp_path / "out"
    assert "is no adapter" in problem(capsys, "merge", saved, out)
    assert "is the model itself" in problem(capsys, "merge", adapter, adapter)
    (tmp_path / "taken").touch()
    assert "is a file" in problem(capsys, "merge", adapter, tmp_path / "taken")
    assert "merge them first" in problem(capsys, "export", adapter, out, "--positions", "8")
    other = load_agent(tmp_path / "base")
    randomize(other.model, 1)
    (tmp_path / "base").rename(tmp_path / "kept")
    assert "the base base is not on this machine" in problem(capsys, "merge", adapter, out)
    other.save(tmp_path / "base")
    assert "its base is another base" in problem(capsys, "merge", adapter, out)
    weights = adapter / adapters.WEIGHTS
    (tmp_path / "base" / "model.safetensors").unlink()
    (tmp_path / "kept" / "model.safetensors").rename(tmp_path / "base" / "model.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    assert "damaged" in problem(capsys, "merge", adapter, out)
    assert not out.exists()


def another(adapter: Path, out: Path, seed: int) -> Path:
    """An adapter that has learnt something else since."""
    shutil.copytree(adapter, out)
    g = torch.Generator().manual_seed(seed)
    tensors = adapters.read_tensors(out / adapters.WEIGHTS)
    save_file({n: p + torch.randn(p.shape, generator=g) for n, p in tensors.items()}, out / adapters.WEIGHTS)
    return out


def test_the_mean_of_adapters_is_that_of_their_factors_with_the_firsts_heads(tmp_path: Path) -> None:
    one = tuned(tmp_path)
    other, out = another(one, tmp_path / "other", 1), tmp_path / "mean"
    argv = ["--out", str(out), "--weights", "3", "1", "--keep", "0.5", "--dtype", "float32"]
    assert main(["models", "average", str(one), str(other), *argv]) == 0
    first, second, mean = (adapters.read_tensors(f / adapters.WEIGHTS) for f in (one, other, out))
    for name, p in mean.items():
        expected = 0.75 * first[name] + 0.25 * second[name]
        assert close(p, expected * 0.5 if "lora_B" in name else expected)
    assert BaseReference.read(out) == BaseReference.read(one)
    assert load_agent(out).max_history == 5
    assert (out / adapters.HEADS_FILE).read_bytes() == (one / adapters.HEADS_FILE).read_bytes()


def test_the_mean_of_one_is_itself(tmp_path: Path) -> None:
    one, out = tuned(tmp_path), tmp_path / "mean"
    assert main(["models", "average", str(one), "--out", str(out), "--dtype", "float32"]) == 0
    assert torch.equal(load_agent(out).model(*inputs()), load_agent(one).model(*inputs()))


def test_adapters_of_any_rank_have_a_mean_of_what_they_change(tmp_path: Path) -> None:
    """One with two ranks more and half the scale beside the other; a quarter of the base."""
    one = tuned(tmp_path)
    other, out = another(one, tmp_path / "other", 1), tmp_path / "mean"
    g = torch.Generator().manual_seed(3)
    wider = {}
    for name, p in adapters.read_tensors(other / adapters.WEIGHTS).items():
        axis = 1 if "lora_B" in name else 0
        wider[name] = torch.cat([p, torch.randn(p.shape, generator=g)], axis)
    save_file(wider, other / adapters.WEIGHTS)
    settings = read_json(other / adapters.CONFIG)
    rank = settings["r"]
    write_json(other / adapters.CONFIG, settings | {"r": 2 * rank})
    argv = ["--out", str(out), "--weights", "3", "1", "--keep", "0.5", "--dtype", "float32"]
    assert main(["models", "average", str(one), str(other), *argv, "--rank", str(4 * rank)]) == 0
    base, first, second, mean = (
        load_agent(f).model.state_dict() for f in (tmp_path / "base", one, other, out)
    )
    changed = 0
    for name, p in mean.items():
        if not name.startswith("transformer.h."):
            continue
        expected = 0.5 * base[name] + 0.375 * first[name] + 0.125 * second[name]
        changed += not torch.equal(p, base[name])
        assert torch.allclose(p, expected, rtol=1e-4, atol=1e-4), name
    assert changed
    assert (out / adapters.HEADS_FILE).read_bytes() == (one / adapters.HEADS_FILE).read_bytes()
    assert (
        read_json(out / "convai.json")["training"]["lora_rank"]
        == 4 * rank
        == read_json(out / adapters.CONFIG)["r"]
    )
    # at a smaller rank it is the nearest there is: no nearer than its singular values allow
    assert main(["models", "average", str(one), str(other), *argv[2:], "--out", str(out), "--rank", "1"]) == 0
    for name, p in load_agent(out).model.state_dict().items():
        if name.startswith("transformer.h.") and p.ndim == 2:
            exact = mean[name].double() - base[name].double()
            missing = (p.double() - mean[name].double()).norm() ** 2
            least = (torch.linalg.svdvals(exact)[1:] ** 2).sum()
            assert torch.isclose(missing, least, rtol=1e-2, atol=1e-6), name


def test_what_has_no_mean_is_one_clear_line(
    tmp_path: Path, saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one, out = tuned(tmp_path), tmp_path / "mean"
    foreign = tuned(tmp_path / "elsewhere", "qwen3")
    rank = another(one, tmp_path / "rank", 2)
    tensors = {n: p.repeat(2, 1) for n, p in adapters.read_tensors(rank / adapters.WEIGHTS).items()}
    save_file(tensors, rank / adapters.WEIGHTS)
    for sources, more, expected in [
        ([one, saved], [], "is no adapter"),
        ([one, foreign], [], "is an adapter of base, and"),
        ([one, rank], [], "another rank"),
        ([one, one], ["--weights", "1"], "1 weights for 2 adapters"),
        ([one], ["--weights", "0"], "one of them is more than 0"),
        ([one], ["--keep", "0"], "keep=0.0: use more than 0"),
        ([one], ["--rank", "0"], "rank=0: use 1 or more"),
    ]:
        assert expected in problem(capsys, "average", *sources, "--out", out, *more)
        assert not out.exists()
    assert "is the model itself" in problem(capsys, "average", one, "--out", one)
    (tmp_path / "base").rename(tmp_path / "gone")
    assert "base" in problem(capsys, "average", one, "--out", out)
    assert not out.exists()
