"""The rotary families: what stock transformers computes, whatever a config may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from convai.model.checkpoint import load_model, save_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Family, RopeScaling, Shape
from tests.tiny import close, inputs, randomize

SCALED = RopeScaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_positions=32)
OPTIONS: dict[str, dict[str, object]] = {
    "plain": {},
    "one key-value head": {"n_kv_head": 1},
    "a head for each": {"n_kv_head": None},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "untied": {"tied": False},
    "wide heads": {"head_size": 12},
    "stretched": {"rope_scaling": SCALED, "rope_theta": 500_000.0},
}


def shape_of(family: Family, **changes: object) -> Shape:
    values: dict[str, object] = {
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_kv_head": 2,
        "n_inner": 40,
        "vocab_size": 35,
        "n_positions": 160,
    }
    shape = Shape(family=family, **values | changes)  # type: ignore[arg-type]
    return shape.without_dropout()


def stock(shape: Shape) -> torch.nn.Module:
    """transformers' own model of that shape, with weights large enough for every mistake to show."""
    config, kind = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    }[shape.family]
    model: torch.nn.Module = kind(config(**shape.to_hf()))
    randomize(model, 3)
    return model.eval()


def kinds() -> list[tuple[Family, str]]:
    return [("llama", name) for name in OPTIONS] + [("qwen3", n) for n in OPTIONS if n != "biases"]


@pytest.mark.parametrize(("family", "option"), kinds())
def test_transformers_models_load_and_give_the_same_logits(
    family: Family, option: str, tmp_path: Path
) -> None:
    shape = shape_of(family, **OPTIONS[option])
    theirs = stock(shape)
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    assert ours.config.to_hf() == shape.to_hf()
    words, positions, segments = inputs()
    expected = theirs(words, position_ids=positions).logits
    assert expected.std() > 0.5, "the weights are too small to show a difference"
    assert close(ours.lm_logits(ours(words, positions)), expected)
    # the gate is 0 until it has learnt: a pretrained model starts as itself
    assert torch.equal(ours(words, positions, segments), ours(words, positions))


@pytest.mark.parametrize(("family", "option"), kinds())
def test_ours_load_in_transformers(family: Family, option: str, tmp_path: Path) -> None:
    shape = shape_of(family, **OPTIONS[option])
    ours = DoubleHeadsModel(shape).eval()
    randomize(ours)
    with torch.no_grad():
        ours.transformer.segment_gate.zero_()
    save_model(ours, tmp_path)
    kind = {"llama": LlamaForCausalLM, "qwen3": Qwen3ForCausalLM}[shape.family]
    theirs = kind.from_pretrained(tmp_path).eval()
    words, positions, _ = inputs()
    assert close(theirs(words, position_ids=positions).logits, ours.lm_logits(ours(words, positions)))
    assert torch.equal(load_model(tmp_path).output_weight, ours.output_weight)


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_same_gradients_as_transformers(family: Family, tmp_path: Path) -> None:
    theirs = stock(shape_of(family))
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path).train()
    words, positions, _ = inputs()
    ours.lm_logits(ours(words, positions)).logsumexp(-1).sum().backward()
    theirs(words, position_ids=positions).logits.logsumexp(-1).sum().backward()
    found = ours.transformer.h[0].attn.k_proj.weight.grad
    expected = theirs.model.layers[0].self_attn.k_proj.weight.grad
    assert found is not None
    assert close(found, expected)
    assert close(ours.transformer.wte.weight.grad, theirs.model.embed_tokens.weight.grad)


def test_an_open_gate_lets_segments_in() -> None:
    model = DoubleHeadsModel(shape_of("llama")).eval()
    randomize(model)
    words, positions, segments = inputs()
    assert not torch.allclose(model(words, positions, segments), model(words, positions))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_type 'yarn'"),
        ({"num_key_value_heads": 3}, "n_kv_head=3"),
        ({"head_dim": 7}, "even number"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 4.0}}, "rope scaling lacks"),
        ({"tie_word_embeddings": "yes"}, "tied='yes'"),
    ],
)
def test_what_is_not_computed_is_refused(changes: dict[str, object], message: str) -> None:
    from convai.core.errors import CheckpointError

    with pytest.raises(CheckpointError, match=message):
        Shape.from_hf(shape_of("llama").to_hf() | changes)
