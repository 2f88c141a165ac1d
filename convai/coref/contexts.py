"""What a language model knows of each word where it stands: its states, of a text as it grows.

A causal model sees nothing of what follows, so every sentence is read twice: the second time the words of the
sentence follow on their own whole. What is kept of the text is the first reading alone, so that later
sentences see a text as it was written. An encoder (`encoder`) sees its sentence whole at once. A text read
sentence by sentence has the states of the text read at once (`chunks`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor

from convai.coref.chunks import Cutter
from convai.coref.document import Sentence
from convai.coref.encoder import WordEncoder
from convai.coref.pairs import Floats
from convai.coref.pieces import BETWEEN, START, Pieces
from convai.model.checkpoint import load_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.folder import BaseReference, model_folder
from convai.model.lower_blocks import LowerBlocks, Past
from convai.text.tokenizer import Tokenizer

_WORD: Final = 32
"""Tokens of one word that are read."""
_REMEMBERED: Final = 50_000


class GrowingText(Protocol):
    """A text as it grows."""

    def add(self, sentences: Sequence[Sentence]) -> Floats:
        """The states `[words, width]` of the next sentences."""


class Contexts(Protocol):
    """What begins such texts."""

    def begin(self) -> GrowingText:
        """A text without a word."""


class Blocks(Protocol):
    """Blocks of a model, which read tokens behind others."""

    width: int

    def read(
        self, ids: Tensor, positions: Tensor, mask: Tensor, past: Past | None = None
    ) -> tuple[Tensor, Past]:
        """States `[T, width]` of the tokens `ids` `[T]`, and all keys and values.

        `mask` `[T, past + T]`: True where a token may look.
        """


class ContextReader:
    """Reads texts with the blocks of a model."""

    def __init__(
        self,
        blocks: Blocks,
        encode: Callable[[str], list[int]],
        start: int,
        between: list[int],
        *,
        twice: bool,
    ) -> None:
        """`encode`: text → ids; `start`: what stands before a block, where attention goes that goes nowhere.

        `between`: what stands between two speakers; `twice`: whether the blocks do not see what follows.
        """
        self.blocks, self.twice = blocks, twice
        self.width = blocks.width
        self.start = start
        self._encode = encode
        self._ids: dict[str, list[int]] = {}
        self._between = between

    def begin(self) -> ContextStream:
        """A text without a word."""
        return ContextStream(self)

    def cutter(self) -> Cutter:
        """What cuts a text for these blocks."""
        return Cutter(self.ids, self.start, self._between, twice=self.twice)

    def ids(self, text: str) -> list[int]:
        """The tokens of a word as it is written, blank included; one at least."""
        found = self._ids.get(text)
        if found is None:
            found = self._encode(text)[:_WORD] or [self.start]
            if len(self._ids) < _REMEMBERED:
                self._ids[text] = found
        return found


class ContextStream:
    """A text as it grows: the block that is being read, no more."""

    def __init__(self, reader: ContextReader) -> None:
        self._reader = reader
        self._cutter = reader.cutter()
        self._past: Past | None = None

    def add(self, sentences: Sequence[Sentence]) -> Floats:
        """The states `[words, width]` of the next sentences."""
        found = [np.zeros((0, self._reader.width), np.float32)]
        for chunk in self._cutter.cut(sentences):
            mask = chunk.sight(forward=not self._reader.twice)
            with torch.inference_mode():
                states, past = self._reader.blocks.read(
                    torch.tensor(chunk.ids),
                    torch.tensor(chunk.positions),
                    torch.from_numpy(mask),
                    self._past if chunk.past else None,
                )
            keep = np.concatenate((np.ones(chunk.past, np.bool_), chunk.first)).nonzero()[0]
            at = torch.from_numpy(keep)
            self._past = past if chunk.first.all() else [(k[:, :, at], v[:, :, at]) for k, v in past]
            found.append(states[chunk.ends].numpy())
        return np.concatenate(found)


def load_contexts(name: str | Path, layers: int) -> tuple[ContextReader, BaseReference]:
    """A reader with the first `layers` blocks of a base (a folder, or a name), and which base it is.

    Raises CheckpointError for what is no base of use, BaseUnavailable where it cannot be had.
    """
    folder = model_folder(name)
    model = load_model(folder)
    reference = BaseReference.of(model, folder)
    return _reader(model, layers, folder), reference


def contexts_of(reference: BaseReference, layers: int, source: Path) -> ContextReader:
    """The reader that a model in `source` was trained with.

    Raises BaseUnavailable where the base is missing, CheckpointError where it is another one.
    """
    folder = reference.folder()
    model = load_model(folder)
    reference.check(model, source, folder)
    return _reader(model, layers, folder)


def _reader(model: DoubleHeadsModel, layers: int, folder: Path) -> ContextReader:
    tokenizer = Tokenizer.load(folder)
    blocks = LowerBlocks(model, layers)
    start, between = min(tokenizer.special_ids), tokenizer.encode("\n")
    return ContextReader(blocks, tokenizer.encode, start, between, twice=True)


def encoder_reader(encoder: WordEncoder) -> ContextReader:
    """What reads with an encoder as it is, or with its twin in 8 bits."""
    return ContextReader(encoder, Pieces(encoder.pieces).encode, START, [BETWEEN], twice=False)
