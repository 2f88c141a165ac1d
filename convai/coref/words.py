"""Words as rows of the table of word vectors; words that have none, and words defined on the fly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from zlib import crc32

NOTHING: Final = 0
"""Before a sentence's first word and after its last."""
UNKNOWN: Final = 1
UNKNOWN_NAME: Final = 2
"""An unknown word with a capital letter."""
FIGURE: Final = 3
SPECIAL: Final = 4
"""Rows before the first word's."""
_LONGEST: Final = 40
_REMEMBERED: Final = 100_000
"""Words whose forms are kept: a cache, not a collection of all that was ever read."""


class Forms(NamedTuple):
    """A word as it is compared with others."""

    row: int
    """Its row of the table of word vectors."""
    normal: str
    key: int
    lemma_key: int
    """The key of the word without a plural ending."""


class WordIds:
    """Word → row. Case is dropped; a word that is not there takes one of three rows by its looks."""

    def __init__(self, words: Sequence[str]) -> None:
        """`words` in the order of their rows, the first in row SPECIAL."""
        self.words = list(words)
        self._rows = {word: i + SPECIAL for i, word in enumerate(self.words)}
        self._seen: dict[str, Forms] = {}

    def __len__(self) -> int:
        return len(self.words) + SPECIAL

    def __contains__(self, word: str) -> bool:
        return normal(word) in self._rows

    def row(self, word: str) -> int:
        """The row of a word as it is written."""
        return self.forms(word).row

    def forms(self, word: str) -> Forms:
        """All forms of a word as it is written."""
        found = self._seen.get(word)
        if found is None:
            lower = normal(word)
            row = self._rows.get(lower, -1)
            if row < 0:
                row = FIGURE if any(c.isdigit() for c in word) else UNKNOWN
                if row == UNKNOWN and word[:1].isupper():
                    row = UNKNOWN_NAME
            found = Forms(row, lower, key(lower), key(singular(lower)))
            if len(self._seen) < _REMEMBERED:
                self._seen[word] = found
        return found

    def known(self, words: Sequence[str]) -> list[int]:
        """Rows of those that have one of their own."""
        return [self._rows[normal(word)] for word in words if word in self]

    def with_defined(self, definitions: Mapping[str, Sequence[str]]) -> WordIds:
        """These words and, after them, the defined ones that are not among them."""
        new = [normal(word) for word in definitions]
        return WordIds([*self.words, *dict.fromkeys(word for word in new if word not in self._rows)])


def normal(word: str) -> str:
    """The form under which a word is looked up: lower case, straight apostrophes."""
    return word[:_LONGEST].lower().replace("’", "'")


def key(text: str) -> int:
    """A number for a text, the same in every process; equal texts have equal numbers."""
    data = text.encode("utf-8", "replace")
    return crc32(data) | (len(data) & 0x7FFFFFF) << 32


def singular(word: str) -> str:
    """A noun without its plural ending, as far as a rule of thumb goes; used to compare, not to show."""
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        if word.endswith("ies") and len(word) > 4:
            return word[:-3] + "y"
        if word.endswith(("ches", "shes", "xes", "sses", "zes")):
            return word[:-2]
        return word[:-1]
    return _IRREGULAR.get(word, word)


_IRREGULAR: Final = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "mice": "mouse", "feet": "foot",
    "teeth": "tooth", "wives": "wife", "lives": "life",
}  # fmt: skip
