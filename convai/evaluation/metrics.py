"""Scores from plain numbers and strings: hits@k, perplexity, F1, distinct-n, repetition across turns."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from convai.core.errors import DataError, SettingsError

REPEATED_NGRAM: Final = 4
"""Words in a row that count as saying the same thing again (see `repetition_across_turns`)."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = re.compile(r"""[!"#$%&()*+,\-./:;<=>?@\[\]\\^`{|}~_']""")


def hits_at_k(scores: Sequence[Sequence[float]], gold: Sequence[int], k: int = 1) -> float:
    """Share of rows whose gold candidate is among the `k` best scored, in [0, 1].

    `scores` has a row an example (rows may differ in length), `gold` the index of the right candidate in
    each. Higher is better. A tie counts against the gold, and so does a score that is not a number: a
    ranker that gives every candidate the same score knows nothing and gets 0, not 1.

    Raises DataError when there is nothing to measure, the lengths differ, or a gold index has no
    candidate; SettingsError for `k` below 1.
    """
    if k < 1:
        raise SettingsError(f"k={k!r}: use 1 or more")
    if len(scores) != len(gold):
        raise DataError(f"hits@{k}: {len(scores)} rows of scores but {len(gold)} gold indices")
    if not scores:
        raise DataError(f"hits@{k}: no examples; the file holds no replies to rank")
    hits = 0
    for number, (row, right) in enumerate(zip(scores, gold, strict=True)):
        if not 0 <= right < len(row):
            raise DataError(f"hits@{k}: example {number} has {len(row)} candidates but gold index {right}")
        ahead = sum(not other < row[right] for i, other in enumerate(row) if i != right)
        hits += ahead < k and not math.isnan(row[right])
    return hits / len(scores)


def precision_and_recall(hits: int, found: int, wanted: int) -> dict[str, float]:
    """Of `found` things of which `hits` are among the `wanted` ones: `precision` and `recall`.

    Precision is 1 where nothing is found, recall where there is nothing to find.
    """
    return {"precision": hits / found if found else 1.0, "recall": hits / wanted if wanted else 1.0}


def perplexity(total_nll: float, count: int) -> float:
    """exp(total_nll / count): `total_nll` in nats over `count` tokens or words; infinite on overflow.

    Per token, `count` is the number of predicted tokens, each reply's `<eos>` among them. For word_ppl the
    total still includes every `<eos>`, but `count` is the whitespace words of the replies alone: the end of
    a reply is paid for, yet is no word. So the figure does not depend on the tokenizer.
    """
    if count <= 0:
        raise DataError("perplexity: nothing was predicted; the file holds no replies of the agent")
    try:
        return math.exp(total_nll / count)
    except OverflowError:
        return math.inf


def bits_per_byte(total_nll: float, n_bytes: int) -> float:
    """`total_nll` (nats) in bits, divided by the UTF-8 bytes of the text that was predicted."""
    if n_bytes <= 0:
        raise DataError("bits per byte: nothing was predicted; the file holds no replies of the agent")
    return total_nll / math.log(2) / n_bytes


def normalize_answer(text: str) -> str:
    """ConvAI2's normal form: lower case, punctuation and articles out, white space collapsed.

    As ParlAI's `normalize_answer` (parlai/core/metrics.py), after the SQuAD evaluation: punctuation becomes
    a space, so `don't` is two words.

    >>> normalize_answer("I don't like the big, RED dog.")
    'i don t like big red dog'
    """
    return " ".join(_ARTICLES.sub(" ", _PUNCTUATION.sub(" ", text.lower())).split())


def f1(guess: str, answers: Sequence[str]) -> float:
    """Word overlap of `guess` with the answer it fits best, in [0, 1]: ConvAI2's F1 (ParlAI's F1Metric).

    Words are compared in their normal form with their counts. Where a side has no words left, it is 0.
    """
    words = normalize_answer(guess).split()
    return max((_overlap(words, normalize_answer(answer).split()) for answer in answers), default=0.0)


def _overlap(guess: Sequence[str], answer: Sequence[str]) -> float:
    same = sum((Counter(guess) & Counter(answer)).values())
    return 2 * same / (len(guess) + len(answer)) if same else 0.0


def distinct_n(texts: Iterable[str], n: int) -> float:
    """Different n-grams over all n-grams of the whole corpus (Li et al. 2016, section 5), in [0, 1].

    Words are split at white space, in lower case; an n-gram never crosses from one text into the next.
    0 where there is none. It falls as a corpus grows: compare equal numbers of replies only.
    """
    if n < 1:
        raise SettingsError(f"n={n!r}: use 1 or more")
    seen: set[tuple[str, ...]] = set()
    total = 0
    for text in texts:
        found = _ngrams(text.lower().split(), n)
        seen.update(found)
        total += len(found)
    return len(seen) / total if total else 0.0


def _ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


@dataclass(frozen=True, slots=True)
class Repetition:
    """Counts of what a speaker said again in one conversation; add them up over a corpus."""

    repeated_replies: int = 0
    replies: int = 0
    repeated_ngrams: int = 0
    ngrams: int = 0

    @property
    def reply_share(self) -> float:
        """Replies that are an earlier reply of the same conversation, over all replies."""
        return self.repeated_replies / self.replies if self.replies else 0.0

    @property
    def ngram_share(self) -> float:
        """4-grams that an earlier reply of the same conversation holds, over all 4-grams."""
        return self.repeated_ngrams / self.ngrams if self.ngrams else 0.0

    def __add__(self, other: Repetition) -> Repetition:
        return Repetition(
            self.repeated_replies + other.repeated_replies,
            self.replies + other.replies,
            self.repeated_ngrams + other.repeated_ngrams,
            self.ngrams + other.ngrams,
        )


def repetition_across_turns(replies: Sequence[str]) -> Repetition:
    """How much of one speaker's replies in one conversation, in order, was said in an earlier one.

    Compared in ConvAI2's normal form. A 4-gram that occurs twice inside one reply is no repetition across
    turns; a reply of punctuation alone is compared as it is written.
    """
    said: set[str] = set()
    known: set[tuple[str, ...]] = set()
    total = Repetition()
    for reply in replies:
        normal = normalize_answer(reply)
        key = normal or " ".join(reply.split())
        found = _ngrams(normal.split(), REPEATED_NGRAM)
        total += Repetition(int(key in said), 1, sum(ngram in known for ngram in found), len(found))
        said.add(key)
        known.update(found)
    return total


@dataclass(slots=True)
class Mean:
    """A running weighted mean; 0 before anything was added."""

    total: float = 0.0
    weight: float = 0.0

    def add(self, value: float, weight: float = 1.0) -> None:
        """Count `value` `weight` times."""
        self.total += value * weight
        self.weight += weight

    @property
    def value(self) -> float:
        """The mean of what was added."""
        return self.total / self.weight if self.weight else 0.0
