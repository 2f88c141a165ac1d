"""What grammar keeps apart within a sentence: principles B and C of binding (Chomsky 1981).

"The cook called the baker and thanked him": "him" is not who thanks, whose place in the clause the cook has.
"He says that Paul is late": the name is not "he", of whom the whole clause is said. As filters of candidates
they are as old as Lappin & Leass 1994, §2. Left out is what grammar does not settle: "he looked behind him",
"he had no money on him", clauses whose unsaid subject may be one or the other's ("hired him to help her").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convai.coref.features import MentionTable
from convai.coref.lexicon import Kind
from convai.coref.pairs import Bools

NOBODY: Final = -1
_OBJECTS: Final = ("obj", "iobj")
_SHARED: Final = ("conj", "xcomp")
"""Relations of a verb without a subject of its own to the one whose subject it shares."""
_WITHIN: Final = ("ccomp", "acl", "acl:relcl", "advcl")
"""Clauses within another: what is coordinated with their verb may as well belong to the outer one."""
_BESIDE: Final = ("conj", "parataxis", "cc", "punct")
"""What depends on a verb and is beside its clause, not in it."""
_DATIVE: Final = frozenset("to at for from of by".split())
"""Prepositions behind which a pronoun is never the subject."""
_OF_VERBS: Final = frozenset("with about on against after".split())
"""The same where the verb has no object: "argued with him", but "brought a friend with him"."""


_OF_OBJECTS: Final = frozenset(
    form
    for verb in "ask order persuade force allow help want urge encourage convince permit enable advise warn "
    "instruct cause require expect invite".split()
    for form in (verb, verb + "s", verb.removesuffix("e") + "ed", verb.removesuffix("e") + "ing")
) | frozenset(
    "begged told tell tells telling forbade forbid made make makes let lets teach taught permitted".split()
)
"""Verbs whose object is who does what the infinitive behind it says: "asked Ellen to help her"."""


class Clauses:
    """The subjects of a sentence's verbs. `deps` in the scheme of `features.DEPS`."""

    def __init__(self, words: Sequence[str], heads: Sequence[int], deps: Sequence[str]) -> None:
        self._words, self._heads, self._deps = words, heads, deps
        self.subjects: dict[int, int] = {}
        """Verb → its first subject."""
        self._objects: dict[int, int] = {}
        for i, dep in enumerate(deps):
            if dep.startswith("nsubj"):
                self.subjects.setdefault(heads[i], i)
            elif dep in _OBJECTS:
                self._objects.setdefault(heads[i], i)

    def other(self, head: int, start: int) -> int:
        """The subject that the phrase with this head, which begins at `start`, is not; or NOBODY.

        For pronouns: a reflexive is exactly that subject, and possessives depend on nouns.
        """
        dep, verb = self._deps[head], self._heads[head]
        if dep == "obl" or dep.startswith("obl:agent"):
            before = self._words[start - 1] if start else ""
            alone = verb not in self._objects and before in _OF_VERBS
            if before not in _DATIVE and not alone:
                return NOBODY
        elif dep not in _OBJECTS:
            return NOBODY
        return self.subject_of(verb)

    def subject_of(self, verb: int) -> int:
        """The subject of a verb, its own or the one that it shares; NOBODY where none is certain."""
        for _ in self._heads:  # as many steps at most, whatever the heads
            if verb in self.subjects:
                return self.subjects[verb]
            above, dep = self._heads[verb], self._deps[verb]
            if dep == "xcomp" and above in self._objects:
                own = self._objects[above]
                return own if self._words[above] in _OF_OBJECTS and own < verb else NOBODY
            if dep not in _SHARED:
                return NOBODY
            if dep == "conj" and self._deps[above] in _WITHIN:
                return NOBODY
            verb = above
        return NOBODY

    def reach(self, head: int) -> int:
        """Where the words end that are said of the subject `head`, in a row; NOBODY for no subject."""
        heads, deps = self._heads, self._deps
        verb = heads[head]
        if not deps[head].startswith("nsubj") or verb == head:
            return NOBODY
        end = head + 1
        while end < len(heads) and self._is_under(end, verb, head):
            end += 1
        return end

    def _is_under(self, word: int, verb: int, subject: int) -> bool:
        """Whether a word is the verb or in its clause, not beside it, nor part of the subject."""
        for _ in self._heads:
            if word == verb:
                return True
            above = self._heads[word]
            if word in (subject, above) or (above == verb and self._deps[word] in _BESIDE):
                return False
            word = above
        return False


def apart(table: MentionTable, i: NDArray[np.int64], j: NDArray[np.int64]) -> Bools:
    """Whether grammar says that the mentions `i` are not the earlier ones `j`."""
    subject = (table.other[i] == table.head[j]) & (table.other[i] != NOBODY)
    pronoun = (table.kind[j] >= Kind.HE) & (table.kind[j] <= Kind.THEY)
    said_of = pronoun & (table.kind[i] > Kind.OTHER_PRONOUN) & (table.end[i] <= table.reach[j])
    said_of &= (table.start[i] >= table.end[j]) & (table.head[i] != table.governor[j])
    return np.asarray(subject | said_of)
