"""From scores to clusters, mention by mention in the order of the text; what is decided stays decided.

A mention joins the cluster of its best-scored antecedent when that scores above having none, unless the
cluster already holds what it cannot be: somebody of the other gender, another speaker's "I", a phrase that
shares words with it while neither holds the other (which column files cannot say, either). The "I" of
a speaker who is known is linked to a noun only where that is the speaker's name, "you" where the partner's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convai.coref.binding import apart
from convai.coref.document import Cluster, Span
from convai.coref.features import MentionTable
from convai.coref.lexicon import Gender, Kind, Life, Number
from convai.coref.pairs import Bools, Floats, Pairs

_TRIES: Final = 8
"""Antecedents of one mention that are tried when the better ones contradict it."""
UNLIKE: Final = 2.0
"""By how much a noun may score below having no antecedent, to be linked through a pronoun all the same."""
NOBODY: Final = 0


@dataclass(slots=True)
class Profile:
    """What is certain of a cluster."""

    gender: int = Gender.UNKNOWN
    speaker: int = NOBODY
    """Whose "I" is in it."""
    strangers: set[int] = field(default_factory=set)
    """Speakers whose "you" is in it: it is none of them."""
    number: int = Number.UNKNOWN

    def allows(self, gender: int, speaker: int, stranger: int, number: int) -> bool:
        """Whether a mention that says so much can be the same."""
        if gender and self.gender and gender != self.gender:
            return False
        if number and self.number and number != self.number:
            return False
        if speaker and (self.speaker not in (NOBODY, speaker) or speaker in self.strangers):
            return False
        return not (stranger and stranger == self.speaker)

    def add(self, gender: int, speaker: int, stranger: int, number: int) -> None:
        """Take in what a mention says."""
        self.gender = self.gender or gender
        self.number = self.number or number
        self.speaker = self.speaker or speaker
        if stranger:
            self.strangers.add(stranger)


@dataclass(frozen=True, slots=True)
class Link:
    """A mention and the earlier one that it was found to be the same as."""

    mention: Span
    antecedent: Span


class Clusters:
    """The clusters so far, for mentions that are numbered in the order of the text."""

    def __init__(self) -> None:
        self.found: list[Cluster] = []
        self._of: list[int] = []
        self._profiles: list[Profile] = []
        self._latest: list[tuple[int, list[Span]]] = []
        """Of each cluster the mentions in the latest sentence that it has any in, and that sentence."""

    def add(self, table: MentionTable, first: int, pairs: Pairs, scores: Floats, alone: Floats) -> list[Link]:
        """Decide for the mentions from row `first` of the table on; its last row is the last mention of all.

        `scores` `[pairs]` and `alone` `[new mentions]`; a pair scored -inf is never linked.
        """
        offset = len(self._of) - first
        self._of.extend([-1] * (len(table) - first))
        links = []
        begins = pairs.offsets[:-1]
        counts = np.diff(pairs.offsets)
        best = np.full(len(counts), -np.inf, np.float32)
        some = counts > 0
        others = apart(table, pairs.later, pairs.earlier)
        if some.any():
            best[some] = np.maximum.reduceat(scores, begins[some])
        for i in np.flatnonzero(best > alone).tolist():
            begin, end = int(begins[i]), int(begins[i] + counts[i])
            row = first + i
            chosen = self._choose(
                table,
                row,
                pairs.earlier[begin:end],
                scores[begin:end],
                others[begin:end],
                float(alone[i]),
                offset,
            )
            if chosen >= 0:
                links.append(self._join(table, row, chosen, offset))
        return links

    def _choose(
        self,
        table: MentionTable,
        row: int,
        earlier: NDArray[np.int64],
        scores: Floats,
        others: Bools,
        alone: float,
        offset: int,
    ) -> int:
        says = _says(table, row)
        order = np.argsort(-scores, kind="stable")[:_TRIES]
        of = np.array(self._of)[earlier + offset]
        noun = table.kind[row] > Kind.OTHER_PRONOUN
        nouns = table.kind[earlier] > Kind.OTHER_PRONOUN
        never = others | (np.isneginf(scores) & nouns) if noun else others
        excluded = set(of[never].tolist())
        for k in order.tolist():
            if scores[k] <= alone:
                break
            candidate = int(earlier[k])
            cluster = self._of[candidate + offset]
            if never[k] or (cluster >= 0 and cluster in excluded):
                continue
            if cluster >= 0 and noun and table.kind[row] != Kind.NAME:
                if not nouns[k] and not _fits(scores[(of == cluster) & nouns], alone):
                    continue
            profile = self._profiles[cluster] if cluster >= 0 else _profile(table, candidate)
            if not profile.allows(*says) or not _may_be_speaker(table, row, candidate):
                continue
            if not self._crosses(table, row, candidate, cluster):
                return candidate
        return -1

    def _crosses(self, table: MentionTable, row: int, candidate: int, cluster: int) -> bool:
        """Whether the mention overlaps one of the cluster (or the candidate), and neither holds the other."""
        if cluster >= 0:
            sentence, spans = self._latest[cluster]
        else:
            sentence, spans = int(table.sentence[candidate]), [_span(table, candidate)]
        if sentence != int(table.sentence[row]):
            return False
        start, end = _span(table, row)
        return any(a < start < b < end or start < a < end < b for a, b in spans)

    def _join(self, table: MentionTable, row: int, antecedent: int, offset: int) -> Link:
        cluster = self._of[antecedent + offset]
        before = _span(table, antecedent)
        if cluster < 0:
            cluster = self._of[antecedent + offset] = len(self.found)
            self.found.append([before])
            self._profiles.append(_profile(table, antecedent))
            self._latest.append((int(table.sentence[antecedent]), [before]))
        now = _span(table, row)
        sentence = int(table.sentence[row])
        if self._latest[cluster][0] != sentence:
            self._latest[cluster] = (sentence, [])
        self._latest[cluster][1].append(now)
        self._of[row + offset] = cluster
        self.found[cluster].append(now)
        self._profiles[cluster].add(*_says(table, row))
        return Link(now, before)


def _fits(scores: Floats, alone: float) -> bool:
    """Whether a noun that is linked to a pronoun may be one of the nouns that the pronoun stands for.

    `scores` with those that are near. "Admin", found to be "he", is not the doctor that "he" is.
    """
    return not len(scores) or float(scores.max()) > alone - UNLIKE


def _span(table: MentionTable, row: int) -> Span:
    return int(table.start[row]), int(table.end[row])


def _may_be_speaker(table: MentionTable, row: int, other: int) -> bool:
    """Whether a known speaker's "I" or "you" is not linked to somebody who is spoken of by another name."""
    for one, its in ((row, other), (other, row)):
        kind = table.kind[one]
        if kind not in (Kind.I, Kind.YOU) or not table.speaker[one] or table.kind[its] <= Kind.YOU:
            continue
        if table.kind[its] == Kind.JOINED or (table.quote[one] and not table.quote[its]):
            continue  # "Nina and I"; somebody who is quoted
        keys = table.speaker_keys[one] if kind == Kind.I else table.partner_keys[one]
        if not keys[0] or not (table.text_key[its] in keys[:2] or table.head_key[its] == keys[2]):
            return False
    return True


def _says(table: MentionTable, row: int) -> tuple[int, int, int, int]:
    """Gender, the speaker where it is "I", the speaker where it is "you", and the number; 0 for none.

    Who is quoted is not who speaks. The number of "he" and "she" is certain, and that of several people.
    """
    gender, kind, speaker = int(table.gender[row]), int(table.kind[row]), int(table.speaker[row])
    number = Number.UNKNOWN
    if kind in (Kind.HE, Kind.SHE):
        number = Number.ONE
    elif (
        kind > Kind.OTHER_PRONOUN
        and table.number[row] == Number.MANY
        and (table.life[row] == Life.PERSON or kind == Kind.JOINED)
    ):
        number = Number.MANY
    speaks = kind == Kind.I and not table.quote[row]
    return gender, speaker if speaks else NOBODY, speaker if kind == Kind.YOU else NOBODY, number


def _profile(table: MentionTable, row: int) -> Profile:
    profile = Profile()
    profile.add(*_says(table, row))
    return profile
