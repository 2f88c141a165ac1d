"""The resolver: a parsed document, or a conversation as it grows, to clusters of mentions.

There is one way through, sentence after sentence; a document as a whole is read in stretches of it. Each new
mention is compared with those in its window, so that a turn costs the same whether it is the third or the
three hundredth, and memory grows with the clusters alone. A decision is never taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from convai.core.errors import DataError, SettingsError
from convai.coref.contexts import Contexts
from convai.coref.document import Cluster, Document, Sentence, Span, grouped
from convai.coref.features import MentionTable
from convai.coref.lexicon import Kind, Says, first_names, nouns
from convai.coref.linking import Clusters, Link
from convai.coref.model import CorefModel, tensors
from convai.coref.pairs import Floats, Pairs, Window, describe, make_pairs, summary
from convai.coref.reading import FeatureReader
from convai.coref.rules import Rules
from convai.coref.words import SPECIAL, WordIds, normal

_STRETCH: Final = 600
"""Words of a document that are read together."""


@dataclass(frozen=True, slots=True)
class ResolveSettings:
    """How the model is used; the names are NeuralCoref's."""

    greedyness: float = 0.5
    """Between 0 and 1: the higher, the more links."""
    max_dist: int | None = None
    """Mentions that are looked back for an antecedent; none: as many as the model was trained with."""
    max_dist_match: int | None = None
    """The same for mentions with the same head word."""
    blacklist: bool = False
    """Leave "I", "we" and "you" alone."""
    store_scores: bool = False
    """Keep the scores of all pairs (they take much memory)."""

    def __post_init__(self) -> None:
        if not 0 < self.greedyness < 1:
            raise SettingsError(f"greedyness={self.greedyness}: use a number between 0 and 1")
        for name in ("max_dist", "max_dist_match"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name}={value}: use 1 or more")

    def window(self, trained: Window) -> Window:
        """The window of these settings for a model trained with another."""
        near = self.max_dist or trained.window
        return replace(trained, window=near, reach=max(near, self.max_dist_match or trained.reach))

    @property
    def bias(self) -> float:
        """What is added to the score of having no antecedent; 0 for a greedyness of one half."""
        return float(np.log((1 - self.greedyness) / self.greedyness))


Scores = dict[Span, dict[Span | None, float]]
"""Mention → earlier mention → score; None stands for having no antecedent."""


@dataclass(slots=True)
class ResolvedDocument:
    """What was found in a document."""

    clusters: list[Cluster]
    scores: Scores = field(default_factory=dict)


class CorefResolver:
    """Finds clusters with a trained model; see `checkpoint.load_resolver`."""

    def __init__(
        self,
        model: CorefModel,
        words: WordIds,
        settings: ResolveSettings | None = None,
        conv_dict: Mapping[str, Sequence[str]] | None = None,
        source: Path | None = None,
        contexts: Contexts | None = None,
    ) -> None:
        """`conv_dict`: words that the model may not know → known words that say what they are.

        `contexts`: where the states come from, of a model that takes such.
        """
        self.contexts = contexts
        self.settings = settings or ResolveSettings()
        self.source = source
        self.model = model.eval()
        self.words = words
        self.said: dict[str, Says] = {}
        if conv_dict:
            self.model, self.words, self.said = _with_defined(model, words, conv_dict)
        vectors = self.model.vectors.numpy()
        self.unit: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
        self.window = self.settings.window(self.model.config.window)
        self.rules = Rules(self.words)

    def resolve(self, document: Document) -> list[Cluster]:
        """Clusters of two or more mentions, spans and clusters in the order of the text.

        Raises DataError where a sentence has no parse.
        """
        return self.read(document).clusters

    def read(self, document: Document) -> ResolvedDocument:
        """Clusters, and the scores where the settings keep them. Raises DataError as `resolve` does."""
        growing = self.begin()
        for sentences in stretches(document.sentences):
            growing.add(sentences)
        return ResolvedDocument(growing.clusters(), growing.scores)

    def begin(self) -> Growing:
        """A document without a word, to which sentences are added."""
        return Growing(self)


class Growing:
    """A document as it grows: the clusters so far and what the window needs, no more."""

    def __init__(self, resolver: CorefResolver) -> None:
        self._resolver = resolver
        self._reader = FeatureReader(resolver.words, resolver.said)
        self._clusters = Clusters()
        self._table: MentionTable | None = None
        self._stream = None if resolver.contexts is None else resolver.contexts.begin()
        self._tokens = 0
        size = resolver.model.side_size
        self._later, self._earlier = torch.zeros(0, size), torch.zeros(0, size)
        self.scores: Scores = {}

    def clusters(self) -> list[Cluster]:
        """The clusters so far, in the order of the text."""
        return sorted(sorted(cluster) for cluster in self._clusters.found)

    def add(self, sentences: Sequence[Sentence]) -> list[Link]:
        """Read the next sentences. Returns the links of their mentions to earlier ones.

        Offsets count from the first word ever added. Raises DataError where a sentence has no parse.
        """
        for sentence in sentences:
            if not sentence.parsed:
                words = " ".join(sentence.words[:6])
                raise DataError(f"{words!r}: a sentence without a parse; give the document to a parser first")
        new, tokens = self._reader.read(sentences)
        read = None if self._stream is None else self._stream.add(sentences)
        begin, self._tokens = self._tokens, self._tokens + len(tokens)
        if not len(new):
            return []
        states = None if read is None else torch.from_numpy(read[new.head - begin]).float()
        resolver = self._resolver
        table = new if self._table is None else MentionTable.joined(self._table, new)
        first = len(table) - len(new)
        with torch.inference_mode():
            mentions = resolver.model.encode(*tensors(new), torch.from_numpy(tokens).long(), states)
            self._later, earlier = resolver.model.sides(mentions, states)
            self._earlier = torch.cat((self._earlier, earlier))
            pairs = make_pairs(table, first, resolver.window)
            scores, alone = self._score(table, first, pairs, mentions)
        scores, alone = resolver.rules.corrected(table, first, pairs, scores, alone)
        alone += resolver.settings.bias
        if resolver.settings.blacklist:
            scores, alone = _without_speakers(table, first, pairs, scores, alone)
        if resolver.settings.store_scores:
            self._store(table, first, pairs, scores, alone)
        links = self._clusters.add(table, first, pairs, scores, alone)
        keep = max(0, len(table) - resolver.window.reach)
        self._table, self._earlier = table.rows(keep), self._earlier[keep:]
        return links

    def _score(
        self, table: MentionTable, first: int, pairs: Pairs, mentions: Tensor
    ) -> tuple[Floats, Floats]:
        model = self._resolver.model
        dense, cross = describe(table, pairs, self._resolver.unit[table.words[:, 0]])
        described = torch.from_numpy(summary(dense, pairs))
        alone = model.score_alone(mentions, described).numpy()
        if not len(cross):
            return np.zeros(0, np.float32), alone
        scores = model.score_pairs(
            self._later,
            self._earlier,
            torch.from_numpy(pairs.later - first),
            torch.from_numpy(pairs.earlier),
            torch.from_numpy(dense),
            torch.from_numpy(cross).long(),
        )
        return scores.numpy(), alone

    def _store(self, table: MentionTable, first: int, pairs: Pairs, scores: Floats, alone: Floats) -> None:
        spans = list(zip(table.start.tolist(), table.end.tolist(), strict=True))
        for i, score in enumerate(alone.tolist()):
            self.scores[spans[first + i]] = {None: score}
        for i, j, score in zip(pairs.later.tolist(), pairs.earlier.tolist(), scores.tolist(), strict=True):
            self.scores[spans[i]][spans[j]] = score


def stretches(sentences: Sequence[Sentence], words: int = _STRETCH) -> Iterator[list[Sentence]]:
    """Sentences in groups of about so many words."""
    return grouped(sentences, lambda sentence: len(sentence.words), words)


def _without_speakers(
    table: MentionTable, first: int, pairs: Pairs, scores: Floats, alone: Floats
) -> tuple[Floats, Floats]:
    """Scores with which no mention for a speaker or a listener is linked."""
    speaks = table.kind <= Kind.YOU
    scores = np.where(speaks[pairs.later] | speaks[pairs.earlier], -np.inf, scores).astype(np.float32)
    return scores, np.where(speaks[first:], np.inf, alone).astype(np.float32)


def _with_defined(
    model: CorefModel, words: WordIds, conv_dict: Mapping[str, Sequence[str]]
) -> tuple[CorefModel, WordIds, dict[str, Says]]:
    """The model with a row more for each new word: the mean of the vectors of the words that define it."""
    more = words.with_defined(conv_dict)
    rows, said = [], {}
    by_word = {normal(word): definition for word, definition in conv_dict.items()}
    for word, definition in by_word.items():
        known = words.known(definition)
        if not known:
            raise SettingsError(
                f"conv_dict: no word of the definition of {word!r} is known; define it by commoner words"
            )
        says = [nouns().get(normal(d)) or first_names().get(normal(d)) or Says() for d in definition]
        said[word] = Says(
            next((s.gender for s in says if s.gender), Says().gender),
            next((s.life for s in says if s.life), Says().life),
        )
        if word not in words:
            rows.append(model.vectors[known].mean(dim=0))
    if not rows:
        return model, words, said
    vectors = torch.cat((model.vectors, torch.stack(rows)))
    pieces = () if model.encoder is None else model.encoder.pieces
    bigger = CorefModel(replace(model.config, words=len(more)), vectors, pieces=pieces)
    bigger.load_state_dict({**model.state_dict(), "vectors": vectors})
    return bigger.eval(), more, said


__all__ = ["SPECIAL", "CorefResolver", "Growing", "ResolveSettings", "ResolvedDocument", "stretches"]
