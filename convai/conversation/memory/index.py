"""Finding the facts that matter for a message among thousands: words, topics and vectors together.

Words and topics count as in BM25 (Robertson, Zaragoza 2009, "The probabilistic relevance framework", equation
3.15); the cosine of the vectors is added. All scores of one message are one product with a matrix.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convai.conversation.memory.facts import MOST_FACTS
from convai.conversation.memory.relations import who_is_who
from convai.conversation.memory.topics import topics_of
from convai.conversation.memory.vectors import Embed, Floats, words_of
from convai.text.claims.words import lemma

_K1: Final = 1.2
_OTHERS: Final = 200
"""Facts that are counted beside those that there are, so that a word is rare in a small memory, too."""
_B: Final = 0.4
"""Facts are short: how long one is says little."""
TOPIC: Final = 1.0
"""What a topic counts beside a word of the same rarity."""
_SHORT: Final = 5
"""Letters of words whose endings are not cut."""
_ENDING: Final = re.compile(r"(?:ers?|ors?|ed|y|ies|ic|ing|ment|ness|e)$")

_IRREGULAR: Final = {
    form: verb
    for verb, forms in {
        "break": "broke broken",
        "buy": "bought",
        "fly": "flew flown flying",
        "leave": "left",
        "lose": "lost",
        "make": "made",
        "meet": "met",
        "sell": "sold",
        "sleep": "slept",
        "speak": "spoke spoken",
        "take": "took taken",
        "win": "won",
        "wear": "wore worn",
        "find": "found",
        "give": "gave given",
        "know": "knew known",
        "see": "saw seen",
        "begin": "began begun",
        "keep": "kept",
        "bring": "brought",
        "build": "built",
        "die": "died dead death",
        "marry": "married wedding marriage",
        "travel": "travelling travelled",
        "raise": "raised raising",
        "grandfather": "grandad granddad grandpa gramps",
        "grandmother": "nana gran grandma granny nan",
        "hate": "loathe despise",
        "partner": "boyfriend girlfriend fiance fiancee husband wife spouse engaged",
    }.items()
    for form in forms.split()
}
"""Forms that `lemma` does not know."""


class Index:
    """The facts of one person, made to be searched; it does not change."""

    def __init__(
        self,
        texts: Sequence[str],
        embed: Embed | None,
        weight: float,
        topics: Mapping[int, str] | None = None,
    ) -> None:
        """`embed` gives the vectors (none: words and topics alone), whose cosine counts `weight`; `topics`:
        those that facts have besides, by their numbers.
        """
        self._embed, self._weight = embed, weight
        self._vectors: Floats | None = embed(texts) if embed is not None and texts else None
        people = who_is_who(texts)
        documents = [Counter((*terms_of(text), *_of_people(text, people))) for text in texts]
        for number, topic in (topics or {}).items():
            documents[number][topic] += 1
        lengths = np.array([sum(terms.values()) for terms in documents], np.float64)
        mean = float(lengths.mean()) if len(lengths) else 1.0
        self._postings: dict[str, tuple[NDArray[np.int64], Floats]] = {}
        places: dict[str, list[tuple[int, int]]] = {}
        for number, terms in enumerate(documents):
            for term, count in terms.items():
                places.setdefault(term, []).append((number, count))
        for term, found in places.items():
            rows = np.array([number for number, _ in found])
            counts = np.array([count for _, count in found], np.float64)
            rarity = np.log(1 + (len(texts) + _OTHERS - len(rows) + 0.5) / (len(rows) + 0.5))
            norm = counts + _K1 * (1 - _B + _B * lengths[rows] / mean)
            scores = rarity * counts * (_K1 + 1) / norm * (TOPIC if term.startswith("#") else 1.0)
            self._postings[term] = rows, scores.astype(np.float32)
        self._size = len(texts)

    def __len__(self) -> int:
        return self._size

    def near(self, one: int, other: int) -> float:
        """The cosine of two facts' vectors; 0 where there are none."""
        return float(self._vectors[one] @ self._vectors[other]) if self._vectors is not None else 0.0

    def scores(self, text: str) -> Floats:
        """How much each fact matters for `text`: `[facts]`, 0 where nothing says that it does."""
        total = np.zeros(self._size, np.float32)
        for term in set(terms_of(text)):
            if term in self._postings:
                rows, scores = self._postings[term]
                total[rows] += scores
        if self._vectors is not None and self._embed is not None:
            near = self._vectors @ self._embed([text])[0]
            total += self._weight * np.maximum(near, 0)
        return total


@lru_cache(2 * MOST_FACTS)
def terms_of(text: str) -> tuple[str, ...]:
    """The words of a text in their plain form, and its topics."""
    words = [_stem(_IRREGULAR.get(word) or lemma(word)) for word in words_of(text)]
    return (*words, *topics_of(text))


def _stem(word: str) -> str:
    """A word without endings that make another kind of word of it: "hoarder", "tattooed", "allergies"."""
    return _ENDING.sub("", word) if len(word) > _SHORT else word


def _of_people(text: str, people: Mapping[str, frozenset[str]]) -> list[str]:
    """The terms of whom a text names, where it does not say what they are to the speaker."""
    words = set(words_of(text))
    whose = {who for name in words & people.keys() for who in people[name]} - words
    return [term for who in sorted(whose) for term in terms_of(who)]
