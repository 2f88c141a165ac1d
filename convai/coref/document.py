"""A text as coreference sees it: sentences of words, who says them, their parse, and chains of mentions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

T = TypeVar("T")

Span = tuple[int, int]
"""A mention: offsets of tokens in the document, `[start, end)`."""
Cluster = list[Span]
"""The mentions of one person or thing, in the order of the text."""


@dataclass(slots=True)
class Sentence:
    """A sentence, or a turn of a conversation. The lists of the parse are empty until there is one.

    `heads`: for each word the index, in the sentence, of the word that it depends on; its own for the root.
    """

    words: list[str]
    speaker: str | None = None
    """Who says it; one a sentence."""
    tags: list[str] = field(default_factory=list)
    """Penn Treebank tags."""
    heads: list[int] = field(default_factory=list)
    deps: list[str] = field(default_factory=list)
    """Relations of Universal Dependencies (`nsubj`, `nmod:poss`, `root`)."""
    entities: list[str] = field(default_factory=list)
    """IOB2 (`B-PER`, `I-PER`), '' outside."""
    lemmas: list[str] = field(default_factory=list)
    columns: list[tuple[str, ...]] = field(default_factory=list)
    """A row a word of the file that it was read from, without the last column; writing keeps them."""

    @property
    def parsed(self) -> bool:
        """Whether tags and dependencies are there."""
        return len(self.tags) == len(self.heads) == len(self.deps) == len(self.words)


@dataclass(slots=True)
class Document:
    """Sentences and the chains in them; its sentences are not changed in number once it is made."""

    name: str
    part: int
    sentences: list[Sentence]
    clusters: list[Cluster] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    def words(self) -> list[str]:
        """All words, so that a span's offsets are theirs."""
        return [word for sentence in self.sentences for word in sentence.words]

    def __len__(self) -> int:
        """Number of tokens."""
        starts = self.starts()
        return starts[-1] + len(self.sentences[-1].words) if starts else 0

    def starts(self) -> list[int]:
        """The offset of each sentence's first token."""
        if len(self._starts) != len(self.sentences):
            self._starts = []
            offset = 0
            for sentence in self.sentences:
                self._starts.append(offset)
                offset += len(sentence.words)
        return self._starts

    def sentence_of(self, token: int) -> int:
        """The index of the sentence that holds the token. Raises IndexError for none."""
        if not 0 <= token < len(self):
            raise IndexError(f"token {token} of a document of {len(self)}")
        return bisect_right(self.starts(), token) - 1


def grouped(items: Iterable[T], words: Callable[[T], int], least: int) -> Iterator[list[T]]:
    """Items in groups of `least` words, or somewhat more; `words` counts those of one item."""
    group: list[T] = []
    size = 0
    for item in items:
        group.append(item)
        size += words(item)
        if size >= least:
            yield group
            group, size = [], 0
    if group:
        yield group


class Resolver(Protocol):
    """What finds the chains of a document."""

    def resolve(self, document: Document) -> list[Cluster]:
        """Chains of two or more mentions; spans and chains in the order of the text."""


def crossing_spans(clusters: list[Cluster]) -> list[tuple[Span, Span]]:
    """Pairs of spans that overlap and neither holds the other, the first of each in the order of the text."""
    found: list[tuple[Span, Span]] = []
    open_: list[Span] = []
    spans = sorted({span for cluster in clusters for span in cluster}, key=lambda span: (span[0], -span[1]))
    for span in spans:
        open_ = [before for before in open_ if before[1] > span[0]]
        found += [(before, span) for before in open_ if before[0] < span[0] and before[1] < span[1]]
        open_.append(span)
    return found
