"""A GGUF file's weights as transformers has them: float32 tensors by transformers' names."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from convai.model.gguf.architectures import architecture_of, tensor_names
from convai.model.gguf.container import GGUF


def read_weights(file: GGUF) -> dict[str, Tensor]:
    """Every weight of the model in `file`: transformers' name -> float32.

    Quantised tensors become the numbers that llama.cpp's blocks stand for, exactly (`scale * level + minimum`
    of float16 scales needs float32). An output embedding is there only if it is not tied. Raises
    CheckpointError for an unsupported architecture, a missing or unknown tensor, and a type that cannot be
    read.
    """
    architecture = architecture_of(file)
    config = architecture.config(file)
    weights = {}
    for name in tensor_names(file):
        value = architecture.undo(name.part, file.tensor(name.file), config)
        weights[name.transformers] = torch.from_numpy(np.ascontiguousarray(value))
    if config["tie_word_embeddings"]:  # a converter may write the embedding twice
        weights.pop("lm_head.weight", None)
    return weights
