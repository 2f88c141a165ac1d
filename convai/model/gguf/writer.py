"""A model of transformers' names written as a GGUF file that llama.cpp opens: llama, qwen3 and gemma3.

The inverse of `architectures` and `tokenizer`, whose tables it uses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType, LlamaFileType
from gguf.quants import quantize
from tokenizers import Tokenizer
from torch import Tensor

from convai.core.errors import SettingsError
from convai.core.files import atomic_write
from convai.model.gguf.architectures import ARCHITECTURES, permuted
from convai.model.gguf.configs import ROPE_FACTORS, Array, gemma3_constants, llama3_factors
from convai.model.gguf.tokenizer import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    is_gemma,
    rules_of,
)

KINDS: Final = {
    "float32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "float16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bfloat16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
"""What matrices can be stored as, by the names of the command line."""

WRITTEN: Final = {"llama": "llama", "qwen3": "qwen3", "gemma3_text": "gemma3"}
"""Families that are written, and what llama.cpp calls them. GPT's families add segment embeddings, which it
does not know."""
_GEMMA: Final = "gemma"
"""The rules of a tokenizer of Gemma's kind; those of byte-level BPE have llama.cpp's names."""
_BYTE: Final = re.compile(r"<0x[0-9A-F]{2}>")


def write_gguf(
    path: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    backend: Tokenizer,
    *,
    kind: str,
    name: str,
    special: Mapping[str, int],
    template: str | None,
) -> None:
    """Write one file, whole or not at all.

    `config` is config.json's, `weights` by transformers' names; `kind` one of KINDS, for matrices (vectors
    are float32); `special` has the ids `bos`, `eos` and `pad`, where there are any. Raises SettingsError for
    a model or tokenizer that llama.cpp does not know, and OSError.
    """
    family = config["model_type"]
    if family not in WRITTEN:
        raise SettingsError(
            f"a {family} model cannot be written as GGUF ({', '.join(WRITTEN)} can); export it --to hf"
        )
    if family == "gemma3_text" and any(
        config[key] != value for key, value in gemma3_constants(config).items()
    ):
        raise SettingsError(
            f"{name}: llama.cpp has Gemma's order of layers and scales, and this model has others; "
            "export it --to hf"
        )
    rules = _GEMMA if family == "gemma3_text" and is_gemma(backend) else rules_of(backend)
    if rules is None:
        raise SettingsError(
            f"{name}: its tokenizer cuts text by rules that llama.cpp does not have; export it --to hf"
        )

    def write(part: Path) -> None:
        writer = gguf.GGUFWriter(part, WRITTEN[family])
        writer.add_name(name)
        _add_shape(writer, config, KINDS[kind][1])
        _add_tokenizer(writer, backend, rules, config["vocab_size"], special, template)
        for ours, values in _tensors(config, weights):
            stored = KINDS[kind][0] if values.ndim == 2 else GGMLQuantizationType.F32
            if stored == GGMLQuantizationType.Q8_0 and values.shape[1] % 32:
                stored = GGMLQuantizationType.F16
            writer.add_tensor(ours, quantize(values, stored), raw_dtype=stored)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    atomic_write(path, write)


def _add_shape(writer: gguf.GGUFWriter, config: Mapping[str, Any], file_type: LlamaFileType) -> None:
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    rope = config["rope_parameters"]
    writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    if config["model_type"] == "gemma3_text":
        writer.add_sliding_window(config["sliding_window"])


def _tensors(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> list[tuple[str, Array]]:
    """(name in the file, values as llama.cpp has them) of every weight, in the order of the table."""
    family = config["model_type"]
    architecture = ARCHITECTURES[WRITTEN[family]]
    parts = [("", ours, theirs) for ours, theirs in architecture.whole.items()]
    for number in range(config["num_hidden_layers"]):
        prefix = architecture.block_prefix.format(number)
        parts += [
            (f"blk.{number}.", ours, f"{prefix}.{theirs}") for ours, theirs in architecture.block.items()
        ]
    tensors = []
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for where, ours, theirs in parts:
        for end in ("weight", "bias"):
            if (tensor := weights.get(f"{theirs}.{end}")) is None:
                continue
            values: Array = np.ascontiguousarray(tensor.detach().float().cpu().numpy())
            if family == "llama" and ours in heads:
                values = permuted(values, heads[ours])
            if family == "gemma3_text" and ours.endswith("norm"):
                values = values + 1
            tensors.append((f"{where}{ours}.{end}", np.ascontiguousarray(values)))
    rope = config["rope_parameters"]
    if rope.get("rope_type") == "llama3":
        tensors.append((ROPE_FACTORS, llama3_factors(rope, rope["rope_theta"], config["head_dim"])))
    return tensors


def _add_tokenizer(
    writer: gguf.GGUFWriter,
    backend: Tokenizer,
    rules: str,
    rows: int,
    special: Mapping[str, int],
    template: str | None,
) -> None:
    spec = json.loads(backend.to_str())
    tokens = [f"[PAD{id}]" for id in range(rows)]  # llama.cpp's converter names rows without a token so
    kinds = [UNUSED] * rows
    for token, id in spec["model"]["vocab"].items():
        tokens[id], kinds[id] = token, NORMAL
    for token in spec["added_tokens"]:
        tokens[token["id"]] = token["content"]
        kinds[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    if rules == _GEMMA:
        for id, token in enumerate(tokens):
            if _BYTE.fullmatch(token):
                kinds[id] = BYTE
        unknown = spec["model"]["vocab"][spec["model"]["unk_token"]]
        kinds[unknown] = UNKNOWN
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        # SentencePiece's merge whose token scores highest comes first
        writer.add_token_scores([-float(id) for id in range(rows)])
        writer.add_unk_token_id(unknown)
    else:
        merges = spec["model"]["merges"]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(rules)
        writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    adders = {"bos": writer.add_bos_token_id, "eos": writer.add_eos_token_id, "pad": writer.add_pad_token_id}
    for what, id in special.items():
        adders[what](id)
    writer.add_add_bos_token(bool(backend.post_processor) and spec["post_processor"]["type"] != "ByteLevel")
    writer.add_add_space_prefix(False)
    if template is not None:
        writer.add_chat_template(template)
