"""Rules on phrases within phrases: what has a part and the part, a phrase and its core; "it" that is no noun
phrase (`rules` calls them).

The amounts are on the network's scale (logits).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from convai.coref.features import DEP_ID, MentionTable
from convai.coref.lexicon import Kind, Life, Number
from convai.coref.pairs import Floats, Pairs
from convai.coref.speaker_rules import is_subject
from convai.coref.words import key

WHOLE: Final = 1.0
"""For "it" as the lid rather than as the pot, after "the lid of the pot is broken"."""
LONGER: Final = 1.0
"""How much better a part of a noun phrase may score than the phrase, to give way to it."""
PARTNER: Final = 4.0
"""For "his" in "Tom and his wife" as Tom."""
HAPPENS: Final = 4.0
"""Against "it" in "it happened again" as something that was there, rather than as what was done."""
WHEN: Final = 1.5
"""Against "it" as when something was ("yesterday")."""
_HAPPEN: Final = np.array(
    [key(w) for w in "happen happens happened happening occur occurs occurred occurring".split()], np.int64
)
_EVENTS: Final = np.array(
    [
        key(word)
        for word in "event accident incident crash fire explosion attack murder death crime earthquake flood "
        "storm fight argument quarrel mistake error robbery theft miracle disaster operation wedding "
        "meeting party war battle change thing shift collapse decline transition scene story".split()
    ],
    np.int64,
)
"""Nouns for what can happen."""
_SLIGHTLY: Final = 0.01
_DEEP: Final = 6
"""Mentions before one that are looked through for what holds it."""


def own(table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], scores: Floats) -> None:
    """Let "his" in "his best friend" be somebody else."""
    for one, other in ((i, j), (j, i)):
        owns = (table.reflexive[one] == 2) & (table.governor[one] == table.head[other])
        scores[
            owns & (table.start[other] <= table.start[one]) & (table.end[one] <= table.end[other])
        ] = -np.inf


def wholes(table: MentionTable, pairs: Pairs, scores: Floats) -> None:
    """Let "it" rather be a subject than a part of it that names what it belongs to."""
    i, j = pairs.later, pairs.earlier
    before = (table.kind[i] == Kind.IT) & (table.sentence[i] - table.sentence[j] == 1)
    whole = (
        before & is_subject(table, j) & (table.kind[j] > Kind.OTHER_PRONOUN) & (table.kind[j] != Kind.JOINED)
    )
    whole &= (table.number[j] != Number.MANY) & (table.life[j] != Life.PERSON)
    part = before & (table.relation[j] == DEP_ID["nmod"])
    for p in np.flatnonzero(part).tolist():
        for outer in range(int(j[p]) - 1, max(int(j[p]) - _DEEP, -1), -1):
            q = p + int(j[p]) - outer  # pairs of a mention: the nearest first
            if q >= len(scores) or i[q] != i[p] or j[q] != outer:
                break
            if table.head[outer] == table.governor[j[p]] and whole[q] and table.end[outer] >= table.end[j[p]]:
                scores[q] += WHOLE
                break


def beside(
    table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], scores: Floats, conjunction: int
) -> None:
    """Let "his" in "Tom and his wife" be Tom. `conjunction`: the row of "and"."""
    owns = (table.reflexive[i] == 2) & (table.kind[i] >= Kind.HE) & (table.words[i, 3] == conjunction)
    before = (table.end[j] == table.start[i] - 1) & (table.kind[j] > Kind.OTHER_PRONOUN)
    before &= (table.kind[j] != Kind.JOINED) & (table.life[j] != Life.THING)
    agree = (table.gender[i] == table.gender[j]) | (table.gender[j] == 0)
    scores[owns & before & agree] += PARTNER


def happens(table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], scores: Floats) -> None:
    """Let "it" that happens be none of the people and things around it, and no "it" a time."""
    when = (table.kind[i] == Kind.IT) & (table.relation[j] == DEP_ID["obl:unmarked"])
    scores[when] -= WHEN
    event = ((table.kind[i] == Kind.IT) | (table.kind[i] == Kind.POINTING)) & is_subject(table, i)
    event &= np.isin(table.governor_key[i], _HAPPEN) & (table.kind[j] > Kind.OTHER_PRONOUN)
    scores[event & ~np.isin(table.lemma_key[j], _EVENTS)] -= HAPPENS


def longer(table: MentionTable, pairs: Pairs, scores: Floats) -> None:
    """Let a mention be the whole noun phrase ("the boy who lives next door") where its core is no better."""
    i, j = pairs.later, pairs.earlier
    whole = np.full(len(table), -1, np.int64)
    rows = np.arange(len(table))
    for k in range(_DEEP, 0, -1):
        before = np.maximum(rows - k, 0)
        holds = (rows >= k) & (table.head[before] == table.head) & (table.end[before] >= table.end)
        holds &= (table.kind[before] != Kind.JOINED) & (table.kind > Kind.OTHER_PRONOUN)
        whole[holds] = before[holds]
    p = np.flatnonzero(whole[j] >= 0)
    q = p + j[p] - whole[j[p]]  # pairs of a mention: the nearest first
    there = q < len(scores)
    p, q = p[there], q[there]
    there = (
        (i[q] == i[p]) & (j[q] == whole[j[p]]) & (scores[q] < scores[p]) & (scores[p] < scores[q] + LONGER)
    )
    p, q = p[there], q[there]
    np.maximum.at(scores, q, scores[p] + _SLIGHTLY)
