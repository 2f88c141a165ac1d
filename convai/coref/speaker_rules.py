"""Rules on who speaks: "I", "you" and "we" of turns and quotations (`convai.coref.rules` calls them).

The amounts are on the network's scale (logits).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from convai.coref.features import DEP_ID, OBJECTS, SUBJECTS, MentionTable
from convai.coref.lexicon import Kind, Life
from convai.coref.pairs import Bools, Floats
from convai.coref.words import key

DIALOGUE: Final = 2.0
"""For "you" as the "I" of who is spoken to."""
WITH_ME: Final = 8.0
"""For "we" as "Nina and I", and "you" of who answers."""
QUOTED: Final = 4.0
"""For "I" in a quotation as the subject before it ("My cousin said: ...")."""
TOLD: Final = 4.0
"""For "you" in a quotation as the one whom it is told ("..." she told Edwin)."""
NO_TELLER: Final = 4.0
"""Against "I" as somebody whom the text names, where nobody is known to speak."""
NEAR: Final = 2
"""Sentences that count as near."""
_TELLING: Final = np.array(
    [
        key(word)
        for word in "tell tells told telling ask asks asked asking warn warns warned warning assure assures "
        "assured remind reminds reminded advise advises advised promise promises promised order orders "
        "ordered say says said saying whisper whispers whispered shout shouts shouted reply replied".split()
    ],
    np.int64,
)
"""Verbs that a quotation stands beside."""


def addressed(table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], scores: Floats) -> None:
    """Let "you" be who is spoken to, not whoever that one calls "you"."""
    to_i = (table.partner[i] == table.speaker[j]) & (table.speaker[j] > 0)
    to_j = (table.partner[j] == table.speaker[i]) | (
        (table.partner[j] == 0) & (table.turn[i] - table.turn[j] == 1)
    )
    to_j &= (table.speaker[i] > 0) & (table.speaker[j] > 0) & (table.speaker[i] != table.speaker[j])
    you_i, you_j = table.kind[i] == Kind.YOU, table.kind[j] == Kind.YOU
    scores[you_i & you_j & to_i] = -np.inf
    scores[you_i & (table.kind[j] == Kind.I) & to_i] += DIALOGUE
    scores[you_j & (table.kind[i] == Kind.I) & to_j] += DIALOGUE


def first_and_third(table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], scores: Floats) -> None:
    """Let "my" of one speaker, outside and within a quotation alike, be nobody's "he", nor who is told."""
    kind_i, kind_j = table.kind[i], table.kind[j]
    third_i = (kind_i >= Kind.HE) & (kind_i <= Kind.THEY)
    third_j = (kind_j >= Kind.HE) & (kind_j <= Kind.THEY)
    cannot = ((kind_i <= Kind.YOU) & third_j) | ((kind_j <= Kind.YOU) & third_i)
    quote = table.quote[i] == table.quote[j]
    told = (table.partner[i] == table.speaker[j]) | (
        (table.partner[i] == 0) & (table.turn[i] - table.turn[j] == 1)
    )
    told &= (table.speaker[j] > 0) & (table.speaker[i] > 0)
    told &= (kind_j == Kind.I) & ((kind_i == Kind.HE) | (kind_i == Kind.SHE))
    scores[quote & ((cannot & (table.speaker[i] == table.speaker[j])) | told)] = -np.inf


def told_by_nobody(table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], scores: Floats) -> None:
    """Let "I" and "my" of a text whose teller has no name be nobody who is named in it before."""
    first = ((table.kind[i] == Kind.I) | (table.kind[i] == Kind.WE)) & (table.speaker[i] == 0)
    noun = (table.kind[j] > Kind.OTHER_PRONOUN) & (table.kind[j] != Kind.JOINED)
    scores[first & noun & (table.quote[i] == 0) & (table.quote[j] == 0)] -= NO_TELLER


def together_with_me(table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], scores: Floats) -> None:
    """Let "Nina and I" be "we" of who says it, and "you" of who is told."""
    joined = np.flatnonzero(table.kind == Kind.JOINED)
    spoken = np.flatnonzero(table.kind == Kind.I)
    if not len(joined) or not len(spoken):
        return
    within = (table.start[joined][:, None] <= table.start[spoken]) & (
        table.end[spoken] <= table.end[joined][:, None]
    )
    with_me = np.zeros(len(table), np.bool_)
    with_me[joined[within.any(axis=1)]] = True
    near = with_me[j] & (table.sentence[i] - table.sentence[j] <= NEAR)
    same = table.speaker[i] == table.speaker[j]
    scores[near & same & (table.kind[i] == Kind.WE)] += WITH_ME
    told = near & ~same & (table.speaker[i] > 0) & (table.turn[i] - table.turn[j] == 1)
    scores[told & (table.kind[i] == Kind.YOU)] += WITH_ME


def quoted(table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], scores: Floats) -> None:
    """Let "I" in what somebody is quoted to say be that one, and not who quotes."""
    inside = (table.kind[i] == Kind.I) & (table.quote[i] > 0) & (table.quote[j] == 0)
    inside &= (table.sentence[i] == table.sentence[j]) & (table.speaker[i] == table.speaker[j])
    says = inside & is_subject(table, j) & (table.life[j] == Life.PERSON) & (table.kind[j] > Kind.YOU)
    quoting = {(int(table.sentence[b]), int(table.quote[a])) for a, b in zip(i[says], j[says], strict=True)}
    for p in np.flatnonzero(inside).tolist():
        if (int(table.sentence[j[p]]), int(table.quote[i[p]])) not in quoting:
            continue
        if table.kind[j[p]] == Kind.I:
            scores[p] = -np.inf
        elif says[p]:
            scores[p] += QUOTED


def told(table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64], scores: Floats) -> None:
    """Let "you" in what is told be who is told it, and not who tells it."""
    you_i = (table.kind[i] == Kind.YOU) & (table.quote[i] > 0) & (table.quote[j] == 0)
    you_j = (table.kind[j] == Kind.YOU) & (table.quote[j] > 0) & (table.quote[i] == 0)
    at = np.flatnonzero((you_i | you_j) & (table.sentence[i] == table.sentence[j]))
    if not len(at):
        return
    other = np.where(you_i[at], j[at], i[at])
    beside = np.isin(table.governor_key[other], _TELLING) & (table.kind[other] > Kind.YOU)
    relation = table.relation[other]
    hears = beside & np.isin(relation, (*OBJECTS, DEP_ID["obl"])) & (table.life[other] != Life.THING)
    scores[at[hears]] += TOLD
    scores[at[beside & is_subject(table, other)]] = -np.inf


def is_subject(table: MentionTable, rows: NDArray[np.int64] | slice) -> Bools:
    """Which of the mentions `rows` are subjects."""
    relation = table.relation[rows]
    return np.asarray((relation == SUBJECTS[0]) | (relation == SUBJECTS[1]))
