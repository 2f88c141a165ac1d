"""A model without what is convai's own: a plain transformers folder, or a GGUF file for llama.cpp.

The next-sentence head, the match head and the segments' gate are left out; what remains is the language
model. Models of the rotary families only: GPT's add segment embeddings to every token, so that they are
nothing without them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer as Backend
from torch import Tensor

from convai.core.errors import SettingsError
from convai.core.files import atomic_write, write_json
from convai.model.checkpoint import CONFIG, WEIGHTS
from convai.model.double_heads import DoubleHeadsModel
from convai.model.families import FAMILIES
from convai.model.gguf.writer import write_gguf
from convai.text.tokenizer import Tokenizer


def export_hf(model: DoubleHeadsModel, tokenizer: Tokenizer, folder: Path, dtype: torch.dtype) -> None:
    """Write `model` as stock transformers saves a causal language model, floating-point weights as `dtype`.

    Raises SettingsError for a model that is none without its segments, and OSError.
    """
    config, weights = _plain(model, tokenizer)
    config["dtype"] = str(dtype).removeprefix("torch.")
    state = {name: tensor.to(dtype).contiguous() for name, tensor in weights.items()}
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / WEIGHTS, lambda part: save_file(state, part, metadata={"format": "pt"}))
    write_json(folder / CONFIG, config)
    tokenizer.save(folder)


def export_gguf(model: DoubleHeadsModel, tokenizer: Tokenizer, path: Path, kind: str, name: str) -> None:
    """Write `model` as a GGUF file, matrices as `kind` (see `gguf.writer.KINDS`).

    Raises SettingsError for a model or tokenizer that llama.cpp does not have, and OSError.
    """
    config, weights = _plain(model, tokenizer)
    write_gguf(
        path,
        config,
        weights,
        Backend.from_str(tokenizer.to_json()),
        kind=kind,
        name=name,
        special={"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "pad": tokenizer.pad_id},
        template=None if tokenizer.chat is None else tokenizer.chat.template,
    )


def _plain(model: DoubleHeadsModel, tokenizer: Tokenizer) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """config.json and the weights by transformers' names, of the language model alone."""
    shape = model.config
    if not shape.rotary:
        raise SettingsError(
            f"a {shape.family} model is nothing without its segment embeddings; export it without --to"
        )
    state = FAMILIES[shape.family].to_disk(model.state_dict())
    root = FAMILIES[shape.family].block.partition(".")[0] + "."
    weights = {
        name: tensor.detach().cpu()
        for name, tensor in state.items()
        if name.startswith((root, "lm_head.")) and not name.endswith("segment_gate")
    }
    ids = {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
    }
    config = shape.replace(match_size=0).to_hf() | ids
    return config, weights
