"""Pairs of a mention and one before it: which are looked at, and what the model knows of each, in bulk.

A mention is compared with the last `window` mentions and, further back, with the nearest ones that have the
same head word (of "I" and "you": the same speaker). All pairs of a stretch of text are made and described
together, by operations on whole arrays; convai/bench/baselines/plain_coref.py computes the same one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convai.coref.features import OBJECTS, SUBJECTS, Ints, MentionTable
from convai.coref.lexicon import Kind

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

SENTENCES: Final = (1, 2, 3, 4, 6, 9, 16, 32)
MENTIONS: Final = (2, 3, 4, 6, 10, 18, 34, 65)
TURNS: Final = (1, 2, 3, 5, 9)
RANKS: Final = (1, 2, 3, 5, 9)
"""Thresholds: a distance is described by which of them it reaches."""

FEATURES: Final = (
    *(f"sentences >= {t}" for t in SENTENCES), *(f"mentions >= {t}" for t in MENTIONS),
    *(f"turns >= {t}" for t in TURNS), *(f"agreeing between >= {t}" for t in RANKS),
    "same text", "same head", "same lemma", "head in the other", "other head in this",
    "all words in the other", "all other words in this", "words in common", "names differ",
    "inside", "around", "same head token",
    "same speaker", "other speaker", "partner speaks", "speaker is partner", "same partner",
    "speaker is named", "names speaker", "partner is named", "names partner",
    "same gender", "other gender", "gender only here", "gender only there", "same number", "other number",
    "same life", "other life", "same entity type", "other entity type", "same quotation",
    "both quoted", "one quoted", "same governor", "same governor word", "same clause", "both subjects",
    "both objects", "subject there", "clause mates", "similar heads",
)  # fmt: skip
"""Dense features of a pair, in their order; "this" is the later mention, "the other" the earlier."""
NUMBER_OF: Final = {name: i for i, name in enumerate(FEATURES)}
RELATIONS: Final = 3
"""Speakers: one unknown, the same, others."""
CROSSES: Final = len(Kind) * len(Kind) * RELATIONS
"""Values of the crossed feature: kind × kind × speakers."""
SUMMARY: Final = ("same text", "same lemma", "words in common", "same gender")
"""Features whose maximum over a mention's pairs tells whether it has an antecedent at all."""


@dataclass(frozen=True, slots=True)
class Window:
    """How far back a mention looks."""

    window: int = 64
    """Mentions before it, of whatever kind."""
    matching: int = 4
    """At most so many of those further back that have the same head."""
    reach: int = 500
    """Mentions before it, of those with the same head."""


@dataclass(slots=True)
class Pairs:
    """Pairs ordered by the later mention, of one mention the nearest first."""

    later: NDArray[np.int64]
    """`[pairs]`: rows of the table."""
    earlier: NDArray[np.int64]
    offsets: NDArray[np.int64]
    """`[mentions + 1]`: where the pairs of each later mention begin."""


def make_pairs(table: MentionTable, first: int, window: Window) -> Pairs:
    """The pairs of the mentions from row `first` on with those before them in the table."""
    n = len(table)
    rows = np.arange(first, n)
    back = np.arange(1, window.window + 1)
    earlier = rows[:, None] - back[None, :]
    further = _same_head_further_back(table, rows, window)
    both = np.concatenate((earlier, further), axis=1)
    valid = both >= 0
    counts = valid.sum(axis=1)
    return Pairs(
        later=np.repeat(rows, counts),
        earlier=both[valid],
        offsets=np.concatenate((np.zeros(1, np.int64), np.cumsum(counts))),
    )


def _same_head_further_back(
    table: MentionTable, rows: NDArray[np.int64], window: Window
) -> NDArray[np.int64]:
    """`[rows, matching]`: rows beyond the window with the same lemma, nearest first; -1 for none."""
    keys = table.lemma_key
    order = np.argsort(keys, kind="stable")
    place = np.empty(len(keys), np.int64)
    place[order] = np.arange(len(keys))
    searched = (table.kind[rows] <= Kind.YOU) | (table.kind[rows] > Kind.OTHER_PRONOUN)
    found = np.full((len(rows), window.matching), -1, np.int64)
    for depth in range(window.matching):
        at = place[rows] - 1 - depth
        other = order[np.maximum(at, 0)]
        good = searched & (at >= 0) & (keys[other] == keys[rows])
        good &= (other < rows - window.window) & (other >= rows - window.reach)
        found[good, depth] = other[good]
    return found


def describe(table: MentionTable, pairs: Pairs, vectors: Floats) -> tuple[Floats, Ints]:
    """Dense features `[len(FEATURES), pairs]` and the crossed feature `[pairs]`.

    `vectors` `[mentions, d]`: of each mention's head, of length 1, or 0 where the word has none.
    """
    i, j = pairs.later, pairs.earlier
    x = np.empty((len(FEATURES), len(i)), np.float32)
    at = _Writer(x)
    kind_i, kind_j = table.kind[i], table.kind[j]
    _distances(table, i, j, at)
    gender, number, life = (
        _agreement(column[i], column[j]) for column in (table.gender, table.number, table.life)
    )
    agrees = ~(gender[1] | number[1] | life[1]) & (kind_j > Kind.YOU)
    at.steps(_agreeing_between(agrees, pairs.offsets), RANKS)
    _matches(table, i, j, kind_i, kind_j, at)
    relation = _speakers(table, i, j, kind_i, kind_j, at)
    gender_i, gender_j = table.gender[i], table.gender[j]
    at.write(gender[0], gender[1], (gender_i > 0) & (gender_j == 0), (gender_i == 0) & (gender_j > 0))
    at.write(*number, *life, *_agreement(table.entity[i], table.entity[j]))
    quote_i, quote_j = table.quote[i], table.quote[j]
    at.write(
        (quote_i == quote_j) & (quote_i > 0), (quote_i > 0) & (quote_j > 0), (quote_i > 0) != (quote_j > 0)
    )
    _grammar(table, i, j, at)
    first = int(pairs.later[0]) if len(i) else 0
    similar = vectors[first:] @ vectors.T
    at.write(similar[i - first, j])
    assert at.row == len(FEATURES)
    cross = (kind_i * len(Kind) + kind_j) * RELATIONS + relation
    return x, cross.astype(np.int32)


class _Writer:
    """Fills the rows of an array one after the other."""

    def __init__(self, x: Floats) -> None:
        self.x = x
        self.row = 0

    def write(self, *columns: NDArray[np.bool_] | Floats) -> None:
        for column in columns:
            self.x[self.row] = column
            self.row += 1

    def steps(self, distance: NDArray[np.int64] | Ints, thresholds: tuple[int, ...]) -> None:
        self.write(*(distance >= threshold for threshold in thresholds))


def _distances(table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], at: _Writer) -> None:
    at.steps(table.sentence[i] - table.sentence[j], SENTENCES)
    at.steps(i - j, MENTIONS)
    at.steps(table.turn[i] - table.turn[j], TURNS)


def _agreement(a: Ints, b: Ints) -> tuple[Bools, Bools]:
    """Whether two values are known and the same, and whether they are known and differ."""
    known = (a > 0) & (b > 0)
    same = a == b
    return known & same, known & ~same


def _agreeing_between(agrees: Bools, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each pair, how many nearer ones of the same later mention agree with it."""
    total = np.cumsum(agrees, dtype=np.int64)
    before = np.concatenate((np.zeros(1, np.int64), total))
    starts: NDArray[np.int64] = np.repeat(before[offsets[:-1]], np.diff(offsets))
    return np.asarray(before[:-1] - starts, np.int64)


def _matches(
    table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], kind_i: Ints, kind_j: Ints, at: _Writer
) -> None:
    at.write(
        table.text_key[i] == table.text_key[j],
        table.head_key[i] == table.head_key[j],
        table.lemma_key[i] == table.lemma_key[j],
    )
    out = np.zeros((6, len(i)), np.bool_)
    pronoun = Kind.OTHER_PRONOUN
    nominal = (kind_i > pronoun) & (kind_j > pronoun)
    out[5] = (kind_i == Kind.NAME) & (kind_j == Kind.NAME)
    # most have no word in common, which a few bits of each mention show
    bits = np.bitwise_or.reduce(
        np.where(table.content != 0, 1 << (table.content & 63).astype(np.int64), 0), axis=1
    )
    close = np.flatnonzero(nominal & ((bits[i] & bits[j]) != 0))
    a, b = table.content[i[close]], table.content[j[close]]
    equal = (a[:, :, None] == b[:, None, :]) & (a != 0)[:, :, None]
    a_found, b_found = equal.any(axis=2), equal.any(axis=1)
    a_within, b_within = (a_found | (a == 0)).all(axis=1), (b_found | (b == 0)).all(axis=1)
    for row, column in enumerate((a_found[:, 0], b_found[:, 0], a_within, b_within, a_found.any(axis=1))):
        out[row, close] = column
    out[5, close] &= ~a_within & ~b_within
    at.write(*out)
    inside = (table.start[j] <= table.start[i]) & (table.end[j] >= table.end[i])
    around = (table.start[i] <= table.start[j]) & (table.end[i] >= table.end[j])
    at.write(inside, around, table.head[i] == table.head[j])


def _speakers(
    table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], kind_i: Ints, kind_j: Ints, at: _Writer
) -> Ints:
    speaker_i, speaker_j = table.speaker[i], table.speaker[j]
    partner_i, partner_j = table.partner[i], table.partner[j]
    same, other = _agreement(speaker_i, speaker_j)
    at.write(
        same,
        other,
        (partner_i == speaker_j) & (speaker_j > 0),
        (partner_j == speaker_i) & (speaker_i > 0),
        (partner_i == partner_j) & (partner_i > 0),
    )
    at.write(
        _named(Kind.I, kind_i, table.speaker_keys, i, table, j, kind_j),
        _named(Kind.I, kind_j, table.speaker_keys, j, table, i, kind_i),
        _named(Kind.YOU, kind_i, table.partner_keys, i, table, j, kind_j),
        _named(Kind.YOU, kind_j, table.partner_keys, j, table, i, kind_i),
    )
    return np.where(same, 1, np.where(other, 2, 0)).astype(np.int32)


def _named(
    pronoun: Kind,
    kind: Ints,
    keys: NDArray[np.int64],
    one: NDArray[np.int64],
    table: MentionTable,
    other: NDArray[np.int64],
    kind_other: Ints,
) -> Bools:
    """Whether the mention `one` is this pronoun and `other` a name among its `keys` `[mentions, 3]`."""
    found = np.zeros(len(one), np.bool_)
    at = np.flatnonzero((kind == pronoun) & (kind_other > Kind.OTHER_PRONOUN))
    own, named = keys[one[at]], other[at]
    text, head = table.text_key[named], table.head_key[named]
    match = (text == own[:, 0]) | (text == own[:, 1]) | (head == own[:, 2])
    found[at] = match & (own[:, 0] != 0)
    return found


def _grammar(table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], at: _Writer) -> None:
    relation_i, relation_j = table.relation[i], table.relation[j]
    subject_i = (relation_i == SUBJECTS[0]) | (relation_i == SUBJECTS[1])
    subject_j = (relation_j == SUBJECTS[0]) | (relation_j == SUBJECTS[1])
    object_i = (relation_i == OBJECTS[0]) | (relation_i == OBJECTS[1])
    object_j = (relation_j == OBJECTS[0]) | (relation_j == OBJECTS[1])
    governor = table.governor[i] == table.governor[j]
    clause = table.clause[i] == table.clause[j]
    mates = clause & subject_j & ~subject_i & (table.reflexive[i] == 0)
    at.write(governor, table.governor_key[i] == table.governor_key[j], clause)
    at.write(subject_i & subject_j, object_i & object_j, subject_j, mates)


def summary(dense: Floats, pairs: Pairs) -> Floats:
    """`[mentions, len(SUMMARY) + 1]`: what the best of a mention's pairs has, and the number of pairs."""
    counts = np.diff(pairs.offsets)
    out = np.zeros((len(counts), len(SUMMARY) + 1), np.float32)
    some = np.flatnonzero(counts)
    if len(some):
        for column, name in enumerate(SUMMARY):
            out[some, column] = np.maximum.reduceat(dense[NUMBER_OF[name]], pairs.offsets[some])
    out[:, -1] = np.log1p(counts) / 4
    return out
