"""Scores of predicted labels from plain lists: accuracy, F1 a class, macro-F1, thresholds.

Class-average F1 (Felbo et al. 2017, §5.2) is the mean over classes of the F1 of "this class or not", each
with a threshold of its own: `macro` of the F1s at `best_thresholds`.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from typing import Final

Chances = Sequence[Sequence[float]]
"""A row a text, a probability a label."""
Targets = Sequence[Sequence[int]]
"""A row a text: the indices of its labels."""

_GRID: Final = tuple(step / 100 for step in range(1, 100))


def f1(hits: int, predicted: int, actual: int) -> float:
    """2 PR / (P + R) from counts; 0 where nothing was hit."""
    return 2 * hits / (predicted + actual) if hits else 0.0


def f1_per_class(predicted: Targets, actual: Targets, n_labels: int) -> list[float]:
    """F1 of each label."""
    hits, said, there = [0] * n_labels, [0] * n_labels, [0] * n_labels
    for guess, truth in zip(predicted, actual, strict=True):
        for label in guess:
            said[label] += 1
            hits[label] += label in truth
        for label in truth:
            there[label] += 1
    return [f1(*counts) for counts in zip(hits, said, there, strict=True)]


def macro(values: Sequence[float]) -> float:
    """The plain mean; 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def accuracy(predicted: Targets, actual: Targets) -> float:
    """The share of texts whose labels are exactly right; 0 of nothing."""
    same = [sorted(guess) == sorted(truth) for guess, truth in zip(predicted, actual, strict=True)]
    return macro([float(right) for right in same])


def most_probable(chances: Chances) -> list[tuple[int, ...]]:
    """The best label of each text; of equals the first."""
    return [(max(range(len(row)), key=row.__getitem__),) for row in chances]


def above(chances: Chances, thresholds: Sequence[float]) -> list[tuple[int, ...]]:
    """The labels of each text whose probability reaches their threshold."""
    return [
        tuple(i for i, (p, least) in enumerate(zip(row, thresholds, strict=True)) if p >= least)
        for row in chances
    ]


def best_thresholds(chances: Chances, actual: Targets, n_labels: int, spread: float = 0.0) -> list[float]:
    """For each label the threshold of 0.01 … 0.99 with the highest F1; of equals the one nearest to 0.5.

    `spread`: F1 as a function of the threshold's log-odds is smoothed with a Gaussian of that width first,
    so that no chance peak of a rare label is taken.
    """
    found = []
    for label in range(n_labels):
        pairs = sorted((row[label], label in truth) for row, truth in zip(chances, actual, strict=True))
        values = [p for p, _ in pairs]
        below = [0, *itertools.accumulate(truth for _, truth in pairs)]  # positives among the first ones
        cuts = [bisect.bisect_left(values, threshold) for threshold in _GRID]
        curve = [f1(below[-1] - below[cut], len(pairs) - cut, below[-1]) for cut in cuts]
        reached = _smoothed(curve, spread) if spread else curve
        best = max(zip(reached, (-abs(threshold - 0.5) for threshold in _GRID), _GRID, strict=True))
        found.append(best[2] if best[0] else 0.5)
    return found


def _smoothed(curve: Sequence[float], spread: float) -> list[float]:
    """The values at the thresholds of the grid as means of their neighbours."""
    places = [math.log(threshold / (1 - threshold)) / spread for threshold in _GRID]
    found = []
    for here in places:
        weights = [math.exp(-((here - place) ** 2) / 2) for place in places]
        found.append(sum(w * value for w, value in zip(weights, curve, strict=True)) / sum(weights))
    return found
