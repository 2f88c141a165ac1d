"""The rotary families: what stock transformers computes, whatever a config may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from convai.model.checkpoint import load_model, save_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.hf_config import FULL, SLIDING
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

GEMMA: dict[str, dict[str, object]] = {
    "a window": {"sliding_window": 3},
    "another scale": {"query_scale": 24, "sliding_window": 5},
    "windows alone": {"sliding_window": 2, "layer_types": (SLIDING, SLIDING)},
    "no window": {"layer_types": (FULL, FULL)},
    "far and near": {"rope_theta": 900.0, "rope_local_theta": 20.0, "sliding_window": 4},
    "window of one": {"sliding_window": 1},
}
STOCK = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "gemma3_text": (Gemma3TextConfig, Gemma3ForCausalLM),
}
ROTARY: list[Family] = ["llama", "qwen3", "gemma3_text"]


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
    if family == "gemma3_text":
        values |= {"sliding_window": 4, "layer_types": (SLIDING, FULL), "query_scale": 6}
    shape = Shape(family=family, **values | changes)  # type: ignore[arg-type]
    return shape.without_dropout()


def stock(shape: Shape) -> torch.nn.Module:
    """transformers' own model of that shape, with weights large enough for every mistake to show."""
    config, kind = STOCK[shape.family]
    model: torch.nn.Module = kind(config(**shape.to_hf()))
    randomize(model, 3)
    return model.eval()


def kinds() -> list[tuple[Family, str]]:
    without = [name for name in OPTIONS if name != "biases"]
    return [
        *(("llama", name) for name in OPTIONS),
        *(("qwen3", name) for name in without),
        *(("gemma3_text", name) for name in [*without, *GEMMA]),
    ]


@pytest.mark.parametrize(("family", "option"), kinds())
def test_transformers_models_load_and_give_the_same_logits(
    family: Family, option: str, tmp_path: Path
) -> None:
    shape = shape_of(family, **(OPTIONS | GEMMA)[option])
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
    shape = shape_of(family, **(OPTIONS | GEMMA)[option])
    ours = DoubleHeadsModel(shape).eval()
    randomize(ours)
    with torch.no_grad():
        ours.transformer.segment_gate.zero_()
    save_model(ours, tmp_path)
    _, kind = STOCK[shape.family]
    theirs = kind.from_pretrained(tmp_path).eval()
    words, positions, _ = inputs()
    assert close(theirs(words, position_ids=positions).logits, ours.lm_logits(ours(words, positions)))
    assert torch.equal(load_model(tmp_path).output_weight, ours.output_weight)


@pytest.mark.parametrize("family", ROTARY)
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


# -- Gemma's own


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_activation": "silu"}, "hidden_activation"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ({"layer_types": ["full_attention"]}, "layer_types names 1 layers, there are 2"),
        ({"layer_types": ["full_attention", "chunked_attention"]}, "'chunked_attention' is not supported"),
        ({"sliding_window": 0}, "sliding_window=0"),
        ({"query_pre_attn_scalar": -1}, "query_pre_attn_scalar=-1"),
        (
            {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0}}},
            "rope_type 'linear'",
        ),
        ({"rope_parameters": {"sliding_attention": {"rope_type": "linear"}}}, "of sliding_attention"),
    ],
)
def test_what_gemma_may_not_ask_for(changes: dict[str, object], message: str) -> None:
    from convai.core.errors import CheckpointError

    with pytest.raises(CheckpointError, match=message):
        Shape.from_hf(shape_of("gemma3_text").to_hf() | changes)


def test_a_config_of_an_older_release_says_the_same() -> None:
    shape = shape_of("gemma3_text", n_layer=4, layer_types=(SLIDING, FULL) * 2, rope_theta=5e5)
    values = shape.to_hf()
    del values["rope_parameters"], values["layer_types"]
    old = {"rope_theta": 5e5, "rope_local_base_freq": 10_000.0, "sliding_window_pattern": 2}
    assert Shape.from_hf(values | old).to_hf() == shape.to_hf()
    theirs = Gemma3TextConfig(**values | old)
    assert theirs.layer_types == shape.to_hf()["layer_types"]
    assert theirs.rope_parameters["full_attention"]["rope_theta"] == 5e5


def test_what_a_config_leaves_out_is_what_transformers_assumes() -> None:
    sizes = {"num_hidden_layers": 13, "hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    shape = Shape.from_hf({"model_type": "gemma3_text", "vocab_size": 9, "intermediate_size": 8, **sizes})
    theirs = Gemma3TextConfig(vocab_size=9, intermediate_size=8, **sizes)
    ours = shape.to_hf()
    for name in ("layer_types", "sliding_window", "query_pre_attn_scalar", "head_dim", "rms_norm_eps"):
        assert ours[name] == getattr(theirs, name), name
    for kind in (FULL, SLIDING):
        assert ours["rope_parameters"][kind] == theirs.rope_parameters[kind]


def test_a_branch_is_as_far_from_its_trunk_as_in_a_row_of_its_own() -> None:
    """A window counts positions: what other branches lie between in the row is nothing."""
    model = DoubleHeadsModel(shape_of("gemma3_text", sliding_window=3)).eval()
    randomize(model)
    words = torch.randint(0, 30, (1, 12), generator=torch.Generator().manual_seed(0))
    # a trunk of 4, then two branches of 4 on it
    positions = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7]])
    mask = torch.ones(12, 12, dtype=torch.bool).tril()
    mask[8:, 4:8] = False
    tree = model(words, positions, mask=mask[None, None])
    alone = model(torch.cat((words[:, :4], words[:, 8:]), 1), torch.arange(8)[None])
    assert close(tree[:, 8:], alone[:, 4:])
    assert close(tree[:, :8], model(words[:, :8], torch.arange(8)[None]))


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text"])
def test_a_config_without_a_rate_has_no_dropout_as_in_transformers(family: Family) -> None:
    """Not the blog post's 0.1: a file of weights (GGUF) doesn't name one, and the fused kernels know none."""
    values = shape_of(family).to_hf()
    del values["attention_dropout"]
    assert Shape.from_hf(values).attn_pdrop == 0.0
