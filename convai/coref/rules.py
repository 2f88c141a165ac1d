"""What is certain or likely without a trained model: corrections of the scores of pairs.

The network learns from long texts of a few genres. What these have seldom (animals that are "he", one person
who is "they", several people of one profession, a name beside what it names) is told here, from grammar and
the lexicon's lists, in numbers on the network's scale (logits). A pair that cannot be is scored -inf, which
keeps a mention out of the cluster (`linking`). The amounts were chosen on the development files of OntoGUM,
LIGHT and Persuasion and on half of the texts of `convai coref score --kinds`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from convai.coref.features import DEP_ID, SUBJECTS, MentionTable
from convai.coref.lexicon import Gender, Kind, Life, Number, nouns, titles
from convai.coref.naming_rules import NamingRules, differ
from convai.coref.pairs import Bools, Floats, Pairs
from convai.coref.phrase_rules import beside, happens, longer, own, wholes
from convai.coref.speaker_rules import (
    NEAR,
    addressed,
    first_and_third,
    is_subject,
    quoted,
    together_with_me,
    told,
    told_by_nobody,
)
from convai.coref.words import SPECIAL, WordIds, key, singular

HAS_ANTECEDENT: Final = {
    Kind.HE: 1.5,
    Kind.SHE: 1.5,
    Kind.IT: 0.4,
    Kind.THEY: 0.5,
}
"""Pronouns of the third person seldom begin a chain (not "it" as a subject, which may be nobody)."""
CREATURE: Final = 3.5
"""For "he" and "she" of an animal, where nobody near is of that gender."""
STALLION: Final = 3.0
"""The same, more, of an animal whose name says its gender."""
IT_CREATURE: Final = 1.0
"""For "it" of an animal."""
IT_PERSON: Final = 1.5
"""Against "it" of a person."""
ONE_PERSON: Final = 3.5
"""For "they" of one person of whom nothing says whether he or she, where nothing near is more than one."""
TOGETHER: Final = 1.5
"""For "they" of two that are joined by "and"."""
INDEFINITE: Final = 2.0
"""Against "a doctor", and "Doctor", as one who was there before."""
FIRST: Final = 1.0
"""For "the first guard" as a guard who is not "another" one."""
OTHER_ROLE: Final = 1.5
"""Against "the singer" as "the drummer"."""
SUBJECT: Final = 3.0
"""For "he" as the subject of the sentence before, a noun ("the baker")."""
EARLY: Final = 3
"""Sentences at the beginning of a text where "it" means something that was just named."""
IT_EARLY: Final = 1.0
"""There, for "it" as something."""
IT_SUBJECT: Final = 0.8
"""There, for "it" as the subject of the sentence before, where its own has no such subject."""
CATAPHORA: Final = 2.0
"""For the subject of a sentence as the pronoun in a clause before it that has no antecedent."""
KNOWN_ONE: Final = 2.0
"""Against "they" of one person who is known to be a man or a woman."""
NAMED: Final = 6.0
"""For the name in "his friend is called Oskar" as his friend."""
_OTHER: Final = ("other", "another", "different", "second", "third", "next", "new")
_RANKS: Final = np.array(
    [
        key(word)
        for word in "first second third fourth last former latter eldest oldest youngest tallest shortest "
        "biggest largest smallest best worst middle".split()
    ],
    np.int64,
)
"""Of several of a kind each another one, where it stands for a noun ("the eldest")."""
_BE: Final = "be is are was were am been being 's 're 'm become became becomes remains not".split()
_NAMING: Final = ("called", "named", "nicknamed")


class Rules:
    """The rules, for one vocabulary."""

    def __init__(self, words: WordIds) -> None:
        self._and = words.row("and")
        self._another = words.row("another")
        roles = {words.row(word) for word in (*titles(), *nouns())}
        self._role = np.zeros(len(words), np.bool_)
        self._role[sorted(row for row in roles if row >= SPECIAL)] = True
        self._others = np.array([key(singular(word)) & 0x7FFFFFFF for word in _OTHER], np.int64)
        self._firsts = np.array([key("first") & 0x7FFFFFFF, key("former") & 0x7FFFFFFF], np.int64)
        self._be = np.array([words.row(word) for word in _BE if word in words], np.int64)
        self._naming_rules = NamingRules(self._role)
        self._naming = np.array([key(word) for word in _NAMING], np.int64)

    def corrected(
        self, table: MentionTable, first: int, pairs: Pairs, scores: Floats, alone: Floats
    ) -> tuple[Floats, Floats]:
        """New scores `[pairs]` and `alone` `[new mentions]`, of the mentions from row `first` on."""
        scores, alone = scores.copy(), alone.copy()
        kind = table.kind[first:]
        subject = is_subject(table, slice(first, None))
        for pronoun, amount in HAS_ANTECEDENT.items():
            alone[(kind == pronoun) & ~(subject & (kind == Kind.IT))] -= amount
        if not len(scores):
            return scores, alone
        i, j = pairs.later, pairs.earlier
        _animals(table, pairs, scores)
        _they(table, pairs, scores)
        self._subject_before(table, pairs, scores)
        _it_early(table, first, pairs, scores, alone)
        addressed(table, i, j, scores)
        first_and_third(table, i, j, scores)
        told_by_nobody(table, i, j, scores)
        own(table, i, j, scores)
        together_with_me(table, i, j, scores)
        quoted(table, i, j, scores)
        told(table, i, j, scores)
        happens(table, i, j, scores)
        beside(table, i, j, scores, self._and)
        wholes(table, pairs, scores)
        self._naming_rules.correct(table, pairs, scores)
        self._nouns(table, i, j, scores)
        self._appear(table, i, j, scores)
        self._called(table, i, j, scores)
        self._to_outer(table, pairs, scores)
        longer(table, pairs, scores)
        _forward(table, first, pairs, scores, alone)
        return scores, alone

    def _nouns(self, table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], scores: Floats) -> None:
        """Two noun phrases that say that they are not the same."""
        kind_i, kind_j = table.kind[i], table.kind[j]
        at = np.flatnonzero((kind_i > Kind.OTHER_PRONOUN) & (kind_j > Kind.OTHER_PRONOUN))
        at = at[(kind_i[at] != Kind.JOINED) & (kind_j[at] != Kind.JOINED)]
        if not len(at):
            return
        i, j = i[at], j[at]
        more_i, more_j = _not_within(table, i, j), _not_within(table, j, i)
        names = (table.kind[i] == Kind.NAME) & (table.kind[j] == Kind.NAME)
        same = (table.lemma_key[i] == table.lemma_key[j]) & ~names
        cannot = same & more_i & more_j
        others = self._further(table, i)
        cannot |= same & others & more_i
        ranked = np.isin(table.head_key[i], _RANKS) & np.isin(table.head_key[j], _RANKS)
        cannot |= ranked & (table.head_key[i] != table.head_key[j])
        firsts = np.isin(table.content[i], self._firsts).any(axis=1)
        cannot |= same & firsts & self._further(table, j)
        first_i, first_j = table.words[i, 1], table.words[j, 1]
        last = (
            (table.words[i, 2] == table.words[j, 2]) & (table.content[i, 1] != 0) & (table.content[j, 1] != 0)
        )
        roles = self._role[np.minimum(first_i, len(self._role) - 1)]
        roles |= self._role[np.minimum(first_j, len(self._role) - 1)]
        cannot |= names & last & more_i & more_j & ~roles
        scores[at[cannot]] = -np.inf
        scores[at[same & (table.kind[i] == Kind.INDEFINITE)]] -= INDEFINITE
        scores[at[same & firsts]] += FIRST
        people = (table.life[i] == Life.PERSON) & (table.life[j] == Life.PERSON)
        scores[at[people & ~names & more_i & more_j & (table.lemma_key[i] != table.lemma_key[j])]] -= (
            OTHER_ROLE
        )

    def _further(self, table: MentionTable, rows: NDArray[np.int64]) -> Bools:
        """Which of the mentions are "another" one."""
        found = np.isin(table.content[rows], self._others).any(axis=1)
        return np.asarray(found | (table.words[rows, 1] == self._another))

    def _subject_before(self, table: MentionTable, pairs: Pairs, scores: Floats) -> None:
        """Let "he" rather be the subject of the sentence before than who was spoken of before that.

        Not where its own sentence has a subject before it that it can be, nor names: the network knows more.
        """
        i, j = pairs.later, pairs.earlier
        pronoun = ((table.kind[i] == Kind.HE) | (table.kind[i] == Kind.SHE)) & is_subject(table, i)
        person = is_subject(table, j) & (table.life[j] == Life.PERSON) & (table.kind[j] > Kind.OTHER_PRONOUN)
        person &= (table.number[j] != Number.MANY) & ~differ(table.gender[i], table.gender[j])
        own = pronoun & person & (table.sentence[i] == table.sentence[j])
        before = pronoun & person & (table.sentence[i] - table.sentence[j] == 1)
        before &= (table.turn[i] == table.turn[j]) & _none_of(own, pairs)
        scores[before & ((table.kind[j] != Kind.NAME) | self._is_role(table, j))] += SUBJECT

    def _is_role(self, table: MentionTable, rows: NDArray[np.int64]) -> Bools:
        """Which of the mentions are a noun for people or a title alone ("Doctor")."""
        head = table.words[rows, 0]
        known = self._role[np.minimum(head, len(self._role) - 1)]
        return np.asarray(known & (table.end[rows] - table.start[rows] == 1))

    def _appear(
        self, table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], scores: Floats
    ) -> None:
        """Let "Admin" be somebody new rather than "he" who is spoken of."""
        role = self._is_role(table, i) & (table.kind[i] == Kind.NAME)
        role &= (table.kind[j] == Kind.HE) | (table.kind[j] == Kind.SHE)
        scores[role] -= INDEFINITE

    def _to_outer(self, table: MentionTable, pairs: Pairs, scores: Floats) -> None:
        """What is said of an apposition, a name in "a dog called Rex" or a predicate is said of the whole."""
        outer = self._outer(table, int(pairs.earlier.min()))
        at = np.flatnonzero(outer[pairs.earlier] >= 0)
        begins = np.repeat(pairs.offsets[:-1], np.diff(pairs.offsets))
        for p in at.tolist():
            row = int(pairs.later[p])
            target = int(outer[pairs.earlier[p]])
            q = int(begins[p]) + row - target - 1  # pairs of a mention: the nearest first
            if target < row and q < len(scores) and (pairs.later[q], pairs.earlier[q]) == (row, target):
                if scores[q] > -np.inf:
                    scores[q] = max(scores[q], scores[p])
                scores[p] = -np.inf

    def _called(
        self, table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], scores: Floats
    ) -> None:
        """Let the name that a clause gives somebody be that one's."""
        rows = (table.kind == Kind.NAME) & np.isin(table.governor_key, self._naming)
        if not rows.any():
            return
        named = rows[i] & (table.governor[i] == table.governor[j]) & is_subject(table, j)
        scores[named & (table.relation[j] == SUBJECTS[1]) & (table.kind[j] > Kind.YOU)] += NAMED

    def _outer(self, table: MentionTable, first: int) -> NDArray[np.int64]:
        """Of each row from `first` on the one of the noun phrase that names the same, -1 for none."""
        found = np.full(len(table), -1, np.int64)
        noun = table.kind > Kind.OTHER_PRONOUN
        apposition = noun & (table.relation == DEP_ID["appos"])
        named = (table.kind == Kind.NAME) & np.isin(table.governor_key, self._naming)
        predicate = noun & (table.relation == DEP_ID["root"]) & np.isin(table.words[:, 3], self._be)
        for row in (first + np.flatnonzero((apposition | named | predicate)[first:])).tolist():
            governor = table.governor[row]
            if predicate[row]:
                subjects = (table.governor == table.head[row]) & is_subject(table, slice(None)) & noun
                around = subjects & (table.sentence == table.sentence[row])
                around &= ~differ(table.number, table.number[row]) & ~differ(table.life, table.life[row])
                around &= ~differ(table.gender, table.gender[row])
                rows = np.flatnonzero(around[:row])[:1]
            else:
                around = noun & (table.start <= table.start[row]) & (table.end >= table.end[row])
                around &= (table.head == governor) if apposition[row] else (table.head < governor)
                rows = np.flatnonzero(around[:row])
            if len(rows):
                found[row] = rows[-1]
        return found


def _animals(table: MentionTable, pairs: Pairs, scores: Floats) -> None:
    """Let "he", "she" and "it" be a dog."""
    i, j = pairs.later, pairs.earlier
    kind = table.kind[i]
    pronoun = (kind == Kind.HE) | (kind == Kind.SHE)
    noun = (table.kind[j] > Kind.OTHER_PRONOUN) & (table.number[j] != Number.MANY)
    noun &= table.kind[j] != Kind.JOINED
    scores[noun & (kind == Kind.IT) & (table.life[j] == Life.PERSON)] -= IT_PERSON
    animal = noun & (table.life[j] == Life.CREATURE)
    if not animal.any():
        return
    near = table.sentence[i] - table.sentence[j] <= NEAR
    same = (table.gender[i] == table.gender[j]) & (table.life[j] == Life.PERSON)
    free = _none_of(near & noun & same, pairs)
    scores[pronoun & animal & free] += CREATURE
    scores[pronoun & animal & free & (table.gender[i] == table.gender[j])] += STALLION
    scores[(kind == Kind.IT) & animal] += IT_CREATURE


def _it_early(table: MentionTable, first: int, pairs: Pairs, scores: Floats, alone: Floats) -> None:
    """Let "it" be something in a text of a few sentences, and rather what the sentence before is about."""
    i, j = pairs.later, pairs.earlier
    it = (table.kind[i] == Kind.IT) & (table.sentence[i] <= EARLY)
    if not it.any():
        return
    thing = it & (table.kind[j] > Kind.OTHER_PRONOUN) & (table.number[j] == Number.ONE)
    thing &= (table.kind[j] != Kind.JOINED) & (table.life[j] != Life.PERSON)
    alone[np.unique(i[thing & (table.sentence[i] - table.sentence[j] <= 1)]) - first] -= IT_EARLY
    about = thing & is_subject(table, i) & is_subject(table, j) & (table.turn[i] == table.turn[j])
    own = about & (table.sentence[i] == table.sentence[j])
    before = about & (table.sentence[i] - table.sentence[j] == 1)
    scores[before & _none_of(own, pairs)] += IT_SUBJECT


def _they(table: MentionTable, pairs: Pairs, scores: Floats) -> None:
    """Let "they" be one person, or two joined by "and"."""
    i, j = pairs.later, pairs.earlier
    they = table.kind[i] == Kind.THEY
    if not they.any():
        return
    noun = table.kind[j] > Kind.OTHER_PRONOUN
    near = table.sentence[i] - table.sentence[j] <= NEAR
    many = near & noun & (table.number[j] == Number.MANY) & (table.life[j] != Life.THING)
    one = noun & (table.number[j] == Number.ONE) & (table.life[j] == Life.PERSON) & near
    one &= (table.gender[j] == Gender.UNKNOWN) & (table.kind[j] != Kind.JOINED)
    scores[they & one & _none_of(many, pairs)] += ONE_PERSON
    scores[they & near & (table.kind[j] == Kind.JOINED)] += TOGETHER
    known = (table.gender[j] == Gender.MALE) | (table.gender[j] == Gender.FEMALE)
    scores[they & known & (table.number[j] == Number.ONE) & (table.kind[j] != Kind.JOINED)] -= KNOWN_ONE


def _forward(table: MentionTable, first: int, pairs: Pairs, scores: Floats, alone: Floats) -> None:
    """Let a subject be the pronoun before it in the sentence that is nobody yet ("Before she left, Anna")."""
    i, j = pairs.later, pairs.earlier
    kind = table.kind[j]
    at = np.flatnonzero(
        (table.sentence[i] == table.sentence[j]) & is_subject(table, i) & (table.kind[i] > Kind.OTHER_PRONOUN)
        & (kind >= Kind.HE) & (kind <= Kind.THEY) & (table.start[j] < table.start[i]) & (j >= first)
        & (table.clause[i] != table.clause[j])
    )  # fmt: skip
    if not len(at):
        return
    best = _best(pairs, scores)
    i, j = i[at], j[at]
    fits = ~differ(table.gender[i], table.gender[j]) & ~differ(table.number[i], table.number[j])
    nobody = fits & (best[j - first] <= alone[j - first])
    scores[at[nobody]] += CATAPHORA
    scores[at[nobody & (table.kind[i] == Kind.JOINED)]] += TOGETHER


def _best(pairs: Pairs, scores: Floats) -> Floats:
    """Of each later mention the best score, -inf where it has no pair."""
    counts = np.diff(pairs.offsets)
    best = np.full(len(counts), -np.inf, np.float32)
    best[counts > 0] = np.maximum.reduceat(scores, pairs.offsets[:-1][counts > 0])
    return best


def _none_of(some: Bools, pairs: Pairs) -> Bools:
    """`[pairs]`: whether no pair of the same later mention is one of `some`."""
    counts = np.diff(pairs.offsets)
    any_of = np.zeros(len(counts), np.bool_)
    any_of[counts > 0] = np.logical_or.reduceat(some, pairs.offsets[:-1][counts > 0])
    return np.asarray(~np.repeat(any_of, counts))


def _not_within(table: MentionTable, one: NDArray[np.int64], other: NDArray[np.int64]) -> Bools:
    """Whether a content word of one is none of the other's."""
    a, b = table.content[one], table.content[other]
    found = (a[:, :, None] == b[:, None, :]).any(axis=2)
    return np.asarray((~found & (a != 0)).any(axis=1))
