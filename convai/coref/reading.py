"""From parsed sentences to mentions as rows (`features.MentionTable`), sentence after sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import chain
from typing import Any, Final

import numpy as np

from convai.coref.discourse import Discourse
from convai.coref.document import Sentence
from convai.coref.features import CATEGORIES, CONTENT, WORDS, Ints, MentionTable
from convai.coref.lexicon import Says, first_names, nouns
from convai.coref.mentions import candidates
from convai.coref.rows import RowVocabulary, SentencePlace, SentenceRows
from convai.coref.words import WordIds, key, normal

_QUOTES: Final = frozenset(("``", "''", '"', "“", "”"))
_OPEN: Final = frozenset(("``", "“"))
_CLOSED: Final = frozenset(("''", "”"))

_EMPTY_KEYS: Final = (0, 0, 0)


class FeatureReader:
    """Reads sentences in the order of the text, makes rows of their mentions, keeps what later ones need."""

    def __init__(self, words: WordIds, said: Mapping[str, Says] | None = None) -> None:
        """`said`: what words say that are defined on the fly, before the lists of the lexicon."""
        self.words = words
        of_nouns, of_names = {**nouns(), **(said or {})}, {**first_names(), **(said or {})}
        self._vocabulary = RowVocabulary(words, of_nouns, of_names)
        self._discourse = Discourse(of_nouns, of_names)
        self._tokens = 0
        self._sentences = 0
        self._turns = 0
        self._speakers: dict[str, tuple[int, tuple[int, int, int]]] = {}
        self._speaker = self._partner = 0
        self._speaker_keys = self._partner_keys = _EMPTY_KEYS
        self._quote = self._quotes = 0

    def read(self, sentences: Sequence[Sentence]) -> tuple[MentionTable, Ints]:
        """The mentions of the next sentences, and their tokens as rows of the word vectors `[tokens]`.

        Raises ValueError for a sentence without a parse.
        """
        rows: list[tuple[object, ...]] = []
        ids: list[int] = []
        for sentence in sentences:
            opened = self.open(sentence, len(ids))
            rows += opened.rows(candidates(sentence))
            ids += opened.ids
        return _table(rows), np.array(ids, np.int32)

    def open(self, sentence: Sentence, offset: int = 0) -> SentenceRows:
        """The next sentence, whose first word is `offset` among the tokens of its stretch."""
        self._turn(sentence.speaker)
        quotes = self._read_quotes(sentence.words)
        place = SentencePlace(
            offset, self._tokens, self._sentences, self._turns, self._speaker, self._partner,
            self._speaker_keys, self._partner_keys,
        )  # fmt: skip
        self._tokens += len(sentence.words)
        self._sentences += 1
        forms = [self.words.forms(word) for word in sentence.words]
        told = self._discourse.read(forms, sentence.tags)
        return SentenceRows(self._vocabulary, forms, sentence, quotes, told, place)

    def _turn(self, name: str | None) -> None:
        number, keys = 0, _EMPTY_KEYS
        if name is not None:
            if name not in self._speakers:
                parts = normal(name).replace("_", " ").split() or [normal(name)]
                self._speakers[name] = (
                    len(self._speakers) + 1,
                    (key(" ".join(parts)), key(parts[0]), key(parts[-1])),
                )
            number, keys = self._speakers[name]
        if number == self._speaker:
            return
        if self._speaker:
            self._partner, self._partner_keys = self._speaker, self._speaker_keys
        self._speaker, self._speaker_keys = number, keys
        self._turns += 1
        self._quote = 0

    def _read_quotes(self, words: list[str]) -> list[int]:
        """For each word the number of the quotation that it stands in, 0 outside."""
        if _QUOTES.isdisjoint(words):
            return [self._quote] * len(words)
        found = []
        for word in words:
            if word in _QUOTES:
                opens = word in _OPEN or (word not in _CLOSED and not self._quote)
                self._quotes += opens
                self._quote = self._quotes if opens else 0
            found.append(self._quote)
        return found


_WIDTHS: Final = {
    "speaker_keys": 3, "partner_keys": 3, "content": CONTENT, "words": WORDS, "span": 4,
    "categories": len(CATEGORIES),
}  # fmt: skip


def _table(rows: list[tuple[object, ...]]) -> MentionTable:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(fields(MentionTable))
    arrays: list[Any] = []
    for field, column in zip(fields(MentionTable), columns, strict=True):
        dtype = np.int64 if field.name.endswith(("_key", "_keys")) else np.int32
        width = _WIDTHS.get(field.name)
        if width:
            array = np.fromiter(chain.from_iterable(column), dtype, width * len(rows))
            arrays.append(array.reshape(len(rows), width))
        else:
            arrays.append(np.array(column, dtype))
    return MentionTable(*arrays)
