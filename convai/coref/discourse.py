"""Discourse: what earlier sentences of a text have said of the words of the next one: how often, of whom.

A name is often given whole once and by its last word from then on ("Rose McGowan ... McGowan"): what the
first name says holds for the last one. It is told sentence by sentence, so that a text that grows turn by
turn knows the same as one read whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from convai.coref.lexicon import Gender, Life, Says, titles
from convai.coref.words import Forms

_COUNTED: Final = frozenset(("NN", "NNS", "NNP", "NNPS"))
_BEFORE_FIRST_NAMES: Final = ("saint", "st.", "st")
"""Titles that stand before a first name alone and do not tell its gender."""
_NAME_TAGS: Final = ("NNP", "NNPS")


class KnownWords(NamedTuple):
    """What is known of the words of a sentence before it is read."""

    names: dict[int, tuple[int, int]]
    """Token → start and end of the row of names that it stands in."""
    before: list[int]
    """For each token how often earlier sentences have its word as a noun or name."""
    genders: list[int]
    """For each token the gender of those who bore it as a last name, UNKNOWN where they differ."""


class Discourse:
    """Counts and last names so far; grows with the number of different nouns."""

    def __init__(self, nouns: Mapping[str, Says], names: Mapping[str, Says]) -> None:
        self._nouns, self._names = nouns, names
        self._counts: dict[int, int] = {}
        self._genders: dict[str, int] = {}

    def read(self, forms: Sequence[Forms], tags: Sequence[str]) -> KnownWords:
        """What is known of the sentence's words; the sentence is then part of the discourse."""
        counts = self._counts
        counted = [(i, forms[i].lemma_key) for i, tag in enumerate(tags) if tag in _COUNTED]
        before = [0] * len(forms)
        for i, key in counted:
            before[i] = counts.get(key, 0)
        rows = name_rows(tags)
        genders = [0] * len(forms)
        for start, end in rows:
            if end - start == 1:
                genders[start] = self._genders.get(forms[start].normal, Gender.UNKNOWN)
        for _, key in counted:
            counts[key] = counts.get(key, 0) + 1
        for start, end in rows:
            if end - start > 1:
                self._name([form.normal for form in forms[start:end]])
        return KnownWords({i: row for row in rows for i in range(*row)}, before, genders)

    def _name(self, words: list[str]) -> None:
        gender = said_by_name(words, self._nouns, self._names).gender
        if gender in (Gender.MALE, Gender.FEMALE):
            known = self._genders.setdefault(words[-1], gender)
            if known != gender:
                self._genders[words[-1]] = Gender.UNKNOWN


def name_rows(tags: Sequence[str]) -> list[tuple[int, int]]:
    """Start and end of each unbroken row of words tagged as names."""
    rows: list[tuple[int, int]] = []
    if "NNP" not in tags and "NNPS" not in tags:
        return rows
    start = -1
    for i, tag in enumerate((*tags, "")):
        if tag in _NAME_TAGS:
            if start < 0:
                start = i
        elif start >= 0:
            rows.append((start, i))
            start = -1
    return rows


def said_by_name(words: Sequence[str], nouns: Mapping[str, Says], names: Mapping[str, Says]) -> Says:
    """What the words of a name (lower case) say: its title, then its first name.

    Behind most titles a single word is a last name, as in "Professor Ahmed".
    """
    first = words[0]
    if len(words) > 1 and first in titles():
        title, given = nouns.get(first) or Says(), names.get(words[1]) or Says()
        if len(words) == 2 and first not in _BEFORE_FIRST_NAMES:
            given = Says()
        return Says(title.gender or given.gender, Life.PERSON)
    return names.get(first) or Says()
