"""Where `convai_coref` keeps what it found in a doc: by characters, so that it follows when tokens change.

Tokens are merged and split (`merge_entities`, `doc.retokenize`) and docs joined (`Doc.from_docs`); offsets of
tokens, which spaCy's span groups hold, then point at other words or nowhere. Characters stay. Each mention is
an entry of `doc.user_data` under the key that spaCy has for data of spans, `("._.", name, start, end)` in
characters: spaCy itself moves those when it joins docs or cuts them. They are plain numbers, so that docs can
be written, copied and sent to other processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import IDX, LENGTH
from spacy.tokens import Doc, Span, SpanGroup

MENTION: Final = "convai_coref"
SCORES: Final = "convai_coref_scores"
_SPAN_DATA: Final = "._."
"""What spaCy's keys for data of spans begin with."""

Place = tuple[int, int]
"""First character, and the one behind the last."""


class Tokens:
    """Where the tokens of a doc are now."""

    def __init__(self, doc: Doc) -> None:
        self._found = doc.to_array([IDX, LENGTH])
        self.print = self._found.tobytes()
        """Another one for other tokens."""

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        starts = self._found[:, 0].astype(np.int64)
        return starts, starts + self._found[:, 1].astype(np.int64)

    def span(self, place: Place) -> Place | None:
        """The tokens `[start, end)` that hold any of these characters; None for none."""
        starts, ends = self._places
        start = int(np.searchsorted(ends, place[0], side="right"))
        end = int(np.searchsorted(starts, place[1], side="left"))
        return (start, end) if start < end else None


@dataclass(frozen=True, slots=True)
class Kept:
    """A cluster as it is kept."""

    mentions: list[Place]
    """In the order of the text."""
    main: Place


def keep(doc: Doc, clusters: Iterable[Sequence[Place]], mains: Sequence[Place]) -> None:
    """Keep these clusters (in characters), each with its main mention, instead of what was kept before."""
    _forget(doc, MENTION)
    text = crc32(doc.text.encode())
    for number, (cluster, main) in enumerate(zip(clusters, mains, strict=True)):
        for i, (start, end) in enumerate(sorted(cluster, key=_outer_first)):
            # [text, cluster] names the cluster; i begins again where a doc was joined to a copy of itself
            doc.user_data[_SPAN_DATA, MENTION, start, end] = [text, number, i, (start, end) == main]


def kept(doc: Doc) -> list[Kept]:
    """The clusters, in the order of the text."""
    found: list[Kept] = []
    latest: dict[tuple[int, int], tuple[int, int]] = {}
    for (start, end), (text, number, i, main) in _entries(doc, MENTION):
        before, at = latest.get((text, number), (i, 0))
        if i <= before:
            at = len(found)
            found.append(Kept([], (start, end)))
        latest[text, number] = i, at
        found[at].mentions.append((start, end))
        if main:
            found[at] = Kept(found[at].mentions, (start, end))
    return found


def keep_scores(doc: Doc, scores: dict[Place, dict[Place, float]]) -> None:
    """Keep scores (mention → earlier mention, or itself → score), instead of those kept before."""
    _forget(doc, SCORES)
    for (start, end), row in scores.items():
        # counted back from the mention, so that they move with it
        doc.user_data[_SPAN_DATA, SCORES, start, end] = [
            [start - other[0], other[1] - other[0], score] for other, score in row.items()
        ]


def kept_scores(doc: Doc) -> Iterator[tuple[Place, list[tuple[Place, float]]]]:
    """The scores, in the order of the text."""
    for (start, end), row in _entries(doc, SCORES):
        yield (
            (start, end),
            [((start - back, start - back + length), score) for back, length, score in row],
        )


def _outer_first(place: Place) -> tuple[int, int]:
    return place[0], -place[1]


def _entries(doc: Doc, name: str) -> list[tuple[Place, Any]]:
    """Places and what is kept for them, in the order of the text; what a cut doc has lost is left out."""
    end = len(doc.text)
    found = [
        ((key[2], key[3]), value)
        for key, value in doc.user_data.items()
        if _is_entry(key, name) and 0 <= key[2] < key[3] <= end
    ]
    return sorted(found, key=lambda entry: _outer_first(entry[0]))


def _is_entry(key: object, name: str) -> bool:
    return isinstance(key, tuple) and len(key) == 4 and key[:2] == (_SPAN_DATA, name)


def _forget(doc: Doc, name: str) -> None:
    for key in [key for key in doc.user_data if _is_entry(key, name)]:
        del doc.user_data[key]


class FollowingGroup(SpanGroup):  # type: ignore[misc]  # spaCy is optional: unknown to the checks
    """A span group that follows its characters when the tokens of its doc are merged or split.

    spaCy's own would point at other words, or raise where it is read.
    """

    def __init__(self, doc: Doc, *, name: str, spans: Iterable[Span] = ()) -> None:
        spans = list(spans)
        super().__init__(doc, name=name, spans=spans)
        self._places: list[Place] = [(span.start_char, span.end_char) for span in spans]
        self._labels: list[str] = [span.label_ for span in spans]
        self._print = Tokens(doc).print

    def _follow(self) -> None:
        tokens = Tokens(self.doc)
        if tokens.print == self._print:
            return
        self._print = tokens.print
        for i, (place, label) in enumerate(zip(self._places, self._labels, strict=True)):
            if (span := tokens.span(place)) is not None:
                super().__setitem__(i, Span(self.doc, *span, label=label))

    def __iter__(self) -> Iterator[Span]:
        self._follow()
        return iter([super(FollowingGroup, self).__getitem__(i) for i in range(len(self))])

    def __getitem__(self, i: int) -> Span:
        self._follow()
        return super().__getitem__(i)

    def to_bytes(self) -> bytes:
        """As the tokens are now."""
        self._follow()
        return bytes(super().to_bytes())

    def copy(self, doc: Doc | None = None) -> SpanGroup:
        """A group of the same spans, in `doc` or its own."""
        other = doc or self.doc
        spans = [Span(other, span.start, span.end, label=span.label_) for span in self]
        return FollowingGroup(other, name=self.name, spans=spans)
