"""How a language model is shown a text: in blocks of tokens, each with the last sentences before it.

Where the cuts are depends on nothing that comes later: a text read sentence by sentence is cut as the text
read at once. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convai.coref.document import Sentence

BLOCK: Final = 256
"""Most tokens of a block, each counted once."""
OVERLAP: Final = 64
"""Most tokens of the block before that a block begins with."""
PIECE: Final = 128
"""Most tokens of a sentence that are read together; a longer one is cut between words."""
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


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens of one block that are read together, behind those of it that were read before."""

    ids: list[int]
    positions: list[int]
    piece: NDArray[np.int64]
    """`[tokens]`: the number of the sentence that each is of, -1 for what stands before the block."""
    first: NDArray[np.bool_]
    """`[tokens]`: whether it is a first reading, which is what later sentences see."""
    ends: list[int]
    """The last token of each new word."""
    past: int
    """Tokens of the block that were read before and are seen; 0 where the block begins."""

    def sight(self, *, forward: bool) -> NDArray[np.bool_]:
        """`[tokens, past + tokens]`: what each token sees: the first readings up to it, and its own.

        `forward`: also what follows in its sentence, as an encoder does.
        """
        own = self.piece[:, None] == self.piece
        if forward:
            seen = (self.piece <= self.piece[:, None]) & (self.first | own)
        else:
            seen = np.tri(len(self.ids), dtype=np.bool_) & (self.first | (own & ~self.first[:, None]))
        return np.concatenate((np.ones((len(self.ids), self.past), np.bool_), seen), axis=1)


class Cutter:
    """Cuts a text as it grows; keeps the block that is being read, no more."""

    def __init__(
        self, ids: Callable[[str], list[int]], start: int, between: list[int], *, twice: bool
    ) -> None:
        """`ids`: the tokens of a word as it is written, one at least; `start`: what stands before a block.

        `between`: what stands between two speakers; `twice`: each sentence follows on itself.
        """
        self._ids, self._start, self._between, self._twice = ids, start, between, twice
        self._speaker: str | None = None
        self._begun = False
        self._fresh = True
        self._block: list[Piece] = []
        self._tokens = 0

    def cut(self, sentences: Sequence[Sentence]) -> Iterator[Chunk]:
        """The next sentences as chunks, each to be read before the next is asked for."""
        pieces = [piece for sentence in sentences for piece in self._pieces(sentence)]
        while pieces:
            size, fitting = sum(map(_size, self._block)), 0
            while fitting < len(pieces) and size + _size(pieces[fitting]) <= BLOCK:
                size += _size(pieces[fitting])
                fitting += 1
            if fitting:
                yield self._chunk(pieces[:fitting])
                pieces = pieces[fitting:]
            else:
                self._turn_over()

    def _pieces(self, sentence: Sentence) -> list[Piece]:
        changed = self._begun and sentence.speaker != self._speaker
        pieces: list[Piece] = [[]]
        for number, text in enumerate(written(sentence.words, first=changed or not self._begun)):
            ids = self._ids(text)
            if changed and not number:
                ids = self._between + ids
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
        self._block, self._tokens, self._fresh = kept, 0, True

    def _chunk(self, pieces: list[Piece]) -> Chunk:
        """Pieces that fit; before them those that a new block begins with."""
        again = self._block if self._fresh else []
        ids: list[int] = []
        positions: list[int] = []
        reading: list[int] = []
        piece_of: list[int] = []
        ends: list[int] = []
        at, past = self._tokens, self._tokens
        if self._fresh:
            ids, positions, reading, piece_of, at = [self._start], [0], [1], [-1], 1
        for number, piece in enumerate([*again, *pieces]):
            flat = [token for word in piece for token in word]
            new = number >= len(again)
            turns = (1, 2) if new and self._twice else (1,)
            for turn in turns:
                if new and turn == turns[-1]:
                    ends += (len(ids) - 1 + np.cumsum([len(word) for word in piece])).tolist()
                ids += flat
                positions += range(at, at + len(flat))
                reading += [turn] * len(flat)
                piece_of += [number] * len(flat)
                at += len(flat)
            at -= len(flat) * (len(turns) - 1)  # what follows does not see the second reading
        first = np.array(reading) == 1
        self._tokens = past + int(first.sum())
        self._block, self._fresh = self._block + pieces, False
        return Chunk(ids, positions, np.array(piece_of), first, ends, past)


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
