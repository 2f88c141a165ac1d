"""WinoBias: is a pronoun resolved as well against the stereotype of an occupation as with it?

Zhao et al. 2018, "Gender Bias in Coreference Resolution". Four column files: sentences where the pronoun fits
the stereotype (pro) and where it does not (anti), of type 1 (knowledge of the world decides) and type 2
(syntax is enough).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from convai.core.errors import DataError
from convai.coref.conll import read_conll
from convai.coref.document import Cluster, Document, Resolver, Span
from convai.coref.scorer.metrics import conll_f1, score

_NAME = re.compile(r"type(?P<type>[12])_(?P<side>pro|anti)_stereotype")


@dataclass(frozen=True, slots=True)
class Bias:
    """Scores of one file: CoNLL's mean F1, and the share of pronouns that are linked to the right person."""

    f1: float
    accuracy: float


def find_winobias(folder: Path) -> dict[tuple[str, str], Path]:
    """(type, side) → file, of a folder with all four. Raises DataError naming what is missing."""
    found = {}
    for path in sorted(folder.glob("*conll*")):
        if match := _NAME.search(path.name):
            found[match["type"], match["side"]] = path
    missing = [
        f"type{t}_{side}_stereotype" for t in "12" for side in ("pro", "anti") if (t, side) not in found
    ]
    if missing:
        raise DataError(f"{folder}: no column file *{missing[0]}*; give a folder with the four of them")
    return found


def read_winobias(path: Path) -> list[Document]:
    """The documents of one file. Raises DataError as `read_conll`, and for one without a chain of two."""
    documents = read_conll(path)
    for document in documents:
        if [len(cluster) > 1 for cluster in document.clusters].count(True) != 1:
            raise DataError(
                f"{path}: {document.name} has not one chain of two mentions; give WinoBias' files"
            )
    return documents


def score_winobias(documents: Iterable[Document], resolver: Resolver) -> Bias:
    """The resolver's scores on parsed documents, whose own clusters are the key; clusters of one are dropped.

    The answer is right where a mention with exactly the pronoun is in a cluster with a mention that ends as
    the right person's does (a possessive 's apart).
    """
    pairs: list[tuple[list[Cluster], list[Cluster]]] = []
    right = total = 0
    for document in documents:
        found = resolver.resolve(document)
        pairs.append((document.clusters, found))
        key = next(cluster for cluster in document.clusters if len(cluster) > 1)
        words = document.words()
        pronouns = [span for span in key if words[span[0]].lower() in _PRONOUNS and span[1] == span[0] + 1]
        ends = {_end(words, span) for span in key if span not in pronouns}
        for pronoun in pronouns:
            total += 1
            right += any(
                pronoun in cluster and any(s != pronoun and _end(words, s) in ends for s in cluster)
                for cluster in found
            )
    f1 = conll_f1(score(pairs, singletons=False))
    return Bias(f1, right / total if total else 0.0)


_PRONOUNS = frozenset("he him his himself she her hers herself they them their theirs".split())


def _end(words: Sequence[str], span: Span) -> int:
    """Where a mention ends, without a possessive 's, which only some schemes count to it."""
    return span[1] - (words[span[1] - 1].lower() in ("'s", "'") and span[1] - span[0] > 1)
