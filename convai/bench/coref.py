"""`convai bench coref`: words a second after parsing, against pair by pair, and memory as documents grow.

Both sides start from parsed documents. The plain side (convai/bench/baselines/plain_coref.py) gets the
mentions and scores their pairs one by one; it is measured on a part of the documents, by turns with ours on
the same part.
"""

from __future__ import annotations

import itertools
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from convai.bench.baselines import plain_coref
from convai.core import resources
from convai.coref.document import Cluster, Document, Sentence
from convai.coref.features import CATEGORIES, OBJECTS, SUBJECTS, MentionTable
from convai.coref.lexicon import Kind
from convai.coref.linking import Clusters
from convai.coref.mentions import SpanCandidate, candidates
from convai.coref.pairs import MENTIONS, NUMBER_OF, RANKS, RELATIONS, SENTENCES, SUMMARY, TURNS, Pairs
from convai.coref.reading import FeatureReader
from convai.coref.resolver import CorefResolver
from convai.coref.rows import SentenceRows, nesting
from convai.coref.words import UNKNOWN

_NAMES: Final = tuple(field.name for field in fields(MentionTable))
_OFFSETS: Final = (0, *itertools.accumulate(list(CATEGORIES.values())[:-1]))
Scored = tuple[list[list[tuple[int, float]]], list[float]]
_ROUNDS: Final = 3
"""Fewest rounds, however slow the machine."""
_PLAIN_WORDS: Final = 600
"""Words that the plain side is measured on."""
GROWTH: Final = (20_000, 200_000)
"""Words of the documents whose memory is compared."""


class PlainSide:
    """The plain side for one model."""

    def __init__(self, resolver: CorefResolver) -> None:
        self.resolver = resolver
        model = resolver.model
        self.weights = {name: p.detach().numpy() for name, p in model.state_dict().items()}
        window = resolver.window
        self.window = (window.window, window.matching, window.reach)
        self.names = plain_coref.PlainWords(
            i=int(Kind.I), you=int(Kind.YOU), other_pronoun=int(Kind.OTHER_PRONOUN), name=int(Kind.NAME),
            kinds=len(Kind), relations=RELATIONS, subjects=SUBJECTS, objects=OBJECTS, sentences=SENTENCES,
            mentions=MENTIONS, turns=TURNS, ranks=RANKS,
        )  # fmt: skip
        self.summary = [NUMBER_OF[name] for name in SUMMARY]

    def read(self, document: Document) -> tuple[MentionTable, list[Callable[[], Any]]]:
        """The mentions of a document: as rows, and as functions that make each from its sentence."""
        reader = FeatureReader(self.resolver.words, self.resolver.said)
        makers: list[Callable[[], Any]] = []
        tokens: list[int] = []
        for sentence in document.sentences:
            opened = reader.open(sentence, len(tokens))
            tokens += opened.ids
            found = candidates(sentence)
            for c, inside, holds in zip(found, *nesting(found), strict=True):
                makers.append(partial(self._mention, opened, c, inside, holds))
        table, _ = FeatureReader(self.resolver.words, self.resolver.said).read(document.sentences)
        return table, makers

    def _mention(self, sentence: SentenceRows, c: SpanCandidate, inside: int, holds: int) -> Any:
        """One mention with its attributes, and what the network takes of it."""
        row: dict[str, Any] = dict(zip(_NAMES, sentence.row(c, inside, holds), strict=True))
        vectors = self._vectors(sentence.ids)
        row["inputs"] = self._vectors(row["words"]).reshape(-1)
        row["averages"] = np.concatenate((vectors[c.start : c.end].mean(axis=0), vectors.mean(axis=0)))
        row["category_rows"] = [value + at for value, at in zip(row["categories"], _OFFSETS, strict=True)]
        return plain_coref.Mention(row, self.resolver.unit[row["words"][0]])

    def _vectors(self, rows: Sequence[int]) -> np.ndarray[Any, Any]:
        learnt = [row if row < len(self.weights["learnt.weight"]) else UNKNOWN for row in rows]
        return np.concatenate(
            (self.weights["vectors"][list(rows)], self.weights["learnt.weight"][learnt]), axis=1
        )

    def score(self, table: MentionTable, makers: Sequence[Callable[[], Any]], kept: bool = False) -> Scored:
        """Antecedents with scores of each mention, and the score of having none.

        A mention is made from its sentence whenever it is needed; with `kept` once.
        """
        mentions = [make() for make in makers] if kept else []
        found: Scored = plain_coref.score_document(
            mentions.__getitem__ if kept else lambda i: makers[i](),
            heads_of(table), self.weights, self.names, self.window, self.summary,
        )  # fmt: skip
        return found

    def resolve(self, document: Document, kept: bool = False) -> list[Cluster]:
        """The clusters; finding the mentions, the rules and the step from scores to clusters are ours."""
        table, makers = self.read(document)
        scores, alone = self.score(table, makers, kept)
        pairs = Pairs(
            later=np.repeat(np.arange(len(table)), [len(own) for own in scores]),
            earlier=np.array([j for own in scores for j, _ in own], np.int64),
            offsets=np.cumsum([0, *(len(own) for own in scores)]),
        )
        clusters = Clusters()
        flat = np.array([score for own in scores for _, score in own], np.float32)
        corrected = self.resolver.rules.corrected(table, 0, pairs, flat, np.array(alone, np.float32))
        clusters.add(table, 0, pairs, *corrected)
        return sorted(sorted(cluster) for cluster in clusters.found)


def heads_of(table: MentionTable) -> list[tuple[int, int]]:
    """Kind and lemma of each mention: what tells how far back one looks."""
    return list(zip(table.kind.tolist(), table.lemma_key.tolist(), strict=True))


def measure(resolver: CorefResolver, documents: Sequence[Document], seconds: float = 20.0) -> dict[str, Any]:
    """Words a second of ours over all documents, and the ratio to the plain side over a part of them."""
    plain = PlainSide(resolver)
    part = _part(documents, _PLAIN_WORDS)
    same = all(plain.resolve(document) == resolver.resolve(document) for document in part)
    times = _medians(
        {
            "all": lambda: [resolver.resolve(document) for document in documents],
            "ours": lambda: [resolver.resolve(document) for document in part],
            "plain": lambda: [plain.resolve(document) for document in part],
            "kept": lambda: [plain.resolve(document, kept=True) for document in part],
        },
        seconds,
    )
    words, part_words = (sum(len(d) for d in some) for some in (documents, part))
    mentions = sum(len(plain.read(document)[0]) for document in part)
    return {
        "words": words,
        "documents": len(documents),
        "words_per_s": words / times["all"],
        "plain_words_per_s": part_words / times["plain"],
        "part_words": part_words,
        "part_mentions": mentions,
        "ratio": times["plain"] / times["ours"],
        "ratio_mentions_kept": times["kept"] / times["ours"],
        "same_clusters": same,
    }


def memory(resolver: CorefResolver, documents: Sequence[Document]) -> dict[str, Any]:
    """Peak bytes a word that resolving takes, for documents of the sizes of GROWTH."""
    found = {}
    for words in GROWTH:
        document = long_document(documents, words)
        tracemalloc.start()
        resolver.resolve(document)
        found[str(words)] = tracemalloc.get_traced_memory()[1] / len(document)
        tracemalloc.stop()
    return found


def long_document(documents: Sequence[Document], words: int) -> Document:
    """One document of at least so many words: the sentences of the given ones, again and again."""
    pool = [sentence for document in documents for sentence in document.sentences]
    sentences: list[Sentence] = []
    size = 0
    while size < words:
        sentence = pool[len(sentences) % len(pool)]
        sentences.append(replace(sentence))
        size += len(sentence.words)
    return Document("long", 0, sentences)


def _part(documents: Sequence[Document], words: int) -> list[Document]:
    """The first documents, of at least so many words together; a long one is cut."""
    found: list[Document] = []
    size = 0
    for document in documents:
        sentences = []
        for sentence in document.sentences:
            if size >= words:
                break
            sentences.append(sentence)
            size += len(sentence.words)
        if sentences:
            found.append(Document(document.name, document.part, sentences))
    return found


def _medians(contenders: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median seconds of each, all run in turn for about `seconds`."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    contenders["ours"]()
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times["ours"]) < _ROUNDS:
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def read_documents(paths: Sequence[Path], parser: str | None) -> list[Document]:
    """Parsed documents of column files; without any, of the sample dialogues that travel with convai."""
    from convai.coref.column_files import read_documents as read_columns
    from convai.coref.parsing.load import load_parser
    from convai.coref.parsing.parse import document_of_turns, parse_documents
    from convai.text.corpora.reading import read

    nlp = load_parser(parser)
    if paths:
        documents = [document for path in paths for document in read_columns(path)]
        parse_documents(nlp, documents)
        return documents
    sample = resources.data_dir() / "sample_dialogues.jsonl"
    return [
        document_of_turns(nlp, [(str(turn.speaker), turn.text) for turn in dialog.turns])[0]
        for dialog in read(sample)
    ]
