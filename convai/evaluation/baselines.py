"""What a dialogue model has to beat: word overlap, word n-grams, and one constant reply."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from convai.core.dialog import Dialog
from convai.core.errors import DataError
from convai.evaluation.metrics import Mean, f1, hits_at_k, normalize_answer
from convai.evaluation.ngram_lm import ReplyModel, split_words

FREQUENT_WORDS: Final = 200
"""Words that the constant reply may be made of."""


class TfidfRanker:
    """Ranks candidates by the words they share with the persona and the last turns, rare words first.

    The cosine of TF-IDF vectors with logarithmic term frequency (Salton & Buckley 1988: `ltc`). Punctuation
    is left out.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """Learn how rare words are: `texts` are replies of a training corpus. Raises DataError for none."""
        found: Counter[str] = Counter()
        self._texts = 0
        for text in texts:
            found.update(set(_content(text)))
            self._texts += 1
        if not self._texts:
            raise DataError("TF-IDF ranker: no training text; name files that hold dialogues")
        self._found = found

    def scores(
        self, persona: Sequence[str], history: Sequence[str], candidates: Sequence[str], *, turns: int = 1
    ) -> list[float]:
        """A score for each of `candidates`, higher is better, given the agent's persona sentences.

        Of `history` (utterances, oldest first) the last `turns` are looked at.
        """
        context = [*persona, *history[max(0, len(history) - turns) :]]
        query = self._vector([word for text in context for word in _content(text)])
        return [self._cosine(query, self._vector(_content(candidate))) for candidate in candidates]

    def _vector(self, words: Sequence[str]) -> dict[str, float]:
        vector = {
            word: (1 + math.log(count)) * math.log((self._texts + 1) / (self._found[word] + 1))
            for word, count in Counter(words).items()
        }
        length = math.sqrt(math.fsum(value * value for value in vector.values())) or 1.0
        return {word: value / length for word, value in vector.items()}

    @staticmethod
    def _cosine(query: dict[str, float], candidate: dict[str, float]) -> float:
        return math.fsum(value * query.get(word, 0.0) for word, value in candidate.items())


def _content(text: str) -> list[str]:
    return [word for word in split_words(text) if word[0].isalnum()]


def constant_reply(texts: Sequence[str], *, longest: int = 40) -> str:
    """The one reply, a string of frequent words, whose mean F1 over `texts` is best.

    Words are added one by one, each the one that helps most, until none does or there are `longest`. It says
    nothing to anybody, and shows what an F1 is worth. Raises DataError when there are no words.
    """
    replies = [Counter(normalize_answer(text).split()) for text in texts]
    frequent = Counter(word for words in replies for word in words.elements()).most_common(FREQUENT_WORDS)
    if not frequent:
        raise DataError("constant reply: no training text; name files that hold dialogues")
    words = [word for word, _ in frequent]
    counts = np.array(
        [[reply[word] for word in words] for reply in replies], dtype=np.int32
    )  # [texts, words]
    lengths = np.array([reply.total() for reply in replies], dtype=np.float64)
    taken = np.zeros(len(words), dtype=np.int32)
    shared = np.zeros(len(replies))
    chosen: list[str] = []
    best = 0.0
    while len(chosen) < longest:
        weight = 2 / (lengths + len(chosen) + 1)
        totals = shared @ weight + weight @ (counts > taken)
        word = int(totals.argmax())
        if totals[word] <= best:
            break
        best = float(totals[word])
        shared += counts[:, word] > taken[word]
        taken[word] += 1
        chosen.append(words[word])
    return " ".join(chosen)


def measure(
    valid: Sequence[Dialog], train: Sequence[Dialog], *, orders: Sequence[int] = (1, 3)
) -> dict[str, float]:
    """Every baseline's score on the agent's replies in `valid`, learnt from all turns of `train`.

    `tfidf_hits@1` (over persona and last turn; only where replies have distractors), `N-gram_word_ppl` for
    each of `orders`, `constant_f1`. Raises DataError when there are no replies, or no training text.
    """
    replies = [turn.text for dialog in valid for _, turn in dialog.replies()]
    if not replies:
        raise DataError("baselines: the file to evaluate holds no replies of the agent")
    known = [turn.text for dialog in train for turn in dialog.turns]
    scores: dict[str, float] = {}
    ranker = TfidfRanker(known)
    rows = [
        ranker.scores(
            dialog.persona.sentences, [t.text for t in dialog.turns[:i]], [turn.text, *turn.distractors]
        )
        for dialog in valid
        for i, turn in dialog.replies()
        if turn.distractors
    ]
    if rows:
        scores["tfidf_hits@1"] = hits_at_k(rows, [0] * len(rows))
    for order in orders:
        scores[f"{order}-gram_word_ppl"] = ReplyModel(known, order).word_ppl(replies)
    guess = constant_reply(known)
    mean = Mean()
    for reply in replies:
        mean.add(f1(guess, [reply]))
    scores["constant_f1"] = mean.value
    return scores
