"""What a pretrained language model knows of each word where it stands: its states half-way up.

A causal model sees nothing of what follows, so every sentence is read twice: the second time the words of the
sentence follow on their own whole. What is kept of the text is the first reading alone, so that later
sentences see a text as it was written. The text is cut into blocks, each of which begins with the last
sentences of the one before; where, depends on nothing that comes later: a text read sentence by sentence has
the states of the text read at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from convai.coref.document import Sentence
from convai.coref.pairs import Floats
from convai.model.checkpoint import load_model
from convai.model.folder import BaseReference, model_folder
from convai.model.lower_blocks import LowerBlocks, Past
from convai.text.tokenizer import Tokenizer

BLOCK: Final = 256
"""Most tokens of a block, each counted once."""
OVERLAP: Final = 64
"""Most tokens of the block before that a block begins with."""
PIECE: Final = 128
"""Most tokens of a sentence that are read together; a longer one is cut between words."""
_WORD: Final = 32
"""Tokens of one word that are read."""
_REMEMBERED: Final = 50_000
_TIGHT: Final = frozenset(". , ! ? ; : ) ] } % ' '' ’ ”".split())
"""What stands close to the word before it."""
_OPENS: Final = frozenset("( [ { `` “ $ #".split())
"""What stands close to the word after it."""
_WRITTEN: Final = {
    "-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}", "``": '"', "''": '"'
}  # fmt: skip
_LONGEST_ENDING: Final = 3

Piece = list[list[int]]
"""Words as ids."""


class GrowingText(Protocol):
    """A text as it grows."""

    def add(self, sentences: Sequence[Sentence]) -> Floats:
        """The states `[words, width]` of the next sentences."""


class Contexts(Protocol):
    """What begins such texts."""

    def begin(self) -> GrowingText:
        """A text without a word."""


class ContextReader:
    """Reads texts with the lower blocks of a base model."""

    def __init__(self, blocks: LowerBlocks, tokenizer: Tokenizer) -> None:
        self.blocks = blocks
        self.width = blocks.width
        self._tokenizer = tokenizer
        self.start = min(tokenizer.special_ids)
        """What stands before a block: the first token draws the attention that goes nowhere."""
        self._ids: dict[str, list[int]] = {}

    def begin(self) -> ContextStream:
        """A text without a word."""
        return ContextStream(self)

    def ids(self, text: str) -> list[int]:
        """The tokens of a word as it is written, blank included; one at least."""
        found = self._ids.get(text)
        if found is None:
            found = self._tokenizer.encode(text)[:_WORD] or [self.start]
            if len(self._ids) < _REMEMBERED:
                self._ids[text] = found
        return found


class ContextStream:
    """A text as it grows: the block that is being read, no more."""

    def __init__(self, reader: ContextReader) -> None:
        self._reader = reader
        self._speaker: str | None = None
        self._begun = False
        self._block: list[Piece] = []
        self._past: Past | None = None
        self._tokens = 0
        """Tokens of the past."""

    def add(self, sentences: Sequence[Sentence]) -> Floats:
        """The states `[words, width]` of the next sentences."""
        pieces = [piece for sentence in sentences for piece in self._pieces(sentence)]
        found = [np.zeros((0, self._reader.width), np.float32)]
        while pieces:
            size, fitting = sum(map(_size, self._block)), 0
            while fitting < len(pieces) and size + _size(pieces[fitting]) <= BLOCK:
                size += _size(pieces[fitting])
                fitting += 1
            if fitting:
                found.append(self._read(pieces[:fitting]))
                pieces = pieces[fitting:]
            else:
                self._turn_over()
        return np.concatenate(found)

    def _pieces(self, sentence: Sentence) -> list[Piece]:
        changed = self._begun and sentence.speaker != self._speaker
        pieces: list[Piece] = [[]]
        for number, text in enumerate(written(sentence.words, first=changed or not self._begun)):
            ids = self._reader.ids(text)
            if changed and not number:
                ids = self._reader.ids("\n") + ids
            if _size(pieces[-1]) + len(ids) > PIECE and pieces[-1]:
                pieces.append([])
            pieces[-1].append(ids)
        self._speaker, self._begun = sentence.speaker, True
        return [piece for piece in pieces if piece]

    def _turn_over(self) -> None:
        """Begin a block with the last pieces of this one."""
        kept: list[Piece] = []
        while self._block and sum(map(_size, kept)) + _size(self._block[-1]) <= OVERLAP:
            kept.insert(0, self._block.pop())
        self._block, self._past, self._tokens = kept, None, 0

    def _read(self, pieces: list[Piece]) -> Floats:
        """Read pieces that fit; with them those that a new block begins with."""
        again = self._block if self._past is None else []
        ids, positions, reading, piece_of, ends = [], [], [], [], []
        at = self._tokens
        if self._past is None:
            ids, positions, reading, piece_of, at = [self._reader.start], [0], [1], [-1], 1
        for number, piece in enumerate([*again, *pieces]):
            flat = [token for word in piece for token in word]
            for turn in (1, 2) if number >= len(again) else (1,):
                if turn == 2:
                    ends += (len(ids) - 1 + np.cumsum([len(word) for word in piece])).tolist()
                ids += flat
                positions += range(at, at + len(flat))
                reading += [turn] * len(flat)
                piece_of += [number] * len(flat)
                at += len(flat)
            at -= len(flat) * (number >= len(again))  # what follows does not see the second reading
        first = np.array(reading) == 1
        mask = _sight(first, np.array(piece_of), self._tokens)
        with torch.inference_mode():
            states, past = self._reader.blocks.read(
                torch.tensor(ids), torch.tensor(positions), torch.from_numpy(mask), self._past
            )
        keep = torch.from_numpy(np.concatenate((np.ones(self._tokens, np.bool_), first)).nonzero()[0])
        self._past = [(k[:, :, keep], v[:, :, keep]) for k, v in past]
        self._tokens, self._block = len(keep), self._block + pieces
        found: Floats = states[ends].numpy()
        return found


def _sight(first: NDArray[np.bool_], piece: NDArray[np.int64], past: int) -> NDArray[np.bool_]:
    """`[tokens, past + tokens]`: each sees the first reading up to it; the second one its own, too."""
    before = np.tri(len(first), dtype=np.bool_)
    own = ~first[:, None] & ~first & (piece[:, None] == piece)
    seen = before & (first | own)
    return np.concatenate((np.ones((len(first), past), np.bool_), seen), axis=1)


def _size(piece: Piece) -> int:
    return sum(map(len, piece))


def written(words: Sequence[str], *, first: bool) -> list[str]:
    """Words of a treebank as they are written: with the blank before them, or none; `first` of a line."""
    texts = []
    close, quoted = first, False
    for word in words:
        ending = word[:1] in ("'", "’") and len(word) <= _LONGEST_ENDING
        tight = close or word in _TIGHT or ending or word.lower().replace("’", "'") == "n't"
        close = word in _OPENS
        if word == '"':
            tight, quoted = tight or quoted, not quoted
            close = quoted
        texts.append(("" if tight else " ") + _WRITTEN.get(word, word))
    return texts


def load_contexts(name: str | Path, layers: int) -> tuple[ContextReader, BaseReference]:
    """A reader with the first `layers` blocks of a base (a folder, or a name), and which base it is.

    Raises CheckpointError for what is no base of use, BaseUnavailable where it cannot be had.
    """
    folder = model_folder(name)
    model = load_model(folder)
    reference = BaseReference.of(model, folder)
    return ContextReader(LowerBlocks(model, layers), Tokenizer.load(folder)), reference


def contexts_of(reference: BaseReference, layers: int, source: Path) -> ContextReader:
    """The reader that a model in `source` was trained with.

    Raises BaseUnavailable where the base is missing, CheckpointError where it is another one.
    """
    folder = reference.folder()
    model = load_model(folder)
    reference.check(model, source, folder)
    return ContextReader(LowerBlocks(model, layers), Tokenizer.load(folder))
