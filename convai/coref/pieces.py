"""Words as the pieces that an encoder knows (WordPiece), with fewer of them than it came with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

SPECIAL: Final = ("[UNK]", "[CLS]", "[SEP]")
START: Final = SPECIAL.index("[CLS]")
BETWEEN: Final = SPECIAL.index("[SEP]")
_INNER: Final = "##"
_LETTERS: Final = 0x180
"""Characters below this are kept each."""


class Pieces:
    """Text → ids; lower case, without accents. No text is a special piece."""

    def __init__(self, pieces: Sequence[str]) -> None:
        """`pieces` in the order of their rows, SPECIAL first."""
        self._tokenizer = _tokenizer({piece: i for i, piece in enumerate(pieces)})

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def needed(known: Mapping[str, int], words: Iterable[str], most: int) -> list[str]:
    """Of the pieces `known` those that `words`, the commonest first, are made of: `most` of them.

    SPECIAL comes first, then single letters; a word of other pieces is later cut into smaller ones.
    """
    tokenizer = _tokenizer(known)
    order = sorted(known, key=lambda piece: known[piece])  # a tokenizer tells them in any order
    letters = [p for p in order if len(p.removeprefix(_INNER)) == 1 and ord(p[-1]) < _LETTERS]
    kept = dict.fromkeys((*SPECIAL, *letters))
    for word in words:
        kept.update(dict.fromkeys(tokenizer.encode(word, add_special_tokens=False).tokens))
    return list(kept)[:most]


def _tokenizer(ids: Mapping[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(dict(ids), unk_token=SPECIAL[0]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer
