"""A model folder written as a GGUF file, the format that llama.cpp reads.

Tensor names, types and orientation are those of llama.cpp's own converter (convert_hf_to_gguf): matrices are
stored `[out, in]`, llama's queries and keys with the halves of a head interleaved; norms, biases and position
embeddings stay float32; a tied output shares the word embedding. The vocabulary is left out: the chats are
ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
from torch import Tensor

from convai.core.errors import CheckpointError
from convai.model.checkpoint import load_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.gguf.architectures import permuted
from convai.model.shape import Shape

TYPES = {"f16": gguf.GGMLQuantizationType.F16, "q8_0": gguf.GGMLQuantizationType.Q8_0}
_FILE_TYPES = {"f16": gguf.LlamaFileType.MOSTLY_F16, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}
_NAMES = {
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "attn.q_proj": "attn_q",
    "attn.k_proj": "attn_k",
    "attn.v_proj": "attn_v",
    "attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name: str) -> str:
    """transformer.h.3.attn.c_attn.weight → blk.3.attn_qkv.weight. Raises KeyError for another tensor."""
    parts = name.removeprefix("transformer.").split(".")
    *module, kind = parts
    block = ""
    if module[0] == "h":
        block, module = f"blk.{module[1]}.", module[2:]
    return f"{block}{_NAMES['.'.join(module)]}.{kind}"


def write_gguf(folder: Path, path: Path, kind: str) -> None:
    """Write the language model of a `folder` of GPT-2's or llama's family to `path`; `kind` is f16 or q8_0.

    Raises CheckpointError for another family, and for what llama.cpp would not know of.
    """
    model = load_model(folder)
    config = model.config
    if not _plain(model):
        raise CheckpointError(f"{folder}: a {config.family} model that llama.cpp would compute otherwise")
    writer = gguf.GGUFWriter(path, config.family)
    writer.add_block_count(config.n_layer)
    writer.add_context_length(config.n_positions)
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(config.inner_size)
    writer.add_head_count(config.n_head)
    if config.rotary:
        writer.add_head_count_kv(config.kv_heads)
        writer.add_layer_norm_rms_eps(config.layer_norm_epsilon)
        writer.add_rope_dimension_count(config.head)
        writer.add_rope_freq_base(config.rope_theta)
    else:
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    writer.add_file_type(_FILE_TYPES[kind])
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(config.vocab_size)
    for name, tensor in _weights(model):
        values, type = _stored(name, tensor, kind, config)
        writer.add_tensor(gguf_name(name), values, raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _plain(model: DoubleHeadsModel) -> bool:
    """Whether a file as it is written here says all that there is to the language model."""
    shape = model.config
    if shape.family != "llama":
        return shape.family == "gpt2"
    more = shape.rope_scaling is not None or shape.attention_bias or shape.mlp_bias or not shape.tied
    return not more and float(model.transformer.segment_gate.detach()) == 0


def _weights(model: DoubleHeadsModel) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in model.transformer.state_dict().items():
        if name != "segment_gate":
            yield name, tensor


def _stored(
    name: str, tensor: Tensor, kind: str, config: Shape
) -> tuple[np.ndarray, gguf.GGMLQuantizationType]:
    values = tensor.detach().float().numpy()
    if values.ndim == 1 or name.startswith("wpe."):
        return values, gguf.GGMLQuantizationType.F32
    if ".c_" in name:
        values = np.ascontiguousarray(values.T)  # our [in, out] is their [out, in]
    if name.endswith(("q_proj.weight", "k_proj.weight")):
        values = permuted(values, config.n_head if "q_proj" in name else config.kv_heads)
    return gguf.quants.quantize(values, TYPES[kind]), TYPES[kind]
