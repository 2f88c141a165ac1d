"""What each architecture's GGUF file calls things: config.json's fields and transformers' names of weights.

Sources: llama.cpp, gguf-py/gguf/tensor_mapping.py (names) and convert_hf_to_gguf.py (what its converter does
to the numbers, which is undone here: rows permuted for rotary positions, norms' weights plus one, GPT-2's
matrices transposed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from convai.core.errors import CheckpointError
from convai.model.gguf.configs import (
    ROPE_FACTORS,
    Array,
    blocks,
    gemma3_config,
    gpt2_config,
    llama_config,
    qwen3_config,
)
from convai.model.gguf.container import GGUF


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


_TOKEN_IDS: Final = {
    "bos_token_id": "bos_token_id",
    "eos_token_id": "eos_token_id",
    "pad_token_id": "padding_token_id",
}


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
    count = blocks(file)
    parts = [("", ours, theirs) for ours, theirs in architecture.whole.items()]
    for number in range(count):
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
            f"{file.path}: {min(unknown)} is no weight of {file.architecture} with {count} blocks; "
            "this variant of the architecture is not supported"
        )
    return names


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
    "llama": Architecture("llama", _WHOLE, _LLAMA_BLOCK, _LAYERS, llama_config, _UNTIED, _undo_llama),
    "qwen3": Architecture("qwen3", _WHOLE, _QWEN3_BLOCK, _LAYERS, qwen3_config, _UNTIED),
    "gemma3": Architecture(
        "gemma3_text", _WHOLE, _GEMMA3_BLOCK, _LAYERS, gemma3_config, _UNTIED, _undo_gemma3
    ),
    "gpt2": Architecture(
        "gpt2", _GPT2_WHOLE, _GPT2_BLOCK, "transformer.h.{}", gpt2_config, _UNTIED, _undo_gpt2
    ),
}
"""By `general.architecture`."""
