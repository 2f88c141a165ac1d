"""Documents made ready for training: arrays of their mentions and pairs, and which pairs are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from convai.coref.document import Document
from convai.coref.model import tensors
from convai.coref.pairs import Floats, Window, describe, make_pairs, summary
from convai.coref.reading import FeatureReader
from convai.coref.resolver import stretches
from convai.coref.words import WordIds

_LONGEST: Final = 4000
"""Words of a stretch of a document that is one example; links out of it are not learnt."""


@dataclass(slots=True)
class Example:
    """A document, or a stretch of a long one."""

    words: Tensor
    span: Tensor
    categories: Tensor
    tokens: Tensor
    later: Tensor
    """`[pairs]`"""
    earlier: Tensor
    dense: Tensor
    """`[features - 1, pairs]` of bytes; all but the last feature are 0 or 1."""
    similar: Tensor
    """`[1, pairs]`: the last feature."""
    cross: Tensor
    summary: Tensor
    same: Tensor
    """`[pairs]`: whether both mentions are in one cluster."""
    linked: Tensor
    """`[mentions]`: whether a pair of the mention is one of the same."""
    taught: Tensor
    """`[mentions]`: whether the mention is learnt from."""

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return len(self.later)

    @property
    def mentions(self) -> int:
        """Number of mentions."""
        return len(self.words)

    def features(self) -> Tensor:
        """`[features, pairs]` as floats."""
        return torch.cat((self.dense.float(), self.similar))


def examples(
    documents: Iterable[Document], words: WordIds, unit: Floats, window: Window
) -> Iterator[Example]:
    """The examples of parsed documents. `unit`: word vectors of length 1.

    Where a document marks clusters of one mention, its annotation is taken to be of some kinds of mentions
    only (as LitBank's): what is not marked teaches nothing about having no antecedent.
    """
    for document in documents:
        reader = FeatureReader(words)
        clusters = {span: k for k, cluster in enumerate(document.clusters) for span in cluster}
        sizes = [len(cluster) for cluster in document.clusters]
        for sentences in stretches(document.sentences, _LONGEST):
            table, tokens = reader.read(sentences)
            if len(table) < 2:
                continue
            pairs = make_pairs(table, 0, window)
            dense, cross = describe(table, pairs, unit[table.words[:, 0]])
            spans = zip(table.start.tolist(), table.end.tolist(), strict=True)
            gold = np.array([clusters.get(span, -1) for span in spans], np.int64)
            same = torch.from_numpy((gold[pairs.later] == gold[pairs.earlier]) & (gold[pairs.later] >= 0))
            later = torch.from_numpy(pairs.later)
            linked = torch.zeros(len(table), dtype=torch.bool)
            linked[later[same]] = True
            partial = min(sizes, default=2) == 1
            columns = tensors(table)
            yield Example(
                *columns,
                tokens=torch.from_numpy(tokens).long(),
                later=later,
                earlier=torch.from_numpy(pairs.earlier),
                dense=torch.from_numpy(dense[:-1].astype(np.uint8)),
                similar=torch.from_numpy(dense[-1:].copy()),
                cross=torch.from_numpy(cross).long(),
                summary=torch.from_numpy(summary(dense, pairs)),
                same=same,
                linked=linked,
                taught=torch.from_numpy(gold >= 0) if partial else torch.ones(len(table), dtype=torch.bool),
            )


def packed(found: list[Example], order: list[int], pairs: int) -> Iterator[list[Example]]:
    """Batches of examples, in the order given, of at least so many pairs (the last may have fewer)."""
    batch: list[Example] = []
    size = 0
    for i in order:
        batch.append(found[i])
        size += found[i].pairs
        if size >= pairs:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
