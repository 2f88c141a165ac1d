"""What `convai_coref` leaves in a doc, and the attributes under `doc._`, `span._` and `token._` made of it.

What is kept is in `spacy_storage`; clusters are made of it when they are asked for, of the tokens as they are
then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from spacy.tokens import Doc, Span, Token

from convai.coref.clusters import only_pronouns, replaced
from convai.coref.spacy_storage import FollowingGroup, Place, Tokens, keep, keep_scores, kept, kept_scores

if TYPE_CHECKING:
    from convai.coref.document import Cluster
    from convai.coref.document import Span as Offsets
    from convai.coref.resolver import Scores

NAME: Final = "convai_coref"
SPEAKERS: Final = "speakers"
"""The span group that says who speaks: `doc.spans["speakers"]`, the label of a span is the speaker."""
MENTIONS: Final = "coref"
"""The span group with every mention, for displaCy; the label is the cluster's main mention."""
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

    def span(words: Offsets) -> Span:
        return doc[tokens[words[0]] : tokens[words[1] - 1] + 1]

    def place(words: Offsets) -> Place:
        return span(words).start_char, span(words).end_char

    _READ.pop(doc, None)
    keep(doc, [[place(words) for words in cluster] for cluster in clusters], [place(main) for main in mains])
    keep_scores(
        doc,
        {
            place(words): {place(words if other is None else other): score for other, score in row.items()}
            for words, row in scores.items()
        },
    )
    spans = []
    for main, cluster in zip(mains, clusters, strict=True):
        label = " ".join(span(main).text.split())[:_MOST_LABEL]
        spans += [Span(doc, span(words).start, span(words).end, label=label) for words in cluster]
    spans.sort(key=lambda span: (span.start, -span.end))
    doc.spans[MENTIONS] = FollowingGroup(doc, name=MENTIONS, spans=spans)


def speakers_of(doc: Doc) -> list[str | None] | None:
    """The speaker of each token, by the span group `speakers`; None where there is none."""
    if SPEAKERS not in doc.spans:
        return None
    found: list[str | None] = [None] * len(doc)
    for span in doc.spans[SPEAKERS]:
        found[span.start : span.end] = [span.label_ or None] * len(span)
    return found


@dataclass(frozen=True, slots=True)
class _Found:
    """The clusters as the tokens of a doc are now."""

    key: object
    """Another one for other clusters or other tokens."""
    clusters: list[Cluster]
    mains: list[Offsets]
    of_span: dict[Offsets, int]
    """Span → cluster."""
    of_token: dict[int, list[int]]
    """Token → clusters."""


_READ: Final[WeakKeyDictionary[Doc, _Found]] = WeakKeyDictionary()
"""What was asked for last; beside the docs, because spaCy warns of whatever in them it cannot write."""


def _found(doc: Doc) -> _Found:
    tokens = Tokens(doc)
    key = (tokens.print, len(doc.user_data))
    known = _READ.get(doc)
    if known is None or known.key != key:
        known = _READ[doc] = _read(doc, tokens, key)
    return known


def _read(doc: Doc, tokens: Tokens, key: object) -> _Found:
    clusters = kept(doc)
    # tokens that were merged may be mentions of several clusters: they are the longest one's ("New York City"
    # of the city, not of "New York")
    longest: dict[Offsets, tuple[int, int]] = {}
    for i, cluster in enumerate(clusters):
        for start, end in cluster.mentions:
            if (span := tokens.span((start, end))) is not None:
                longest[span] = max(longest.get(span, (0, 0)), (end - start, -i))
    found = _Found(key, [], [], {}, {})
    for i, cluster in enumerate(clusters):
        spans = list(dict.fromkeys(tokens.span(place) for place in cluster.mentions))
        own = [span for span in spans if span is not None and longest[span][1] == -i]
        if len(own) < 2:
            continue  # its mentions were merged into one, or into another's
        number = len(found.clusters)
        main = tokens.span(cluster.main)
        found.clusters.append(own)
        found.mains.append(main if main is not None and main in own else own[0])
        for span in own:
            found.of_span[span] = number
            for token in range(*span):
                of = found.of_token.setdefault(token, [])
                if not of or of[-1] != number:
                    of.append(number)
    return found


def _clusters(doc: Doc) -> list[CorefCluster]:
    return [_cluster_at(doc, i) for i in range(len(_found(doc).clusters))]


def _resolved(doc: Doc) -> str:
    found = _found(doc)
    # a cluster of pronouns alone has nothing better to say
    named = [i for i, (a, b) in enumerate(found.mains) if not only_pronouns([t.tag_ for t in doc[a:b]])]
    clusters = [found.clusters[i] for i in named]
    mains = [found.mains[i] for i in named]
    words, blanks = [t.text for t in doc], [t.whitespace_ for t in doc]
    return replaced(words, blanks, [t.tag_ for t in doc], clusters, mains)


def _scores(doc: Doc) -> dict[Span, dict[Span, float]]:
    tokens = Tokens(doc)

    def span(place: Place) -> Span | None:
        found = tokens.span(place)
        return None if found is None else doc[found[0] : found[1]]

    return {
        mention: {other: score for place, score in row if (other := span(place)) is not None}
        for place, row in kept_scores(doc)
        if (mention := span(place)) is not None
    }


def _cluster_at(doc: Doc, i: int) -> CorefCluster:
    found = _found(doc)
    start, end = found.mains[i]
    return CorefCluster(i, doc[start:end], [doc[a:b] for a, b in found.clusters[i]])


def _cluster_of_span(span: Span) -> CorefCluster | None:
    i = _found(span.doc).of_span.get((span.start, span.end))
    return None if i is None else _cluster_at(span.doc, i)


def _clusters_of_token(token: Token) -> list[CorefCluster]:
    return [_cluster_at(token.doc, i) for i in _found(token.doc).of_token.get(token.i, [])]


def register_extensions() -> None:
    """Declare the attributes under `doc._`, `span._` and `token._`; again does no harm."""
    getters: dict[Any, dict[str, Callable[[Any], Any]]] = {
        Doc: {
            "has_coref": lambda doc: bool(_found(doc).clusters),
            "coref_clusters": _clusters,
            "coref_resolved": _resolved,
            "coref_scores": _scores,
        },
        Span: {
            "is_coref": lambda span: (span.start, span.end) in _found(span.doc).of_span,
            "coref_cluster": _cluster_of_span,
        },
        Token: {
            "in_coref": lambda token: token.i in _found(token.doc).of_token,
            "coref_clusters": _clusters_of_token,
        },
    }
    for kind, named in getters.items():
        for name, getter in named.items():
            kind.set_extension(name, getter=getter, force=True)
