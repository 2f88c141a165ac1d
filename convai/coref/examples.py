"""Documents made ready for training: arrays of their mentions and pairs, and which pairs are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convai.coref.chunks import Chunk, Cutter
from convai.coref.contexts import Contexts
from convai.coref.document import Document
from convai.coref.features import Ints, MentionTable
from convai.coref.model import tensors
from convai.coref.pairs import Floats, Window, describe, make_pairs, summary
from convai.coref.reading import FeatureReader
from convai.coref.resolver import stretches
from convai.coref.scorer.gap import ParsedExample, is_of_name
from convai.coref.words import WordIds

_LONGEST: Final = 4000
"""Words of a stretch of a document that is one example; links out of it are not learnt."""
_ENCODED: Final = 1200
"""The same where an encoder learns, which has to hold all that it computes of a step."""


@dataclass(frozen=True, slots=True)
class Question:
    """A pronoun, and names that it is or is not."""

    pronoun: int
    """The mention's number."""
    names: tuple[list[int], ...]
    """The mentions of each name; a name without one is left out."""
    same: tuple[bool, ...]
    """Whether the pronoun is the name."""


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
    states: Tensor | None = None
    """`[mentions, width]` of float16: the head words' in a language model."""
    chunks: list[Chunk] | None = None
    """What an encoder reads of it."""
    heads: Tensor | None = None
    """`[mentions]`: the number of each head among the words."""
    question: Question | None = None
    """Where this alone is known of the text; the mentions are then not taught."""

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return len(self.later)

    @property
    def lessons(self) -> int:
        """What the loss is a sum over: mentions, or the answers to the question."""
        return self.mentions if self.question is None else len(self.question.names)

    @property
    def mentions(self) -> int:
        """Number of mentions."""
        return len(self.words)

    def features(self) -> Tensor:
        """`[features, pairs]` as floats."""
        return torch.cat((self.dense.float(), self.similar))


def examples(
    documents: Iterable[Document],
    words: WordIds,
    unit: Floats,
    window: Window,
    contexts: Contexts | None = None,
    cutter: Callable[[], Cutter] | None = None,
) -> Iterator[Example]:
    """The examples of parsed documents. `unit`: word vectors of length 1; `cutter`: for an encoder.

    Where a document marks clusters of one mention, its annotation is taken to be of some kinds of mentions
    only (as LitBank's): what is not marked teaches nothing about having no antecedent.
    """
    for document in documents:
        reader = FeatureReader(words)
        clusters = {span: k for k, cluster in enumerate(document.clusters) for span in cluster}
        sizes = [len(cluster) for cluster in document.clusters]
        known: set[int] = set()  # chains of earlier stretches: their mentions have antecedents out of reach
        stream = None if contexts is None else contexts.begin()
        begin = 0
        for sentences in stretches(document.sentences, _LONGEST if cutter is None else _ENCODED):
            table, tokens = reader.read(sentences)
            first, begin = begin, begin + len(tokens)
            states = None if stream is None else _of_heads(stream.add(sentences), table, first)
            if len(table) < 2:
                continue
            spans = zip(table.start.tolist(), table.end.tolist(), strict=True)
            gold = np.array([clusters.get(span, -1) for span in spans], np.int64)
            partial = min(sizes, default=2) == 1
            taught = gold >= 0 if partial else np.ones(len(table), np.bool_)
            example = _example(table, tokens, gold, taught, unit, window, states)
            if cutter is not None:
                example.chunks = list(cutter().cut(sentences))
                example.heads = torch.from_numpy(table.head - first).long()
            example.taught &= example.linked | torch.tensor([k not in known for k in gold.tolist()])
            known |= {k for k in gold.tolist() if k >= 0}
            yield example


def questions(
    asked: Iterable[ParsedExample],
    words: WordIds,
    unit: Floats,
    window: Window,
    contexts: Contexts | None = None,
    cutter: Callable[[], Cutter] | None = None,
) -> Iterator[Example]:
    """Examples of texts of which only this is known: which name a pronoun is.

    One without a mention of the pronoun, or of both names, is left out.
    """
    for one in asked:
        table, tokens = FeatureReader(words).read(one.document.sentences)
        spans = list(zip(table.start.tolist(), table.end.tolist(), strict=True))
        if one.pronoun not in spans:
            continue
        names = [[i for i, s in enumerate(spans) if is_of_name(one.document, s, name)] for name in one.names]
        known = [(name, same) for name, same in zip(names, one.same, strict=True) if name]
        if not known:
            continue
        nothing = np.zeros(len(table), np.int64)
        states = None
        if contexts is not None:
            states = _of_heads(contexts.begin().add(one.document.sentences), table, 0)
        example = _example(table, tokens, nothing - 1, nothing > 0, unit, window, states)
        if cutter is not None:
            example.chunks = list(cutter().cut(one.document.sentences))
            example.heads = torch.from_numpy(table.head).long()
        example.question = Question(
            spans.index(one.pronoun), tuple(name for name, _ in known), tuple(same for _, same in known)
        )
        yield example


def _example(
    table: MentionTable,
    tokens: Ints,
    gold: NDArray[np.int64],
    taught: NDArray[np.bool_],
    unit: Floats,
    window: Window,
    states: Tensor | None,
) -> Example:
    """`gold`: the number of each mention's cluster, -1 for none."""
    pairs = make_pairs(table, 0, window)
    dense, cross = describe(table, pairs, unit[table.words[:, 0]])
    same = torch.from_numpy((gold[pairs.later] == gold[pairs.earlier]) & (gold[pairs.later] >= 0))
    later = torch.from_numpy(pairs.later)
    linked = torch.zeros(len(table), dtype=torch.bool)
    linked[later[same]] = True
    return Example(
        *tensors(table),
        tokens=torch.from_numpy(tokens).long(),
        later=later,
        earlier=torch.from_numpy(pairs.earlier),
        dense=torch.from_numpy(dense[:-1].astype(np.uint8)),
        similar=torch.from_numpy(dense[-1:].copy()),
        cross=torch.from_numpy(cross).long(),
        summary=torch.from_numpy(summary(dense, pairs)),
        same=same,
        linked=linked,
        taught=torch.from_numpy(taught),
        states=states,
    )


def _of_heads(states: Floats, table: MentionTable, begin: int) -> Tensor:
    """The states of mentions' heads, from those of a stretch's words, the first of which is word `begin`."""
    return torch.from_numpy(states[table.head - begin]).half()


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
