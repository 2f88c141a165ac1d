"""An n-gram language model with interpolated modified Kneser-Ney smoothing, over words it never saw too.

It stands beside the neural model's word_ppl, so its probabilities must be those of real text: they add up to
1 over every word that can be written. A word it does not know is spelt by a second such model, of
characters, which in turn falls back on a uniform choice among all of Unicode; there is no free `<unk>`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from convai.core.errors import DataError, SettingsError
from convai.evaluation.metrics import perplexity
from convai.text.textnorm import normalise

BEGIN: Final = ""
END: Final = "\n"
"""Begin and end of a sequence; neither can be a word or one of its characters."""

SPELLING_ORDER: Final = 5
_UNICODE_CHARACTERS: Final = 0x110000 - 0x800  # code points without the surrogates

_WORD = re.compile(r"\w+(?:'\w+)*|[^\w\s]")

Gram = tuple[str, ...]


def split_words(text: str) -> list[str]:
    """Words and single punctuation marks of the text in its canonical form (`textnorm`).

    >>> split_words("Hi , I ' m fine.")
    ['hi', ',', "i'm", 'fine', '.']
    """
    return _WORD.findall(normalise(text))


class NgramModel:
    """Interpolated modified Kneser-Ney (Chen & Goodman 1999, section 4.1) over sequences of symbols.

    The lowest order is interpolated with `base_nll`, the negative log-probability (nats) of a symbol before
    anything was seen. Every sequence ends with END, which is predicted like any other symbol. Costs about
    200 bytes of memory for every different n-gram.
    """

    def __init__(
        self, sequences: Iterable[Sequence[str]], order: int, base_nll: Callable[[str], float]
    ) -> None:
        """Raises SettingsError for an order below 1, DataError when there are no sequences."""
        if order < 1:
            raise SettingsError(f"n-gram order {order}: use 1 or more")
        self.order = order
        self._base_nll = base_nll
        self._counts = _kneser_ney_counts(sequences, order)
        if not self._counts[0]:
            raise DataError("n-gram model: no training text; name files that hold dialogues")
        self._discounts = [_discounts(counts) for counts in self._counts]
        # context -> occurrences, and what the discounts set aside for the lower order
        self._contexts: list[dict[Gram, tuple[int, float]]] = []
        for counts, discounts in zip(self._counts, self._discounts, strict=True):
            contexts: dict[Gram, tuple[int, float]] = {}
            for gram, count in counts.items():
                total, aside = contexts.get(gram[:-1], (0, 0.0))
                contexts[gram[:-1]] = total + count, aside + discounts[min(count, 3)]
            self._contexts.append(contexts)

    def nll(self, symbols: Sequence[str]) -> float:
        """Negative log-probability, in nats, of the sequence and its end."""
        padded = (BEGIN, *symbols, END)
        return math.fsum(
            self.symbol_nll(padded[max(0, i - self.order + 1) : i], padded[i]) for i in range(1, len(padded))
        )

    def symbol_nll(self, context: Gram, symbol: str) -> float:
        """Negative log-probability of `symbol` after `context` (the last `order - 1` symbols at most)."""
        prob, weight = 0.0, 1.0
        for n in range(min(len(context), self.order - 1), -1, -1):
            tail = context[len(context) - n :]
            found = self._contexts[n].get(tail)
            if found is None:
                continue
            total, aside = found
            count = self._counts[n].get((*tail, symbol), 0)
            prob += weight * (count - self._discounts[n][min(count, 3)]) / total
            weight *= aside / total
        base = self._base_nll(symbol)
        if prob == 0.0:  # in logarithms: a long new word is too unlikely for a float
            return base - math.log(weight)
        return -math.log(prob + weight * math.exp(-base))


def _kneser_ney_counts(sequences: Iterable[Sequence[str]], order: int) -> list[Counter[Gram]]:
    """For n-grams of each length: how often they occur, or below `order`, after how many different symbols.

    N-grams at the begin of a sequence have nothing before them, so theirs are occurrences at any length.
    """
    levels: list[Counter[Gram]] = [Counter() for _ in range(order)]
    for sequence in sequences:
        padded = (BEGIN, *sequence, END)
        for i in range(1, min(order - 1, len(padded))):
            levels[i][padded[: i + 1]] += 1
        levels[-1].update(padded[i - order : i] for i in range(max(order, 2), len(padded) + 1))
    for n in range(order - 1, 0, -1):
        levels[n - 1].update(gram[1:] for gram in levels[n])
    return levels


def _discounts(counts: Counter[Gram]) -> tuple[float, float, float, float]:
    """What counts of 0, 1, 2, and 3 or more lose (Chen & Goodman 1999, equation 26)."""
    times = Counter(counts.values())
    n1, n2, n3, n4 = (times[i] for i in (1, 2, 3, 4))
    if not (n1 and n2 and n3):  # too little text to estimate them
        return 0.0, 0.5, 0.75, 0.75
    y = n1 / (n1 + 2 * n2)
    raw = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    # something must be set aside for what was never seen, and something left for what was
    d1, d2, d3 = (min(max(d, 0.1), i - 0.1) for i, d in enumerate(raw, 1))
    return 0.0, d1, d2, d3


class ReplyModel:
    """What the next reply is, judged by word n-grams of other replies alone."""

    def __init__(self, texts: Iterable[str], order: int = 3) -> None:
        """Raises DataError when the texts hold no words."""
        replies = [split_words(text) for text in texts]
        # Once each: a new word is like the rare ones, not like `the`.
        spelling = NgramModel({word for words in replies for word in words}, SPELLING_ORDER, _character_nll)
        known: dict[str, float] = {END: math.inf}

        def word_nll(word: str) -> float:
            if word not in known:
                known[word] = spelling.nll(word)
            return known[word]

        self._model = NgramModel(replies, order, word_nll)

    def nll(self, text: str) -> float:
        """Negative log-probability, in nats, of the text's words and its end."""
        return self._model.nll(split_words(text))

    def word_ppl(self, replies: Sequence[str]) -> float:
        """Perplexity per whitespace word: the ends are paid for and not counted, as in `metrics`."""
        return perplexity(math.fsum(map(self.nll, replies)), sum(len(reply.split()) for reply in replies))


def _character_nll(character: str) -> float:
    return math.inf if character == END else math.log(_UNICODE_CHARACTERS)
