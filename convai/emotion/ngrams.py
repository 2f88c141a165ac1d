"""A linear model of words, word pairs and parts of words: a teacher that trains in a minute.

It knows what an expression says and nothing of order; a network errs elsewhere, and the mean of both is
better than either. Features are hashed (Weinberger et al. 2009, arXiv 0902.2206), each once a text, weighted
by how rare they are and of length 1 together (tf-idf); a linear layer a head learns by AdaGrad. Shapes: B
texts, T features of the text that has most, L labels of all heads together.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from convai.core.errors import CheckpointError
from convai.core.files import atomic_write, read_json, write_json
from convai.emotion import text
from convai.emotion.batches import HeadTexts
from convai.emotion.config import EmotionConfig, Head
from convai.emotion.model import Encoded
from convai.emotion.vocabulary import PAD_ID

DESCRIPTION: Final = "ngrams.json"
WEIGHTS: Final = "model.safetensors"
_PARTS: Final = (3, 4, 5)
"""Letters of parts of words, whose ends count as letters."""


class Grams:
    """Texts as numbers of their features; PAD_ID is none's."""

    def __init__(self, buckets: int) -> None:
        self.buckets = buckets

    def encode(self, line: str, max_words: int) -> list[int]:
        """The features of a text's first words, each once; at least one."""
        words = text.split(line, max_words)
        features = {*words, *map(" ".join, itertools.pairwise(words))}
        for word in (f"<{word}>" for word in words):
            features.update(f"\t{word[i : i + n]}" for n in _PARTS for i in range(len(word) - n + 1))
        return sorted({zlib.crc32(f.encode()) % (self.buckets - 1) + 1 for f in features}) or [1]


class NgramTeacher(nn.Module):
    """The linear model; its `features` are the logits of all heads, so `logits` only takes a part of them."""

    rarity: Tensor

    def __init__(self, config: EmotionConfig) -> None:
        """`config`: `vocab_size` (the buckets), `heads` and `max_words` count."""
        super().__init__()
        self.config = config
        self.pieces = Grams(config.vocab_size)
        labels = sum(len(head.labels) for head in config.heads)
        self.weights = nn.Embedding(config.vocab_size, labels, sparse=True, padding_idx=PAD_ID)
        nn.init.zeros_(self.weights.weight)
        self.bias = nn.Parameter(torch.zeros(labels))
        self.register_buffer("rarity", torch.ones(config.vocab_size))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.bias.device

    def forward(self, ids: Tensor, lengths: Tensor) -> Encoded:
        """Features `[B, T]`, padded behind; `lengths` `[B]` is not needed."""
        shares = nn.functional.normalize(self.rarity[ids] * (ids != PAD_ID), dim=1)  # [B, T]
        return Encoded(torch.einsum("bt,btl->bl", shares, self.weights(ids)) + self.bias, shares)

    def logits(self, features: Tensor, head: Head) -> Tensor:
        """`[B, L]` → `[B, labels]`."""
        start = 0
        for other in self.config.heads:
            if other.name == head.name:
                break
            start += len(other.labels)
        return features[:, start : start + len(head.labels)]

    @torch.no_grad()
    def count(self, tasks: Sequence[HeadTexts]) -> None:
        """Weigh features by how few of the texts have them; what one text has alone says nothing."""
        texts = sum(map(len, tasks))
        there = torch.zeros(self.config.vocab_size)
        for task in tasks:
            for ids in task.ids:
                there[ids] += 1
        self.rarity.copy_((((texts + 1) / (there + 1)).log() + 1) * (there > 1))

    def optimizers(self, lr: float) -> list[torch.optim.Optimizer]:
        """AdaGrad for the weights, of which a batch needs few, and for the biases."""
        return [
            torch.optim.Adagrad(self.weights.parameters(), lr=lr),
            torch.optim.Adagrad([self.bias], lr=lr / 5),
        ]

    def save(self, folder: Path) -> None:
        """Write the folder, weights in half precision. Raises OSError."""
        state = {name: p.detach().half().contiguous() for name, p in self.state_dict().items()}
        atomic_write(folder / WEIGHTS, lambda part: save_file(state, part))
        write_json(folder / DESCRIPTION, self.config.to_json())

    @classmethod
    def load(cls, folder: Path) -> NgramTeacher:
        """A teacher that was saved. Raises CheckpointError."""
        teacher = cls(EmotionConfig.from_json(read_json(folder / DESCRIPTION), str(folder / DESCRIPTION)))
        try:
            state: dict[str, Any] = {name: p.float() for name, p in load_file(folder / WEIGHTS).items()}
            teacher.load_state_dict(state)
        except (SafetensorError, OSError, RuntimeError) as error:
            reason = type(error).__name__
            raise CheckpointError(f"{folder / WEIGHTS}: damaged ({reason}); copy the folder again") from None
        return teacher.eval()
