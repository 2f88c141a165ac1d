"""Rules on nouns for what a name has named: "the captain" after "Captain Morris", "that city" after "Boston",
a last name after the whole one.

The amounts are on the network's scale (logits); `rules` calls them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from convai.coref.features import MentionTable
from convai.coref.lexicon import Kind, Life, Number
from convai.coref.pairs import Bools, Floats, Pairs
from convai.coref.words import SPECIAL, key, singular

TITLED: Final = 4.0
"""For "the captain" as the last one named with that title."""
SORT: Final = 4.0
"""For "that city" as the place named last."""
LAST_NAME: Final = 1.25
"""For a last name as the only one near who bears it."""
_NEAR: Final = 3
"""Sentences back that a name is looked for."""
_PLACE, _ORGANISATION = 2, 3
"""Kinds of names (`rows`)."""
_PLACES: Final = "city town village country island state county province region continent river".split()
_ORGANISATIONS: Final = (
    "company firm corporation organization organisation agency bank team club band".split()
)
_PEOPLE: Final = "man woman boy girl guy lady gentleman person".split()


class NamingRules:
    """The rules, for one vocabulary."""

    def __init__(self, roles: Bools) -> None:
        """`roles`: of each row of the vocabulary whether it is a noun for people or a title."""
        self._roles = roles
        self._places, self._organisations, self._people = (
            np.array([key(singular(word)) for word in sort], np.int64)
            for sort in (_PLACES, _ORGANISATIONS, _PEOPLE)
        )

    def correct(self, table: MentionTable, pairs: Pairs, scores: Floats) -> None:
        """Add to the scores of the pairs, in place."""
        i, j = pairs.later, pairs.earlier
        name = (table.kind[j] == Kind.NAME) & (table.number[j] != Number.MANY)
        if not name.any():
            return
        _last_names(table, i, j, scores)
        self._titled(table, i, j, name, scores)
        self._sorts(table, i, j, name, scores)

    def _titled(
        self, table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], name: Bools, scores: Floats
    ) -> None:
        the = (table.kind[i] == Kind.DEFINITE) & (table.content[i, 1] == 0)
        the &= self._roles[np.minimum(table.words[i, 0], len(self._roles) - 1)]
        borne = name & (table.end[j] - table.start[j] > 1) & (table.life[j] == Life.PERSON)
        borne &= (table.content[j] == table.content[i, :1]).any(axis=1)
        scores[_nearest(the & borne, i)] += TITLED

    def _sorts(
        self, table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], name: Bools, scores: Floats
    ) -> None:
        that = (table.kind[i] == Kind.POINTED) & (table.number[i] != Number.MANY) & (table.content[i, 1] == 0)
        that &= table.sentence[i] - table.sentence[j] <= _NEAR
        if not that.any():
            return
        sort = table.lemma_key[i]
        same = np.isin(sort, self._places) & (table.entity[j] == _PLACE)
        same |= np.isin(sort, self._organisations) & (table.entity[j] == _ORGANISATION)
        agree = ~differ(table.gender[i], table.gender[j])
        same |= np.isin(sort, self._people) & (table.life[j] == Life.PERSON) & agree
        scores[_nearest(that & same & name, i)] += SORT


def _nearest(some: Bools, later: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each later mention the first pair, which is the nearest, that is one of `some`."""
    at = np.flatnonzero(some)
    _, first = np.unique(later[at], return_index=True)
    return np.asarray(at[first])


def _last_names(table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], scores: Floats) -> None:
    """Let a last name alone be the one near who was named with it."""
    names = (
        (table.kind[i] == Kind.NAME) & (table.kind[j] == Kind.NAME) & (table.words[i, 2] == table.words[j, 2])
    )
    alone = (table.end[i] - table.start[i] == 1) & (table.end[j] - table.start[j] > 1)
    bears = names & alone & (table.life[j] == Life.PERSON) & ~differ(table.gender[i], table.gender[j])
    bears &= table.words[i, 2] >= SPECIAL
    found: dict[int, list[int]] = {}
    for p in np.flatnonzero(bears).tolist():
        found.setdefault(int(i[p]), []).append(p)
    for same in found.values():
        if len({tuple(table.content[j[p]].tolist()) for p in same}) == 1:
            scores[same] += LAST_NAME


def differ(a: NDArray[np.int32], b: NDArray[np.int32]) -> Bools:
    """Whether both are known and not the same."""
    return np.asarray((a > 0) & (b > 0) & (a != b))
