"""What each architecture's GGUF file calls things: config.json's fields and transformers' names of weights.

Sources: llama.cpp, gguf-py/gguf/tensor_mapping.py (names) and convert_hf_to_gguf.py (what its converter does
to the numbers, which is undone here: rows permuted for rotary positions, norms' weights plus one, GPT-2's
matrices transposed).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from convai.core.errors import CheckpointError
from convai.model.gguf.container import GGUF

Array = NDArray[np.float32]

ROPE_FACTORS: Final = "rope_freqs.weight"
"""Llama 3's scaling of rotary frequencies, as a tensor [head size / 2] of divisors."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """How a file of one architecture is read."""

    model_type: str
    """transformers' name."""
    whole: Mapping[str, str]
    """GGUF name -> transformers' name of what there is once, less `.weight` and `.bias`."""
    block: Mapping[str, str]
    """The same for one block: `attn_q` is `blk.N.attn_q` in the file."""
    block_prefix: str
    """transformers' name of a block, with `{}` for its number."""
    config: Callable[[GGUF], dict[str, Any]]
    optional: frozenset[str] = frozenset()
    """GGUF names (of `whole` and `block`) that a file may do without."""
    undo: Callable[[str, Array, Mapping[str, Any]], Array] = lambda name, value, config: value
    """(GGUF name without block, value, config) -> the value as transformers has it."""


def architecture_of(file: GGUF) -> Architecture:
    """The table's entry for `file`. Raises CheckpointError naming the architectures that can be read."""
    name = file.architecture
    if name not in ARCHITECTURES:
        raise CheckpointError(
            f"{file.path}: architecture {name!r} is not supported; use one of {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[name]


def permuted(rows: Array, heads: int) -> Array:
    """Rows of a query or key matrix as llama.cpp's llama has them: a head's two halves interleaved.

    `rows`: [heads * size, ...]. transformers rotates dimension i with i + size/2, llama.cpp (here) 2i with
    2i + 1.
    """
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def unpermuted(rows: Array, heads: int) -> Array:
    """The inverse of `permuted`."""
    return rows.reshape(heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def llama3_factors(scaling: Mapping[str, Any], theta: float, head_dim: int) -> Array:
    """Divisors [head_dim / 2] of the rotary frequencies under Llama 3's scaling, as llama.cpp stores them.

    Source: transformers, modeling_rope_utils.py (`_compute_llama3_parameters`).
    """
    frequency = theta ** -(np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    wavelength = 2 * math.pi / frequency
    original, factor = scaling["original_max_position_embeddings"], scaling["factor"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    smooth = (original / wavelength - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    divisors = np.where(wavelength < original / high, 1.0, between)
    return np.where(wavelength > original / low, factor, divisors).astype(np.float32)


def read_config(file: GGUF) -> dict[str, Any]:
    """config.json's values for the model in `file`, the ids of its control tokens included.

    Raises CheckpointError for an unsupported architecture and for metadata that are missing.
    """
    config = architecture_of(file).config(file)
    for name, key in _TOKEN_IDS.items():
        if type(id := file.metadata.get(f"tokenizer.ggml.{key}")) is int:
            config[name] = id
    return config | {"dtype": "float32"}


@dataclass(frozen=True, slots=True)
class TensorName:
    """What one weight is called."""

    file: str
    """Its name in the file: `blk.3.attn_q.weight`."""
    part: str
    """The same without the block: `attn_q.weight`."""
    transformers: str
    """transformers' name: `model.layers.3.self_attn.q_proj.weight`."""


def tensor_names(file: GGUF) -> list[TensorName]:
    """The weights of the model in `file`, all that should be there and no other.

    Raises CheckpointError for the first one that is missing, and for one that is not known: a variant of the
    architecture that would be computed wrongly.
    """
    architecture = architecture_of(file)
    blocks = _blocks(file)
    parts = [("", ours, theirs) for ours, theirs in architecture.whole.items()]
    for number in range(blocks):
        prefix = architecture.block_prefix.format(number)
        parts += [
            (f"blk.{number}.", ours, f"{prefix}.{theirs}") for ours, theirs in architecture.block.items()
        ]
    names = []
    for where, ours, theirs in parts:
        if f"{where}{ours}.weight" not in file.tensors and ours not in architecture.optional:
            raise CheckpointError(
                f"{file.path}: has no tensor {where}{ours}.weight; take a complete GGUF file"
            )
        for end in ("weight", "bias"):
            if f"{where}{ours}.{end}" in file.tensors:
                names.append(TensorName(f"{where}{ours}.{end}", f"{ours}.{end}", f"{theirs}.{end}"))
    unknown = file.tensors.keys() - {name.file for name in names} - {ROPE_FACTORS}
    if unknown:
        raise CheckpointError(
            f"{file.path}: {min(unknown)} is no weight of {file.architecture} with {blocks} blocks; "
            "this variant of the architecture is not supported"
        )
    return names


# -- config.json

_TOKEN_IDS: Final = {
    "bos_token_id": "bos_token_id",
    "eos_token_id": "eos_token_id",
    "pad_token_id": "padding_token_id",
}


def _get(file: GGUF, key: str, default: Any = None) -> Any:
    """A number above 0 of the architecture's own metadata. Raises CheckpointError for anything else."""
    name = f"{file.architecture}.{key}"
    value = file.metadata.get(name, default)
    if value is None:
        raise CheckpointError(f"{file.path}: lacks {name}; take a complete GGUF file")
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise CheckpointError(
            f"{file.path}: {name} is {str(value)[:40]}, not a number above 0; use another file"
        )
    return value


def _blocks(file: GGUF) -> int:
    """How many blocks there are. Raises CheckpointError for more than the tensors can be of."""
    blocks: int = _get(file, "block_count")
    if not 1 <= blocks <= len(file.tensors):
        raise CheckpointError(
            f"{file.path}: {blocks:,} blocks in {len(file.tensors):,} tensors; take a complete GGUF file"
        )
    return blocks


def _rounded(value: float) -> float:
    """A float32 as people wrote it: 1e-05 instead of 9.999999747378752e-06."""
    return float(f"{value:.7g}")


def _decoder_config(file: GGUF, model_type: str, class_name: str) -> dict[str, Any]:
    """What llama, qwen3 and gemma3 have in common."""
    width, heads = _get(file, "embedding_length"), _get(file, "attention.head_count")
    if f"{file.architecture}.expert_count" in file.metadata:
        raise CheckpointError(f"{file.path}: a mixture of experts, which is not supported; use a dense model")
    scaling = file.metadata.get(f"{file.architecture}.rope.scaling.type", "none")
    if scaling != "none" and _get(file, "rope.scaling.factor", 1.0) != 1.0:
        raise CheckpointError(f"{file.path}: rotary scaling {scaling!r} is not supported; use another model")
    head_dim = _get(file, "attention.key_length", _get(file, "rope.dimension_count", width // heads))
    theta = _rounded(_get(file, "rope.freq_base", 10000.0))
    return {
        "architectures": [class_name],
        "model_type": model_type,
        "vocab_size": _vocabulary(file),
        "hidden_size": width,
        "intermediate_size": _get(file, "feed_forward_length"),
        "num_hidden_layers": _blocks(file),
        "num_attention_heads": heads,
        "num_key_value_heads": _get(file, "attention.head_count_kv", heads),
        "head_dim": head_dim,
        "max_position_embeddings": _get(file, "context_length"),
        "rms_norm_eps": _rounded(_get(file, "attention.layer_norm_rms_epsilon")),
        "rope_theta": theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "attention_bias": "blk.0.attn_q.bias" in file.tensors,
        "tie_word_embeddings": "output.weight" not in file.tensors,
    }


def _vocabulary(file: GGUF) -> int:
    """Rows of the word embedding."""
    info = file.tensors.get("token_embd.weight")
    if info is None or len(info.shape) != 2:
        raise CheckpointError(f"{file.path}: has no tensor token_embd.weight; take a complete GGUF file")
    return info.shape[0]


def _llama_config(file: GGUF) -> dict[str, Any]:
    config = _decoder_config(file, "llama", "LlamaForCausalLM")
    config |= {"hidden_act": "silu", "mlp_bias": "blk.0.ffn_up.bias" in file.tensors}
    if ROPE_FACTORS in file.tensors:
        config["rope_parameters"] |= _llama3_scaling(file, config)
    return config


def _llama3_scaling(file: GGUF, config: Mapping[str, Any]) -> dict[str, Any]:
    """Llama 3.1's and 3.2's scaling, found again from the divisors that the file has instead."""
    divisors = file.tensor(ROPE_FACTORS)
    scaling = {
        "rope_type": "llama3",
        "factor": _rounded(float(divisors.max())),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    expected = llama3_factors(scaling, config["rope_theta"], config["head_dim"])
    if expected.shape != divisors.shape or not np.allclose(expected, divisors, rtol=1e-4):
        raise CheckpointError(f"{file.path}: {ROPE_FACTORS} is not Llama 3's scaling; use another model")
    return scaling


def _qwen3_config(file: GGUF) -> dict[str, Any]:
    config = _decoder_config(file, "qwen3", "Qwen3ForCausalLM")
    return config | {"hidden_act": "silu", "use_sliding_window": False}


def _gemma3_config(file: GGUF) -> dict[str, Any]:
    config = _decoder_config(file, "gemma3_text", "Gemma3ForCausalLM")
    layers, theta = config["num_hidden_layers"], config["rope_theta"]
    kinds = ["full_attention" if n % 6 == 5 else "sliding_attention" for n in range(layers)]
    local = {"rope_type": "default", "rope_theta": 10000.0}
    return config | {
        "hidden_activation": "gelu_pytorch_tanh",
        # llama.cpp: the head's size, but for the 27B model (62 layers)
        "query_pre_attn_scalar": (
            config["hidden_size"] // config["num_attention_heads"] if layers == 62 else config["head_dim"]
        ),
        "sliding_window": _get(file, "attention.sliding_window"),
        "layer_types": kinds,
        "rope_local_base_freq": 10000.0,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": theta},
            "sliding_attention": local,
        },
    }


def _gpt2_config(file: GGUF) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": _vocabulary(file),
        "n_positions": _get(file, "context_length"),
        "n_embd": _get(file, "embedding_length"),
        "n_layer": _blocks(file),
        "n_head": _get(file, "attention.head_count"),
        "n_inner": _get(file, "feed_forward_length"),
        "layer_norm_epsilon": _rounded(_get(file, "attention.layer_norm_epsilon")),
        "activation_function": "gelu_new",
        "tie_word_embeddings": True,
    }


# -- numbers


def _undo_llama(name: str, value: Array, config: Mapping[str, Any]) -> Array:
    if name.startswith("attn_q."):
        return unpermuted(value, config["num_attention_heads"])
    if name.startswith("attn_k."):
        return unpermuted(value, config["num_key_value_heads"])
    return value


def _undo_gemma3(name: str, value: Array, config: Mapping[str, Any]) -> Array:
    return value - 1 if name.endswith("norm.weight") else value


def _undo_gpt2(name: str, value: Array, config: Mapping[str, Any]) -> Array:
    matrices = ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight")
    return np.ascontiguousarray(value.T) if name in matrices else value


_WHOLE: Final = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_LLAMA_BLOCK: Final = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_QWEN3_BLOCK: Final = _LLAMA_BLOCK | {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_GEMMA3_BLOCK: Final = _QWEN3_BLOCK | {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_GPT2_WHOLE: Final = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
}
_GPT2_BLOCK: Final = {
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
_UNTIED: Final = frozenset({"output"})
_LAYERS: Final = "model.layers.{}"

ARCHITECTURES: Final = {
    "llama": Architecture("llama", _WHOLE, _LLAMA_BLOCK, _LAYERS, _llama_config, _UNTIED, _undo_llama),
    "qwen3": Architecture("qwen3", _WHOLE, _QWEN3_BLOCK, _LAYERS, _qwen3_config, _UNTIED),
    "gemma3": Architecture(
        "gemma3_text", _WHOLE, _GEMMA3_BLOCK, _LAYERS, _gemma3_config, _UNTIED, _undo_gemma3
    ),
    "gpt2": Architecture(
        "gpt2", _GPT2_WHOLE, _GPT2_BLOCK, "transformer.h.{}", _gpt2_config, _UNTIED, _undo_gpt2
    ),
}
"""By `general.architecture`."""
