"""A resolver without a model, for tests of what is built on one."""

from __future__ import annotations

from collections.abc import Sequence

from convai.coref.document import Cluster, Document, Sentence, Span
from convai.coref.resolver import ResolvedDocument

ANNA = frozenset(("anna", "she", "her"))
PARIS = frozenset(("paris",))


class GrowingStandIn:
    def __init__(self) -> None:
        self.sentences: list[Sentence] = []
        self.added = 0

    def add(self, sentences: Sequence[Sentence]) -> None:
        assert all(sentence.parsed for sentence in sentences)
        self.sentences += sentences
        self.added += len(sentences)

    def clusters(self) -> list[Cluster]:
        found: dict[str, Cluster] = {}
        at = 0
        for sentence in self.sentences:
            for word in sentence.words:
                lower = word.lower()
                for name, meant in (("anna", ANNA), ("paris", PARIS)):
                    if lower in meant:
                        found.setdefault(name, []).append((at, at + 1))
                if lower in ("i", "my"):
                    found.setdefault(f"speaker {sentence.speaker}", []).append((at, at + 1))
                at += 1
        return sorted(cluster for cluster in found.values() if len(cluster) > 1)


class StandIn:
    source = None

    def __init__(self) -> None:
        self.begun: list[GrowingStandIn] = []

    def begin(self) -> GrowingStandIn:
        self.begun.append(GrowingStandIn())
        return self.begun[-1]

    def read(self, document: Document) -> ResolvedDocument:
        growing = self.begin()
        growing.add(document.sentences)
        clusters = growing.clusters()
        scores: dict[Span, dict[Span | None, float]] = {}
        for first, *others in clusters:
            scores[first] = {None: 1.0}
            scores |= {other: {None: -1.0, first: 2.0} for other in others}
        return ResolvedDocument(clusters, scores)

    def resolve(self, document: Document) -> list[Cluster]:
        return self.read(document).clusters
