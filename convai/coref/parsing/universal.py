"""Dependencies of spaCy's own English pipelines (ClearNLP's labels) as Universal Dependencies.

`en_core_web_*` hangs nouns on prepositions and attributes on "be"; coreference reads Universal Dependencies,
where words of content carry the others. What is mapped: labels, prepositions, copulas, chains of conjuncts.
See de Marneffe et al. 2014, "Universal Stanford Dependencies", and the guidelines of ClearNLP (Choi 2012).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

CLEAR: Final = frozenset(
    "pobj dobj prep nsubjpass csubjpass auxpass attr acomp poss prt relcl dative agent pcomp npadvmod "
    "quantmod predet preconj intj oprd neg nn num complm".split()
)
"""Labels that only ClearNLP's scheme has."""
_SAME: Final = {
    "dobj": "obj",
    "dative": "iobj",
    "nsubjpass": "nsubj:pass",
    "csubjpass": "csubj:pass",
    "auxpass": "aux:pass",
    "poss": "nmod:poss",
    "prt": "compound:prt",
    "relcl": "acl:relcl",
    "npadvmod": "obl:unmarked",
    "quantmod": "advmod",
    "predet": "det:predet",
    "preconj": "cc:preconj",
    "intj": "discourse",
    "oprd": "xcomp",
    "neg": "advmod",
    "nn": "compound",
    "num": "nummod",
    "acomp": "xcomp",
    "attr": "xcomp",
    "pcomp": "advcl",
    "pobj": "obl",
    "prep": "obl",
    "agent": "obl:agent",
    "meta": "dep",
    "complm": "mark",
}
_BE: Final = frozenset("be am is are was were been being 's 're 'm ’s ’re ’m".split())
_VERBAL: Final = ("V", "J", "R", "M")


def is_clear(labels: Sequence[str]) -> bool:
    """Whether these labels are ClearNLP's and not Universal Dependencies'."""
    return not CLEAR.isdisjoint(labels)


def to_universal(
    words: Sequence[str], tags: Sequence[str], heads: Sequence[int], deps: Sequence[str]
) -> tuple[list[int], list[str]]:
    """Heads and labels of one sentence in Universal Dependencies. `heads`: a root's is its own index."""
    head, dep = list(heads), list(deps)
    lifted: set[int] = set()
    for i in reversed(range(len(head))):  # "out of the house": the inner one first
        if dep[i] in ("prep", "agent", "dative"):
            _lift_object(i, tags, head, dep, lifted)
    for i in range(len(head)):
        if dep[i] in ("attr", "acomp") and head[i] != i and words[head[i]].lower() in _BE:
            _lift_attribute(i, head, dep)
    _first_conjuncts(head, dep)
    return head, [_SAME.get(label, label) for label in dep]


def _lift_object(i: int, tags: Sequence[str], head: list[int], dep: list[str], lifted: set[int]) -> None:
    """prep(sat, on), pobj(on, mat) → obl(sat, mat), case(mat, on). The same for nouns: nmod.

    `lifted`: the objects that were lifted before, which a preposition around theirs lifts once more.
    """
    inside = (c for c, h in enumerate(head) if h == i and (dep[c] in ("pobj", "pcomp") or c in lifted))
    inner = next(inside, None)
    if inner is None:
        return
    lifted.add(inner)
    outer = head[i]
    if dep[inner] == "pcomp":
        label, mark = "advcl", "mark"
    else:
        label = "obl" if tags[outer].startswith(_VERBAL) else "nmod"
        label = "obl:agent" if dep[i] == "agent" else label
        mark = "case"
    head[inner], dep[inner] = (outer, label) if outer != i else (inner, "root")
    for child, above in enumerate(head):
        if above == i and child not in (i, inner) and dep[child] not in ("conj", "cc"):
            head[child] = inner
    head[i], dep[i] = inner, mark


def _lift_attribute(i: int, head: list[int], dep: list[str]) -> None:
    """attr(is, nurse) → the nurse takes the place of "is", which becomes its copula."""
    be = head[i]
    outer, label = head[be], dep[be]
    for child, above in enumerate(head):
        if above == be and child not in (be, i):
            head[child] = i
    head[i], dep[i] = (i, "root") if outer == be else (outer, label)
    head[be], dep[be] = i, "cop"


def _first_conjuncts(head: list[int], dep: list[str]) -> None:
    """conj(a, b), conj(b, c) → both on a; the conjunction hangs on the conjunct that follows it."""
    for i, label in enumerate(dep):
        if label == "cc":
            after = [c for c, h in enumerate(head) if h == head[i] and dep[c] == "conj" and c > i]
            if after:
                head[i] = after[0]
    for i, label in enumerate(dep):
        if label == "conj":
            seen = {i}
            while dep[head[i]] == "conj" and head[i] not in seen:
                seen.add(head[i])
                head[i] = head[head[i]]
