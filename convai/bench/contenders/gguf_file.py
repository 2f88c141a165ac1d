"""A model folder written as a GGUF file, the format that llama.cpp reads.

Tensor names, types and orientation are those of llama.cpp's own converter (convert_hf_to_gguf, GPT-2):
matrices are stored `[out, in]`; norms, biases and position embeddings stay float32; the output shares the
word embedding. The vocabulary is left out: the chats are ids.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from torch import Tensor

from convai.model.checkpoint import load_model

TYPES = {"f16": gguf.GGMLQuantizationType.F16, "q8_0": gguf.GGMLQuantizationType.Q8_0}
_FILE_TYPES = {"f16": gguf.LlamaFileType.MOSTLY_F16, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}
_NAMES = {
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
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
    """Write the language model of a GPT-2 shaped model `folder` to `path`; `kind` is f16 or q8_0."""
    model = load_model(folder)
    config = model.config
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_block_count(config.n_layer)
    writer.add_context_length(config.n_positions)
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(config.inner_size)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)
    writer.add_file_type(_FILE_TYPES[kind])
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(config.vocab_size)
    for name, tensor in model.transformer.state_dict().items():
        values, type = _stored(name, tensor, kind)
        writer.add_tensor(gguf_name(name), values, raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _stored(name: str, tensor: Tensor, kind: str) -> tuple[np.ndarray, gguf.GGMLQuantizationType]:
    values = tensor.detach().float().numpy()
    if values.ndim == 1 or name.startswith("wpe."):
        return values, gguf.GGMLQuantizationType.F32
    if not name.startswith("wte."):
        values = np.ascontiguousarray(values.T)  # our [in, out] is their [out, in]
    return gguf.quants.quantize(values, TYPES[kind]), TYPES[kind]
