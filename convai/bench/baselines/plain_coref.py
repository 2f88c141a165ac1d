"""Coreference scored pair by pair, the straightforward way: what `convai bench coref` measures against.

The same mentions, the same pairs, the same features and the same two networks as convai.coref, written as one
would at first: a loop over mentions, a loop over their antecedents, a function that compares two mention
objects, and the network applied to one pair at a time with numpy. It imports nothing of convai; its results
are equal to convai's to rounding, which a test holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class PlainWords:
    """The numbers that name kinds and relations, and the thresholds of distances."""

    i: int
    you: int
    other_pronoun: int
    name: int
    kinds: int
    relations: int
    subjects: tuple[int, ...]
    objects: tuple[int, ...]
    sentences: tuple[int, ...]
    mentions: tuple[int, ...]
    turns: tuple[int, ...]
    ranks: tuple[int, ...]


class Mention:
    """A mention with its attributes, by name."""

    def __init__(self, row: Mapping[str, Any], vector: Array) -> None:
        self.__dict__.update(row)
        self.vector = vector

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def antecedents(
    heads: Sequence[tuple[int, int]], i: int, window: int, matching: int, reach: int, words: PlainWords
) -> Iterable[int]:
    """Those before mention `i` that it is compared with, the nearest first.

    `heads`: of each mention its kind and lemma. They are the `window` before it and, of the `matching`
    nearest with the same head, those beyond.
    """
    yield from range(i - 1, max(-1, i - window - 1), -1)
    kind, lemma = heads[i]
    if words.you < kind <= words.other_pronoun:
        return
    seen = 0
    for j in range(i - 1, max(-1, i - reach - 1), -1):
        if heads[j][1] == lemma:
            seen += 1
            if seen > matching:
                break
            if i - j > window:
                yield j


def agreement(a: int, b: int) -> tuple[bool, bool]:
    """Whether two values are known and the same, and whether they are known and differ."""
    if a and b:
        return a == b, a != b
    return False, False


def named(keys: Sequence[int], other: Mention, words: PlainWords) -> bool:
    """Whether the other mention is a name among `keys`."""
    if not keys[0] or other.kind <= words.other_pronoun:
        return False
    return other.text_key in (keys[0], keys[1]) or other.head_key == keys[2]


def compare(
    a: Mention, b: Mention, distance: int, between: int, words: PlainWords
) -> tuple[list[float], int]:
    """The features of the later mention `a` with the earlier `b`, and the crossed one."""
    found: list[float] = []
    for value, thresholds in (
        (a.sentence - b.sentence, words.sentences),
        (distance, words.mentions),
        (a.turn - b.turn, words.turns),
        (between, words.ranks),
    ):
        for threshold in thresholds:
            found.append(float(value >= threshold))
    found.append(float(a.text_key == b.text_key))
    found.append(float(a.head_key == b.head_key))
    found.append(float(a.lemma_key == b.lemma_key))
    found += matches(a, b, words)
    found.append(float(b.start <= a.start and b.end >= a.end))
    found.append(float(a.start <= b.start and a.end >= b.end))
    found.append(float(a.head == b.head))
    same, other = agreement(a.speaker, b.speaker)
    found += [float(same), float(other)]
    found.append(float(b.speaker > 0 and a.partner == b.speaker))
    found.append(float(a.speaker > 0 and b.partner == a.speaker))
    found.append(float(a.partner > 0 and a.partner == b.partner))
    found.append(float(a.kind == words.i and named(a.speaker_keys, b, words)))
    found.append(float(b.kind == words.i and named(b.speaker_keys, a, words)))
    found.append(float(a.kind == words.you and named(a.partner_keys, b, words)))
    found.append(float(b.kind == words.you and named(b.partner_keys, a, words)))
    found += [float(value) for value in agreement(a.gender, b.gender)]
    found.append(float(a.gender > 0 and b.gender == 0))
    found.append(float(a.gender == 0 and b.gender > 0))
    for name in ("number", "life", "entity"):
        found += [float(value) for value in agreement(getattr(a, name), getattr(b, name))]
    found.append(float(a.quote == b.quote and a.quote > 0))
    found.append(float(a.quote > 0 and b.quote > 0))
    found.append(float((a.quote > 0) != (b.quote > 0)))
    governor = a.governor == b.governor
    subject_a, subject_b = a.relation in words.subjects, b.relation in words.subjects
    found.append(float(governor))
    found.append(float(a.governor_key == b.governor_key))
    found.append(float(a.clause == b.clause))
    found.append(float(subject_a and subject_b))
    found.append(float(a.relation in words.objects and b.relation in words.objects))
    found.append(float(subject_b))
    found.append(float(a.clause == b.clause and subject_b and not subject_a and a.reflexive == 0))
    found.append(float(np.dot(a.vector, b.vector)))
    relation = 1 if same else 2 if other else 0
    return found, int((a.kind * words.kinds + b.kind) * words.relations + relation)


def matches(a: Mention, b: Mention, words: PlainWords) -> list[float]:
    """How the content words of two noun phrases fit together; all 0 where one is a pronoun."""
    if a.kind <= words.other_pronoun or b.kind <= words.other_pronoun:
        return [0.0] * 6
    of_a = [word for word in a.content if word]
    of_b = [word for word in b.content if word]
    a_within = all(word in of_b for word in of_a)
    b_within = all(word in of_a for word in of_b)
    names = a.kind == words.name and b.kind == words.name
    return [
        float(of_a[0] in of_b),
        float(of_b[0] in of_a),
        float(a_within),
        float(b_within),
        float(any(word in of_b for word in of_a)),
        float(names and not a_within and not b_within),
    ]


def agrees(a: Mention, b: Mention, words: PlainWords) -> bool:
    """Whether nothing is known that speaks against the two being the same."""
    if b.kind <= words.you:
        return False
    return not any(agreement(getattr(a, name), getattr(b, name))[1] for name in ("gender", "number", "life"))


def linear(weights: Mapping[str, Array], name: str, x: Array) -> Array:
    """A layer applied to one vector."""
    y = weights[f"{name}.weight"] @ x
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def encode(weights: Mapping[str, Array], mention: Mention) -> Array:
    """A mention's hidden vector from its inputs."""
    hidden = linear(weights, "of_words", mention.inputs) + linear(weights, "of_averages", mention.averages)
    for row in mention.category_rows:
        hidden = hidden + weights["of_categories.weight"][row]
    hidden = np.maximum(hidden, 0)
    return np.maximum(linear(weights, "mention", hidden), 0)


def score_pair(
    weights: Mapping[str, Array], a: Mention, b: Mention, features: list[float], cross: int
) -> float:
    """The score of one pair: both mentions, then the pair, through the network."""
    hidden = linear(weights, "as_later", encode(weights, a)) + linear(
        weights, "as_earlier", encode(weights, b)
    )
    hidden = hidden + linear(weights, "of_pair", np.array(features, np.float32))
    hidden = np.maximum(hidden + weights["of_cross.weight"][cross], 0)
    hidden = np.maximum(linear(weights, "second", hidden), 0)
    return float(linear(weights, "score", hidden)[0])


def score_alone(
    weights: Mapping[str, Array], a: Mention, described: Sequence[list[float]], columns: Sequence[int]
) -> float:
    """The score of having no antecedent; `columns`: which features of the pairs are looked at."""
    best = [max((features[column] for features in described), default=0.0) for column in columns]
    best.append(math.log1p(len(described)) / 4)
    hidden = np.concatenate((encode(weights, a), np.array(best, np.float32)))
    hidden = np.maximum(linear(weights, "alone", hidden), 0)
    hidden = np.maximum(linear(weights, "alone_second", hidden), 0)
    return float(linear(weights, "alone_score", hidden)[0])


def score_document(
    mention: Callable[[int], Mention],
    heads: Sequence[tuple[int, int]],
    weights: Mapping[str, Array],
    words: PlainWords,
    window: tuple[int, int, int],
    summary: Sequence[int],
) -> tuple[list[list[tuple[int, float]]], list[float]]:
    """For each mention its antecedents with their scores, and the score of having none.

    `mention`: makes the mention of a number; `heads`: of each its kind and lemma; `window`: the
    mentions looked back, those with the same head beyond, and how far these may be.
    """
    scores, alone = [], []
    for i in range(len(heads)):
        own, described = [], []
        between = 0
        for j in antecedents(heads, i, *window, words):
            a, b = mention(i), mention(j)
            features, cross = compare(a, b, i - j, between, words)
            between += agrees(a, b, words)
            described.append(features)
            own.append((j, score_pair(weights, a, b, features, cross)))
        scores.append(own)
        alone.append(score_alone(weights, mention(i), described, summary))
    return scores, alone
