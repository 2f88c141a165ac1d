"""What is read from a GGUF file is the model that was written: its shape, its weights, its logits."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf.quants import dequantize, quantize

from convai.core.errors import CheckpointError
from convai.model.gguf.architectures import permuted, read_config, tensor_names, unpermuted
from convai.model.gguf.configs import llama3_factors
from convai.model.gguf.container import open_gguf
from convai.model.gguf.weights import read_weights
from tests.model.gguf.files import Kind, tiny_model, write_gguf

CLASSES = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    "gemma3_text": (transformers.Gemma3TextConfig, transformers.Gemma3ForCausalLM),
    "gpt2": (transformers.GPT2Config, transformers.GPT2LMHeadModel),
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def read_back(path: Path) -> transformers.PreTrainedModel:
    """Stock transformers with what the file says."""
    file = open_gguf(path)
    config = read_config(file)
    config_class, model_class = CLASSES[config["model_type"]]
    model = model_class(config_class(**config))
    missing, unexpected = model.load_state_dict(read_weights(file), strict=False)
    tied = {"lm_head.weight"} if config["tie_word_embeddings"] else set()
    assert set(missing) <= tied
    assert not unexpected
    model.tie_weights()
    return model.eval()


def logits(model: transformers.PreTrainedModel) -> torch.Tensor:
    ids = torch.arange(40)[None] * 7 % model.config.vocab_size  # longer than Gemma's window
    with torch.no_grad():
        return model(ids).logits


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": False}),
        ("llama", {"attention_bias": True, "mlp_bias": True}),
        ("llama", {"num_key_value_heads": 4, "num_attention_heads": 4}),
        ("llama", {"num_key_value_heads": 1, "head_dim": 32}),
        ("llama", {"rope_parameters": LLAMA3}),
        ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 100000.0}}),
        ("qwen3", {}),
        ("gemma3_text", {}),
        ("gpt2", {}),
    ],
)
def test_the_logits_are_those_of_the_model_that_was_written(
    tmp_path: Path, family: str, options: dict[str, Any]
) -> None:
    model = tiny_model(family, **options)
    again = read_back(write_gguf(tmp_path / "m.gguf", model))
    torch.testing.assert_close(logits(again), logits(model), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_1, Kind.Q4_0, Kind.Q5_1])
def test_quantised_weights_are_what_transformers_reads(tmp_path: Path, kind: Kind) -> None:
    write_gguf(tmp_path / "m.gguf", tiny_model("llama"), kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path, gguf_file="m.gguf", dtype=torch.float32
        )
    ours = read_back(tmp_path / "m.gguf")
    expected, actual = theirs.state_dict(), ours.state_dict()
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(actual[name], tensor), name
    assert torch.equal(logits(ours), logits(theirs))


def test_a_block_of_q4_1_is_scale_times_level_plus_minimum(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    values = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    writer.add_tensor("x", quantize(values, Kind.Q4_1), raw_dtype=Kind.Q4_1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    read = open_gguf(tmp_path / "m.gguf").tensor("x")
    assert read.shape == (3, 64)
    assert np.array_equal(read, dequantize(quantize(values, Kind.Q4_1), Kind.Q4_1))
    levels = values.reshape(-1, 32)
    steps = (levels.max(1) - levels.min(1)) / 15
    assert np.all(np.abs(read.reshape(-1, 32) - levels) <= 0.51 * steps[:, None] + 2e-3)


def test_permuting_is_undone_for_matrices_and_biases() -> None:
    matrix = np.arange(24 * 5, dtype=np.float32).reshape(24, 5)
    assert np.array_equal(unpermuted(permuted(matrix, 3), 3), matrix)
    assert permuted(np.arange(8.0), 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_llama_3_factors_are_transformers() -> None:
    config = transformers.LlamaConfig(head_dim=64, rope_parameters=LLAMA3)
    inverse, _ = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 1 / LLAMA3["rope_theta"] ** (torch.arange(0, 64, 2) / 64)
    factors = llama3_factors(LLAMA3, LLAMA3["rope_theta"], 64)
    np.testing.assert_allclose(factors, (plain / inverse).numpy(), rtol=1e-5)


# -- what cannot be read is said in one line


def read_header(path: Path) -> None:
    file = open_gguf(path)
    read_config(file)
    tensor_names(file)


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_header(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


def test_a_file_cut_short_names_both_sizes(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", tiny_model("llama"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 5000])
    message = refusal(path)
    assert f"{len(whole) - 5000:,} bytes" in message
    assert f"{len(whole):,}" in message


@pytest.mark.parametrize("size", [24, 100, 1000, 6000])
def test_a_file_cut_short_inside_the_header(tmp_path: Path, size: int) -> None:
    path = write_gguf(tmp_path / "m.gguf", tiny_model("llama"))
    path.write_bytes(path.read_bytes()[:size])
    assert f"{size:,} bytes end inside the header" in refusal(path)


@pytest.mark.parametrize(
    "content", [b"", b"GGUF", b"PK\x03\x04" + bytes(100), b"not a model at all, just text"]
)
def test_a_foreign_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    assert "not a GGUF file" in refusal(path)


def test_no_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "m.gguf")


def test_another_version_and_another_byte_order(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", tiny_model("llama"))
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + (1).to_bytes(4, "little") + whole[8:])
    assert "version 1 GGUF" in refusal(path)
    path.write_bytes(whole[:4] + (3).to_bytes(4, "big") + whole[8:])
    assert "big-endian GGUF" in refusal(path)


def test_an_unsupported_architecture_is_named_with_those_that_are_supported(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", tiny_model("llama"), architecture="mamba")
    message = refusal(path)
    assert "'mamba'" in message
    assert "llama, qwen3, gemma3, gpt2" in message


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", tiny_model("llama"), leave_out="blk.1.ffn_up.weight")
    assert "blk.1.ffn_up.weight" in refusal(path)


def test_a_variant_with_other_tensors_is_not_read_as_if_it_had_none(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", tiny_model("qwen3"), architecture="llama")
    data = path.read_bytes().replace(b"qwen3.", b"llama.")
    path.write_bytes(data)
    assert "attn_k_norm.weight is no weight of llama" in refusal(path)


def test_damage_in_the_header_is_no_traceback(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", tiny_model("llama"))
    whole = bytearray(path.read_bytes())
    refused = 0
    for at in range(4, 600, 3):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        try:
            read_header(path)
        except CheckpointError:
            refused += 1
    assert refused > 100
