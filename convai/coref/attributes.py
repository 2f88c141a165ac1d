"""What `convai_coref` leaves in a doc, and the attributes under `doc._`, `span._` and `token._` made of it.

Plain numbers in `doc.user_data`, so that docs can be written, copied and sent to other processes; clusters
are made of them when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spacy.tokens import Doc, Span, SpanGroup, Token

from convai.coref.clusters import only_pronouns, replaced

if TYPE_CHECKING:
    from convai.coref.document import Cluster
    from convai.coref.document import Span as Offsets
    from convai.coref.resolver import Scores

NAME: Final = "convai_coref"
SPEAKERS: Final = "speakers"
"""The span group that says who speaks: `doc.spans["speakers"]`, the label of a span is the speaker."""
MENTIONS: Final = "coref"
"""The span group with every mention, for displaCy; the label is the cluster's main mention."""
_INDEX: Final = f"{NAME}_index"
"""Key in `doc.user_hooks`, which is not written, of the clusters of each token."""
_MOST_LABEL: Final = 60


@dataclass(frozen=True)
class CorefCluster:
    """The mentions of one person or thing in a doc."""

    i: int
    """Its number in the doc."""
    main: Span
    """The mention that names it best."""
    mentions: list[Span]
    """All of them, in the order of the text."""

    def __iter__(self) -> Iterator[Span]:
        return iter(self.mentions)

    def __len__(self) -> int:
        return len(self.mentions)

    def __getitem__(self, i: int) -> Span:
        return self.mentions[i]

    def __str__(self) -> str:
        return f"{self.main}: {[str(span) for span in self.mentions]}"


def store(doc: Doc, tokens: list[int], clusters: list[Cluster], mains: list[Offsets], scores: Scores) -> None:
    """Keep what was found: spans of words, of which word i is token `tokens[i]` of `doc`."""

    def place(span: Offsets) -> list[int]:
        return [tokens[span[0]], tokens[span[1] - 1] + 1]

    places = [[place(span) for span in cluster] for cluster in clusters]
    names = [place(span) for span in mains]
    # [mention, [[earlier mention, or itself for none, score], ...]], ...
    rows = [
        [place(span), [[place(span if other is None else other), score] for other, score in row.items()]]
        for span, row in scores.items()
    ]
    doc.user_data[NAME] = {"clusters": places, "mains": names, "scores": rows}
    spans = []
    for (start, end), cluster in zip(names, places, strict=True):
        label = " ".join(doc[start:end].text.split())[:_MOST_LABEL]
        spans += [Span(doc, a, b, label=label) for a, b in cluster]
    spans.sort(key=lambda span: (span.start, -span.end))
    doc.spans[MENTIONS] = SpanGroup(doc, name=MENTIONS, spans=spans)


def speakers_of(doc: Doc) -> list[str | None] | None:
    """The speaker of each token, by the span group `speakers`; None where there is none."""
    if SPEAKERS not in doc.spans:
        return None
    found: list[str | None] = [None] * len(doc)
    for span in doc.spans[SPEAKERS]:
        found[span.start : span.end] = [span.label_ or None] * len(span)
    return found


def _found(doc: Doc) -> dict[str, Any]:
    found: dict[str, Any] = doc.user_data.get(NAME) or {"clusters": [], "mains": [], "scores": []}
    return found


def _clusters(doc: Doc) -> list[CorefCluster]:
    found = _found(doc)
    return [
        CorefCluster(i, doc[main[0] : main[1]], [doc[start:end] for start, end in cluster])
        for i, (main, cluster) in enumerate(zip(found["mains"], found["clusters"], strict=True))
    ]


def _resolved(doc: Doc) -> str:
    found = _found(doc)
    # a cluster of pronouns alone has nothing better to say
    named = [i for i, (a, b) in enumerate(found["mains"]) if not only_pronouns([t.tag_ for t in doc[a:b]])]
    clusters: list[Cluster] = [[(start, end) for start, end in found["clusters"][i]] for i in named]
    mains = [(found["mains"][i][0], found["mains"][i][1]) for i in named]
    return replaced([t.text for t in doc], [t.whitespace_ for t in doc], clusters, mains)


def _scores(doc: Doc) -> dict[Span, dict[Span, float]]:
    return {
        doc[a:b]: {doc[start:end]: score for (start, end), score in row}
        for (a, b), row in _found(doc)["scores"]
    }


def _index(doc: Doc) -> tuple[dict[tuple[int, int], int], dict[int, list[int]]]:
    """Span → cluster, and token → clusters; made once a doc and result."""
    clusters = _found(doc)["clusters"]
    known = doc.user_hooks.get(_INDEX)
    if known is not None and known[0] is clusters:
        return known[1], known[2]
    spans: dict[tuple[int, int], int] = {}
    tokens: dict[int, list[int]] = {}
    for i, cluster in enumerate(clusters):
        for start, end in cluster:
            spans[start, end] = i
            for token in range(start, end):
                if not tokens.setdefault(token, []) or tokens[token][-1] != i:
                    tokens[token].append(i)
    doc.user_hooks[_INDEX] = (clusters, spans, tokens)
    return spans, tokens


def _cluster_at(doc: Doc, i: int) -> CorefCluster:
    found = _found(doc)
    start, end = found["mains"][i]
    return CorefCluster(i, doc[start:end], [doc[a:b] for a, b in found["clusters"][i]])


def _cluster_of_span(span: Span) -> CorefCluster | None:
    i = _index(span.doc)[0].get((span.start, span.end))
    return None if i is None else _cluster_at(span.doc, i)


def _clusters_of_token(token: Token) -> list[CorefCluster]:
    return [_cluster_at(token.doc, i) for i in _index(token.doc)[1].get(token.i, [])]


def register_extensions() -> None:
    """Declare the attributes under `doc._`, `span._` and `token._`; again does no harm."""
    getters: dict[Any, dict[str, Callable[[Any], Any]]] = {
        Doc: {
            "has_coref": lambda doc: bool(_found(doc)["clusters"]),
            "coref_clusters": _clusters,
            "coref_resolved": _resolved,
            "coref_scores": _scores,
        },
        Span: {
            "is_coref": lambda span: (span.start, span.end) in _index(span.doc)[0],
            "coref_cluster": _cluster_of_span,
        },
        Token: {
            "in_coref": lambda token: token.i in _index(token.doc)[1],
            "coref_clusters": _clusters_of_token,
        },
    }
    for kind, named in getters.items():
        for name, getter in named.items():
            kind.set_extension(name, getter=getter, force=True)
