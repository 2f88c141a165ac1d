"""A model folder for everybody to load: a base's weights or random ones, and a vocabulary without meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers

from convai.bench.sizes import BASES, SIZES
from convai.conversation.agent import Agent
from convai.model.bases import base_path
from convai.model.checkpoint import load_config, load_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Shape
from convai.text.detokenizer import byte_of_char
from convai.text.tokenizer import SPECIAL_TOKENS, Tokenizer

LOGITS: Final = 3.5
BLOCKS: Final = 40.0
"""See `random_model`."""


def made_up_tokenizer(vocab_size: int) -> Tokenizer:
    """A byte-level tokenizer of exactly `vocab_size` tokens, whose words are strings of letters.

    Random weights need no meaning, but every id has to have a text: what an engine may draw, and what it
    decodes, is then as much as with a trained vocabulary.
    """
    vocab = dict(byte_of_char())
    size = vocab_size - len(SPECIAL_TOKENS)
    letters = "etaoinshrdlucmfwypvbgkqjxzĠ"
    merges: list[tuple[str, str]] = []
    level = list(letters)
    while len(vocab) < size:
        grown = [(token, letter) for token in level for letter in letters][: size - len(vocab)]
        merges += grown
        level = [token + letter for token, letter in grown]
        vocab.update({token: len(vocab) + i for i, token in enumerate(level)})
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    return Tokenizer(backend)


def random_model(config: Shape, seed: int = 0) -> DoubleHeadsModel:
    """A model that is as unsure of the next token as a trained one.

    With GPT-2's initial weights a hidden state is little else than its own word's embedding, so with the tied
    output it repeats that word; without that, its nucleus would hold most of the vocabulary, and all that is
    measured is sorting. Here the blocks outweigh the embeddings, and the last norm is scaled so that logits
    have a standard deviation of LOGITS: a nucleus of 0.9 at temperature 0.7 holds some dozens of tokens at
    S and some hundred at M.
    """
    torch.manual_seed(seed)
    model = DoubleHeadsModel(config.without_dropout())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("c_proj.weight", "o_proj.weight", "down_proj.weight")):
                weight.mul_(BLOCKS)
        rows = model.transformer.wte.weight.norm(dim=1).mean()
        model.get_parameter("transformer.ln_f.weight").mul_(LOGITS / rows)
    return model.eval()


def save_size(size: str, folder: Path, seed: int = 0) -> dict[str, Any]:
    """Write a model of `size` (see `sizes`) for everybody to load; returns what there is to tell of it.

    Its weights are the base's where this machine has that, random ones elsewhere. The last ids of the
    vocabulary serve as control ids, whatever they are to the base.
    """
    config, base = SIZES[size], base_path(BASES.get(size, ""))
    if base is not None and load_config(base).vocab_size == config.vocab_size:
        model, weights = load_model(base), base.name
    else:
        model, weights = random_model(config, seed), "random"
    Agent(model, made_up_tokenizer(config.vocab_size)).save(folder)
    about = {"parameters": model.num_parameters(), "layers": config.n_layer, "width": config.n_embd}
    return about | {"weights": weights}
