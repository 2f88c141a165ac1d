"""Small GGUF files, written as llama.cpp's converter writes them, and the transformers models in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

Kind = gguf.GGMLQuantizationType

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' "
    "else message['role'] %}<start_of_turn>{{ role }}\n{{ message['content'] }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
VOCABULARY = 320

_TEXTS = (
    "The weather is nice today, isn't it?  I have 2 dogs and 13 cats.",
    "We'll see what the weather brings; she's 27 and they've seen it all.",
    "  indented\n\ttabbed text with  two blanks, naïve café and 3.14 in it",
    "the other day the other cat saw the other dog, weather or not",
)


def words(pre: str) -> pre_tokenizers.PreTokenizer:
    """The rules of SmolLM's tokenizer.json ("smollm") or GPT-2's ("gpt-2")."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if pre == "gpt-2":
        return byte_level
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])


def trained_tokenizer(pre: str = "smollm") -> Tokenizer:
    """A byte-level BPE tokenizer of VOCABULARY tokens at most, the control tokens first."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = words(pre)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(CONTROL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_TEXTS * 3, trainer)
    return backend


def add_tokenizer(writer: gguf.GGUFWriter, backend: Tokenizer, pre: str | None = "smollm") -> None:
    spec = json.loads(backend.to_str())
    tokens = sorted(spec["model"]["vocab"], key=spec["model"]["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in CONTROL else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in spec["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


GEMMA_TOKENS = (
    *("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "  ", "   "),
    *(f"<0x{byte:02X}>" for byte in range(256)),
    *(
        "th",
        "the",
        "▁the",
        "▁t",
        "he",
        "in",
        "ing",
        "▁a",
        "an",
        "and",
        "▁and",
        "er",
        "▁w",
        "ea",
        "wea",
        "▁wea",
    ),
    *"▁etaoinshrdlcumwfgypbvk.,'é",
)
"""As Gemma's files have them: merges are not listed, longer tokens of blanks are spelt as blanks."""


def add_gemma_tokenizer(writer: gguf.GGUFWriter) -> None:
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    tokens = [*GEMMA_TOKENS, *(f"<unused{n}>" for n in range(VOCABULARY - len(GEMMA_TOKENS)))]
    writer.add_token_list(tokens)
    writer.add_token_scores([-1000.0] * len(tokens))
    kinds = {"<unk>": 2, "  ": 4, "   ": 4} | dict.fromkeys(GEMMA_TOKENS[:3] + GEMMA_TOKENS[4:6], 3)
    writer.add_token_types(
        [
            kinds.get(token, 6 if token.startswith("<0x") else 5 if "unused" in token else 1)
            for token in tokens
        ]
    )
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(GEMMA_TEMPLATE)


def tiny_model(family: str, **options: Any) -> transformers.PreTrainedModel:
    """A random model of transformers' own: "llama", "qwen3", "gemma3_text" or "gpt2"."""
    torch.manual_seed(0)
    decoder = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5,
    }
    if family == "llama":
        settings = decoder | {"tie_word_embeddings": True} | options
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings))
    elif family == "qwen3":
        settings = decoder | {"head_dim": 32, "tie_word_embeddings": True} | options
        model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**settings))
    elif family == "gemma3_text":
        settings = (
            decoder | {"num_hidden_layers": 7, "sliding_window": 8, "query_pre_attn_scalar": 16} | options
        )
        model = transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**settings))
    else:
        settings = {
            "vocab_size": VOCABULARY,
            "n_positions": 64,
            "n_embd": 64,
            "n_layer": 2,
            "n_head": 4,
            "n_inner": 96,
        } | options
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**settings))
    with torch.no_grad():  # norms that are not all ones, biases that are not all zeros
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def write_gguf(
    path: Path,
    model: transformers.PreTrainedModel,
    kind: Kind = Kind.F32,
    *,
    pre: str | None = "smollm",
    leave_out: str = "",
    architecture: str | None = None,
) -> Path:
    """Write `model` to `path`, matrices as `kind`, vectors as float32, but not the tensor `leave_out`."""
    config = model.config
    names = {"llama": "llama", "qwen3": "qwen3", "gemma3_text": "gemma3", "gpt2": "gpt2"}
    name = names[config.model_type]
    writer = gguf.GGUFWriter(path, architecture or name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    if name == "gpt2":
        writer.add_feed_forward_length(config.n_inner)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        _add_decoder(writer, config, name)
    blocks = gguf.get_tensor_name_map(_arch(name), config.num_hidden_layers)
    tied = model.config.tie_word_embeddings
    for theirs, tensor in model.state_dict().items():
        if tied and theirs == "lm_head.weight":
            continue
        ours = blocks.get_name(theirs, (".weight", ".bias"))
        assert ours is not None, theirs
        if ours != leave_out:
            values = _as_llama_cpp(name, ours, tensor.numpy(), config)
            stored = kind if values.ndim == 2 else Kind.F32
            writer.add_tensor(ours, gguf.quants.quantize(values, stored), raw_dtype=stored)
    if name == "llama" and (scaling := config.rope_parameters)["rope_type"] == "llama3":
        inverse, _ = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
        plain = 1 / scaling["rope_theta"] ** (torch.arange(0, config.head_dim, 2) / config.head_dim)
        writer.add_tensor("rope_freqs.weight", (plain / inverse).float().numpy())
    if name == "gemma3":
        add_gemma_tokenizer(writer)
    else:
        add_tokenizer(writer, trained_tokenizer(), pre)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _arch(name: str) -> gguf.MODEL_ARCH:
    return next(arch for arch, text in gguf.MODEL_ARCH_NAMES.items() if text == name)


def _add_decoder(writer: gguf.GGUFWriter, config: Any, name: str) -> None:
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    rope = config.rope_parameters
    theta = rope["full_attention"]["rope_theta"] if name == "gemma3" else rope["rope_theta"]
    writer.add_rope_freq_base(theta)
    if name == "gemma3":
        writer.add_sliding_window(config.sliding_window)
    if name == "llama":
        writer.add_rope_dimension_count(config.head_dim)


def _as_llama_cpp(name: str, tensor: str, values: np.ndarray, config: Any) -> np.ndarray:
    """What llama.cpp's convert_hf_to_gguf.py does to a tensor."""
    values = np.ascontiguousarray(values)
    if name == "llama" and ("attn_q." in tensor or "attn_k." in tensor):
        heads = config.num_attention_heads if "attn_q." in tensor else config.num_key_value_heads
        shape = values.shape
        values = values.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)
    if name == "gemma3" and tensor.endswith("norm.weight"):
        values = values + 1
    if name == "gpt2" and any(
        part in tensor for part in ("attn_qkv.w", "attn_output.w", "ffn_up.w", "ffn_down.w")
    ):
        values = values.T
    return np.ascontiguousarray(values)
