"""MUC, B³, CEAF-e and LEA between the chains of a key and of a response, as the reference scorer has them.

Numbers are summed over documents before they are divided. Pradhan et al. 2014, "Scoring Coreference
Partitions of Predicted Mentions"; Vilain et al. 1995 (MUC), Bagga and Baldwin 1998 (B³), Luo 2005 (CEAF),
Moosavi and Strube 2016 (LEA).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from convai.coref.scorer.assignment import best_assignment

Mention = TypeVar("Mention", bound=Hashable)
Clusters = Sequence[Sequence[Mention]]


@dataclass(frozen=True, slots=True)
class Counts:
    """Numerators and denominators of recall and precision; they add up over documents."""

    recall_part: float = 0.0
    recall_whole: float = 0.0
    precision_part: float = 0.0
    precision_whole: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.recall_part + other.recall_part,
            self.recall_whole + other.recall_whole,
            self.precision_part + other.precision_part,
            self.precision_whole + other.precision_whole,
        )

    @property
    def recall(self) -> float:
        """0 where the key has nothing to find."""
        return self.recall_part / self.recall_whole if self.recall_whole else 0.0

    @property
    def precision(self) -> float:
        """0 where the response has nothing."""
        return self.precision_part / self.precision_whole if self.precision_whole else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of both; 0 where both are 0."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def muc(key: Clusters[Mention], response: Clusters[Mention]) -> Counts:
    """Links that are missing: a cluster that the other side cuts into n parts lacks n - 1 of its links."""
    return Counts(*_muc_side(key, response), *_muc_side(response, key))


def b_cubed(key: Clusters[Mention], response: Clusters[Mention]) -> Counts:
    """For each mention the share of its cluster that is also in its cluster of the other side."""
    return Counts(*_b_cubed_side(key, response), *_b_cubed_side(response, key))


def ceaf_e(key: Clusters[Mention], response: Clusters[Mention]) -> Counts:
    """The best one-to-one alignment of clusters by φ4, the F1 of their mentions."""
    total = 0.0
    for gains in _blocks(key, response):
        total += sum(float(gains[pair]) for pair in best_assignment(gains))
    return Counts(total, len(key), total, len(response))


def lea(key: Clusters[Mention], response: Clusters[Mention]) -> Counts:
    """For each cluster, weighed by its size, the share of its links that the other side has.

    A single mention has one link, to itself, which only a single mention of the other side has too.
    """
    return Counts(*_lea_side(key, response), *_lea_side(response, key))


METRICS: Final[dict[str, Callable[[Clusters[tuple[int, int]], Clusters[tuple[int, int]]], Counts]]] = {
    "muc": muc,
    "b_cubed": b_cubed,
    "ceaf_e": ceaf_e,
    "lea": lea,
}
CONLL: Final = ("muc", "b_cubed", "ceaf_e")
"""The metrics whose F1's mean is the score of CoNLL-2012."""


def mentions(key: Clusters[Mention], response: Clusters[Mention]) -> Counts:
    """How many mentions of one side are in the other, in whichever cluster."""
    one, other = {m for c in key for m in c}, {m for c in response for m in c}
    both = len(one & other)
    return Counts(both, len(one), both, len(other))


def without_singletons(clusters: Clusters[Mention]) -> list[Sequence[Mention]]:
    """The clusters of two or more mentions."""
    return [cluster for cluster in clusters if len(cluster) > 1]


def score(
    pairs: Iterable[tuple[Clusters[tuple[int, int]], Clusters[tuple[int, int]]]], *, singletons: bool = True
) -> dict[str, Counts]:
    """The metrics, and `mentions`, over documents, each as (key, response).

    Without `singletons`, clusters of one mention are dropped in both first.
    """
    totals = dict.fromkeys(("mentions", *METRICS), Counts())
    for key, response in pairs:
        if not singletons:
            key, response = without_singletons(key), without_singletons(response)
        totals["mentions"] += mentions(key, response)
        for name, metric in METRICS.items():
            totals[name] += metric(key, response)
    return totals


def conll_f1(totals: dict[str, Counts]) -> float:
    """The mean of the F1 of MUC, B³ and CEAF-e."""
    return sum(totals[name].f1 for name in CONLL) / len(CONLL)


# -- sides and blocks ------------------------------------------------------------------------------


def _cluster_of(clusters: Clusters[Mention]) -> dict[Mention, int]:
    return {mention: i for i, cluster in enumerate(clusters) for mention in cluster}


def _muc_side(ours: Clusters[Mention], theirs: Clusters[Mention]) -> tuple[float, float]:
    found = _cluster_of(theirs)
    part = whole = 0
    for cluster in ours:
        # a mention that the other side lacks is a part by itself
        missing = sum(mention not in found for mention in cluster)
        part += len(cluster) - len({found[m] for m in cluster if m in found}) - missing
        whole += len(cluster) - 1
    return part, whole


def _b_cubed_side(ours: Clusters[Mention], theirs: Clusters[Mention]) -> tuple[float, float]:
    found = _cluster_of(theirs)
    part = 0.0
    for cluster in ours:
        shared = Counter(found[m] for m in cluster if m in found)
        part += sum(count * count for count in shared.values()) / len(cluster)
    return part, sum(map(len, ours))


def _lea_side(ours: Clusters[Mention], theirs: Clusters[Mention]) -> tuple[float, float]:
    found = _cluster_of(theirs)
    part = 0.0
    for cluster in ours:
        if len(cluster) == 1:
            part += float(cluster[0] in found and len(theirs[found[cluster[0]]]) == 1)
            continue
        shared = Counter(found[m] for m in cluster if m in found)
        links = sum(count * (count - 1) for count in shared.values())
        part += links / (len(cluster) - 1)
    return part, sum(map(len, ours))


def _blocks(key: Clusters[Mention], response: Clusters[Mention]) -> Iterable[np.ndarray]:
    """φ4 of clusters that share mentions, directly or through others: each block [its key, its response].

    Clusters that share nothing gain nothing by being aligned, so blocks can be solved one by one.
    """
    found = _cluster_of(response)
    shared: dict[int, Counter[int]] = {
        i: Counter(found[m] for m in cluster if m in found) for i, cluster in enumerate(key)
    }
    touching: dict[int, list[int]] = {}
    for i, counts in shared.items():
        for j in counts:
            touching.setdefault(j, []).append(i)
    seen: set[int] = set()
    for start in shared:
        if start in seen or not shared[start]:
            continue
        seen.add(start)
        rows: list[int] = []
        columns: set[int] = set()
        waiting = [start]
        while waiting:
            i = waiting.pop()
            rows.append(i)
            for j in shared[i].keys() - columns:
                columns.add(j)
                new = [other for other in touching[j] if other not in seen]
                seen.update(new)
                waiting += new
        ordered = sorted(columns)
        yield np.array([[2 * shared[i][j] / (len(key[i]) + len(response[j])) for j in ordered] for i in rows])
