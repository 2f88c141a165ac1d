"""Words ↔ ids: torchMoji's vocabulary.json, made from texts or extended by them."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from convai.core.errors import CheckpointError, SettingsError
from convai.core.files import atomic_write, read_json
from convai.emotion import text
from convai.emotion.hashtags import parts

PAD_ID: Final = 0
"""The id of CUSTOM_MASK: fills rows up, stands for no word."""
UNKNOWN_ID: Final = 1
LONGEST_WORD: Final = 30
"""Characters of the longest word that a vocabulary takes in (torchMoji's limit)."""
RESERVED: Final = (*text.SPECIAL, *(f"CUSTOM_BLANK_{i}" for i in range(6, 10)))
"""What a vocabulary begins with; the blanks are free for uses of one's own."""


class WordEncoder(Protocol):
    """What makes ids of texts: a `Vocabulary`, or a teacher's `Pieces`; PAD_ID is nothing in either."""

    def encode(self, line: str, max_words: int) -> list[int]:
        """The ids of a text's first words, at least one."""


class Vocabulary:
    """An injective mapping of words to the ids 0 … size - 1; RESERVED come first."""

    def __init__(self, words: Sequence[str], *, split_hashtags: bool = False) -> None:
        """`words` in the order of their ids. Raises SettingsError unless they begin with RESERVED's first
        six and are all different.

        `split_hashtags`: a hashtag that is no word of it is read as the words it is made of.
        """
        self.words = tuple(words)
        self.split_hashtags = split_hashtags
        self._ids = {word: i for i, word in enumerate(self.words)}
        if self.words[: len(text.SPECIAL)] != text.SPECIAL:
            raise SettingsError(f"a vocabulary begins with {', '.join(text.SPECIAL)}")
        if len(self._ids) != len(self.words):
            twice = next(word for word, n in Counter(self.words).items() if n > 1)
            raise SettingsError(f"a vocabulary has every word once; {twice!r} is there again")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._ids

    def ids(self, words: Iterable[str]) -> list[int]:
        """The ids of `words`, UNKNOWN_ID for those it lacks."""
        return [self._ids.get(word, UNKNOWN_ID) for word in words]

    def split(self, line: str, max_words: int = text.MAX_WORDS) -> list[str]:
        """The first words of a text, as they are read: see `text.split`, and `split_hashtags`."""
        words = text.split(line, max_words)
        if not self.split_hashtags:
            return words
        cut = (
            parts(word, self._ids) if word[0] == "#" and word not in self._ids else [word] for word in words
        )
        return list(itertools.islice(itertools.chain.from_iterable(cut), max_words))

    def encode(self, line: str, max_words: int = text.MAX_WORDS) -> list[int]:
        """The ids of a text's first words, at least one: a text without words is one unknown word."""
        return self.ids(self.split(line, max_words)) or [UNKNOWN_ID]

    # -- making ------------------------------------------------------------------------------------

    @classmethod
    def build(
        cls, texts: Iterable[str], *, size: int, min_count: int = 2, split_hashtags: bool = False
    ) -> Vocabulary:
        """RESERVED and the most frequent words of `texts`, `size` in all, each at least `min_count` times.

        Ties are broken by the alphabet, so that the result does not depend on the order of the texts.
        Raises SettingsError when `size` has no room for RESERVED.
        """
        if size < len(RESERVED):
            raise SettingsError(f"vocab_size={size}: use {len(RESERVED)} or more")
        words = [*RESERVED, *_frequent(texts, min_count, RESERVED)[: size - len(RESERVED)]]
        return cls(words, split_hashtags=split_hashtags)

    def extended(self, texts: Iterable[str], count: int, *, min_count: int = 1) -> Vocabulary:
        """This vocabulary and up to `count` of the most frequent words of `texts` that it lacks.

        Old words keep their ids. `min_count`: how often a new word must occur.
        """
        new = _frequent(texts, min_count, self._ids)
        return Vocabulary([*self.words, *new[: max(0, count)]], split_hashtags=self.split_hashtags)

    # -- files -------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write it as torchMoji's vocabulary.json: an object of word → id. Raises OSError."""
        written = json.dumps(self._ids, ensure_ascii=False, indent=0) + "\n"
        atomic_write(path, lambda part: part.write_text(written, encoding="utf-8"))

    @classmethod
    def load(cls, path: Path, *, split_hashtags: bool = False) -> Vocabulary:
        """Read a vocabulary.json. Raises CheckpointError, naming the file, when it is none."""
        values = read_json(path)
        if not all(type(i) is int for i in values.values()):
            raise CheckpointError(f"{path}: not a vocabulary; expected an object of word and id")
        try:
            return cls(_in_order(values), split_hashtags=split_hashtags)
        except SettingsError as error:
            raise CheckpointError(f"{path}: {error}; copy the file again") from None


def _in_order(values: Mapping[str, int]) -> list[str]:
    words = sorted(values, key=values.__getitem__)
    if [values[word] for word in words] != list(range(len(words))):
        raise SettingsError("the ids of a vocabulary are 0, 1, 2 and so on, each once")
    return words


def _frequent(texts: Iterable[str], min_count: int, known: Iterable[str]) -> list[str]:
    """Words of `texts` that are not in `known`, the most frequent first."""
    known = frozenset(known)
    counts = Counter(word for line in texts for word in text.split(line))
    wanted = [
        word
        for word, n in counts.items()
        if n >= min_count and word not in known and len(word) <= LONGEST_WORD
    ]
    return sorted(wanted, key=lambda word: (-counts[word], word))
