"""Coreference of a chat as it grows: who is meant by which words of which message.

A conversation that goes on is not read anew: its last message is parsed and compared with what is in the
window. One that changed (a message taken back, another branch) is, from parses that are remembered.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from convai.core.dialog import Turn
from convai.coref.document import Cluster, Document, Sentence
from convai.coref.parsing.load import load_parser
from convai.coref.parsing.parse import document_of_turns
from convai.coref.rewrite import main_mention, replacements, rewritten

if TYPE_CHECKING:
    from spacy.language import Language

_KEPT: Final = 512
"""Messages whose parse is remembered."""
Place = tuple[int, int]
"""Where a word stands in its message: start and end, in characters."""


class GrowingDocument(Protocol):
    """A document to which sentences are added; `convai.coref.resolver.Growing` is one."""

    def add(self, sentences: Sequence[Sentence]) -> object:
        """Read the next sentences."""

    def clusters(self) -> list[Cluster]:
        """The clusters so far."""


class Beginning(Protocol):
    """What begins such documents; `convai.coref.resolver.CorefResolver` is one."""

    def begin(self) -> GrowingDocument:
        """A document without a word."""


@dataclass(frozen=True, slots=True)
class Linked:
    """Words that mean one person or thing. `mentions` are (index of the turn, start, end) in characters."""

    main: str
    mentions: tuple[tuple[int, int, int], ...]


class ChatReader:
    """Reads conversations turn by turn. For one thread; it remembers the conversation that it read last."""

    def __init__(self, nlp: Language, resolver: Beginning) -> None:
        self._nlp = nlp
        self._resolver = resolver
        self._parsed: OrderedDict[Turn, tuple[list[Sentence], list[Place]]] = OrderedDict()
        self._begin()

    def _begin(self) -> None:
        self._read: list[Turn] = []
        self._growing = self._resolver.begin()
        self._places: list[tuple[int, int, int]] = []
        self._document = Document("chat", 0, [])
        self._resolved: list[Turn] = []

    def __call__(self, turns: Sequence[Turn]) -> list[Linked]:
        """The clusters of a conversation, oldest turn first, in the order of their first mentions."""
        known = len(self._read)
        if self._read != list(turns[:known]):
            self._begin()
            known = 0
        for turn in turns[known:]:
            self._add(turn)
        return [self._linked(cluster, turns) for cluster in self._growing.clusters()]

    def resolved(self, turns: Sequence[Turn]) -> list[Turn]:
        """The turns with their pronouns of the third person replaced by what they stand for.

        A turn is resolved as it was understood when it was said, and reads the same ever after.
        """
        known = len(self._resolved)
        if known < len(self._read) or self._read != list(turns[:known]):
            self._begin()
            known = 0
        for number, turn in enumerate(turns[known:], known):
            self._add(turn)
            self._resolved.append(self._rewritten(number, turn))
        return self._resolved[: len(turns)]

    def _add(self, turn: Turn) -> None:
        number = len(self._read)
        sentences, places = self.prepare(turn)
        self._growing.add(sentences)
        self._places += [(number, start, end) for start, end in places]
        self._document.sentences += sentences
        self._read.append(turn)

    def _rewritten(self, number: int, turn: Turn) -> Turn:
        first = bisect_left(self._places, (number, 0, 0))
        here = [cluster for cluster in self._growing.clusters() if cluster[-1][0] >= first]
        changes = [r for r in replacements(self._document, here) if r.span[0] >= first]
        moved = [replace(r, span=(r.span[0] - first, r.span[1] - first)) for r in changes]
        places = [(0, start, end) for _, start, end in self._places[first:]]
        return replace(turn, text=rewritten([turn.text], places, moved)[0])

    def prepare(self, turn: Turn) -> tuple[list[Sentence], list[Place]]:
        """The sentences of a turn and the places of their words, parsed now unless they are remembered."""
        found = self._parsed.get(turn)
        if found is None:
            document, places = document_of_turns(self._nlp, [(str(turn.speaker), turn.text)])
            found = document.sentences, [(start, end) for _, start, end in places]
            self._parsed[turn] = found
            if len(self._parsed) > _KEPT:
                self._parsed.popitem(last=False)
        self._parsed.move_to_end(turn)
        return found

    def _linked(self, cluster: Cluster, turns: Sequence[Turn]) -> Linked:
        mentions = tuple(self._characters(span) for span in cluster)
        turn, start, end = self._characters(main_mention(self._document, cluster))
        return Linked(turns[turn].text[start:end], mentions)

    def _characters(self, span: tuple[int, int]) -> tuple[int, int, int]:
        turn, start, _ = self._places[span[0]]
        return turn, start, self._places[span[1] - 1][2]


def load_chat_reader(model: str | None = None, parser: str | None = None) -> ChatReader:
    """A reader with a model folder and a spaCy pipeline; None for the embedded ones.

    Raises ConvaiError where spaCy or one of them is missing.
    """
    nlp = load_parser(parser)
    from convai.coref.checkpoint import load_resolver

    return ChatReader(nlp, load_resolver(model))
