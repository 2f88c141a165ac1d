"""config.json of a model in a GGUF file: its fields from the metadata and tensors of each architecture.

Source: llama.cpp, convert_hf_to_gguf.py, whose converter is undone here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from convai.core.errors import CheckpointError
from convai.model.gguf.container import GGUF

Array = NDArray[np.float32]

ROPE_FACTORS: Final = "rope_freqs.weight"
"""Llama 3's scaling of rotary frequencies, as a tensor [head size / 2] of divisors."""


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


def blocks(file: GGUF) -> int:
    """How many blocks there are. Raises CheckpointError for more than the tensors can be of."""
    count: int = _get(file, "block_count")
    if not 1 <= count <= len(file.tensors):
        raise CheckpointError(
            f"{file.path}: {count:,} blocks in {len(file.tensors):,} tensors; take a complete GGUF file"
        )
    return count


_GEMMA3_LOCAL_THETA: Final = 10000.0


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
        "vocab_size": vocabulary(file),
        "hidden_size": width,
        "intermediate_size": _get(file, "feed_forward_length"),
        "num_hidden_layers": blocks(file),
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


def vocabulary(file: GGUF) -> int:
    """Rows of the word embedding."""
    info = file.tensors.get("token_embd.weight")
    if info is None or len(info.shape) != 2:
        raise CheckpointError(f"{file.path}: has no tensor token_embd.weight; take a complete GGUF file")
    return info.shape[0]


def llama_config(file: GGUF) -> dict[str, Any]:
    """Llama's, its scaling of rotary frequencies included."""
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


def qwen3_config(file: GGUF) -> dict[str, Any]:
    """Qwen 3's."""
    config = _decoder_config(file, "qwen3", "Qwen3ForCausalLM")
    return config | {"hidden_act": "silu", "use_sliding_window": False}


def gemma3_config(file: GGUF) -> dict[str, Any]:
    """Gemma 3's, of its text model."""
    config = _decoder_config(file, "gemma3_text", "Gemma3ForCausalLM")
    config["rope_parameters"] = {
        "full_attention": {"rope_type": "default", "rope_theta": config["rope_theta"]},
        "sliding_attention": {"rope_type": "default", "rope_theta": _GEMMA3_LOCAL_THETA},
    }
    return (
        config
        | gemma3_constants(config)
        | {
            "hidden_activation": "gelu_pytorch_tanh",
            "sliding_window": _get(file, "attention.sliding_window"),
            "rope_local_base_freq": _GEMMA3_LOCAL_THETA,
        }
    )


def gemma3_constants(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a Gemma 3 no GGUF file says, since llama.cpp takes it for granted."""
    layers = config["num_hidden_layers"]
    rope = config["rope_parameters"]
    return {
        # the head's size, but for the 27B model (62 layers)
        "query_pre_attn_scalar": (
            config["hidden_size"] // config["num_attention_heads"] if layers == 62 else config["head_dim"]
        ),
        "layer_types": ["full_attention" if n % 6 == 5 else "sliding_attention" for n in range(layers)],
        "rope_parameters": rope
        | {"sliding_attention": rope["sliding_attention"] | {"rope_theta": _GEMMA3_LOCAL_THETA}},
    }


def gpt2_config(file: GGUF) -> dict[str, Any]:
    """GPT-2's."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": vocabulary(file),
        "n_positions": _get(file, "context_length"),
        "n_embd": _get(file, "embedding_length"),
        "n_layer": blocks(file),
        "n_head": _get(file, "attention.head_count"),
        "n_inner": _get(file, "feed_forward_length"),
        "layer_norm_epsilon": _rounded(_get(file, "attention.layer_norm_epsilon")),
        "activation_function": "gelu_new",
        "tie_word_embeddings": True,
    }
