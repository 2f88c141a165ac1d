"""CoNLL-2012 column files: a word a line, an empty line after a sentence, chains as brackets at the end.

    #begin document (tc/chat); part 000
    tc/chat  0  0  My      ...  anna  *  (0)|(1
    tc/chat  0  1  sister  ...  anna  *  1)

Columns are separated by tabs or, in files without tabs, by blanks: document, part, number of the word, word,
part of speech, five more of which the tenth is the speaker, and last the chains ("-" for none). `.xz` and
`.gz` are read as they are. See Pradhan et al. 2012, CoNLL-2012 shared task, §4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from convai.core.errors import DataError
from convai.core.files import atomic_text
from convai.core.text_files import lines
from convai.coref.document import Cluster, Document, Sentence, Span, crossing_spans

FEWEST_COLUMNS: Final = 12
_WORD: Final = 3
_TAG: Final = 4
_SPEAKER: Final = 9
_NOBODY: Final = ("-", "")
_BEGIN: Final = re.compile(r"#begin document \((?P<name>.*)\);(?:\s*part\s*(?P<part>\d+))?\s*$")
_BRACKETS: Final = re.compile(r"\((?P<begin>[^()|]+)|\((?P<single>[^()|]+)\)|(?P<end>[^()|]+)\)")
_BETWEEN: Final = re.compile(r"\||(?<=\))(?!\|)(?=.)|(?<=[^(|])(?=\()")

Repeated = Literal["refuse", "drop", "ignore"]
"""What to do with a span that is marked twice: say where, keep it in one chain (the reference scorer), or
look at no chain at all."""
Crossing = Literal["keep", "refuse"]
"""Spans of two chains that cross: corpora have a few (OntoGUM 4), so that reading keeps them."""


@dataclass(slots=True)
class _Chains:
    """The brackets of one document on their way to clusters."""

    clusters: dict[str, Cluster] = field(default_factory=dict)
    opened: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    seen: dict[Span, str] = field(default_factory=dict)

    def read(self, cell: str, token: int, place: str, repeated: Repeated) -> None:
        """Take in the brackets of one word. Raises DataError beginning with `place`."""
        # the reference scorer does without the bars
        for part in cell.split("|") if repeated == "refuse" else _BETWEEN.split(cell):
            match = _BRACKETS.fullmatch(part)
            if match is None:
                raise DataError(
                    f"{place}: {part[:40]!r} marks no chain; write (3 or 3) or (3), with | between"
                )
            self.clusters.setdefault(match["begin"] or match["single"] or match["end"], [])
            if (chain := match["begin"]) is not None:
                self.opened.setdefault(chain, []).append((token, place))
                continue
            start = token
            chain = match["single"]
            if chain is None:
                chain = match["end"]
                if not self.opened.get(chain):
                    raise DataError(
                        f"{place}: {chain}) closes what was not opened; write ({chain} where it begins"
                    )
                start = self.opened[chain].pop()[0]
            self._add(chain, (start, token + 1), place, repeated)

    def _add(self, chain: str, span: Span, place: str, repeated: Repeated) -> None:
        if span in self.seen and repeated == "refuse":
            raise DataError(
                f"{place}: one span is marked twice (chains {self.seen[span]} and {chain}); leave one of them"
            )
        self.seen[span] = chain
        self.clusters[chain].append(span)

    def close(self, what: str) -> None:
        """Raises DataError where a bracket is still open at the end of the `what`."""
        for chain, places in self.opened.items():
            for _, place in places:
                raise DataError(
                    f"{place}: ({chain} is not closed in its {what}; write {chain}) where it ends"
                )

    def ordered(self) -> list[Cluster]:
        """Chains in the order of the text; a repeated span stays in the chain that began first."""
        kept: set[Span] = set()
        found = []
        for cluster in self.clusters.values():
            spans = sorted(set(cluster) - kept)
            kept.update(spans)
            if spans:
                found.append(spans)
        return sorted(found)


@dataclass(slots=True)
class _Open:
    """A document that is being read."""

    name: str
    part: int
    line: int
    chains: _Chains
    sentences: list[list[tuple[str, ...]]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """The line of each token."""
    in_sentence: bool = False


def read_conll(path: Path | str, *, crossing: Crossing = "keep", chains: bool = True) -> list[Document]:
    """The documents of a column file; a chain of one mention is kept, chains are in the order of the text.

    Without `chains` the last column is left unread, whatever is in it.

    Raises DataError, with file and line: fewer than 12 columns, or not as many as the line before, brackets
    that do not close in their sentence, a span marked twice, two speakers in a sentence, an empty document,
    with crossing="refuse" also spans that cross.
    """
    path = Path(path)
    found = []
    for document in _documents(path, FEWEST_COLUMNS, "refuse" if chains else "ignore"):
        place = f"{path}:{document.line}"
        if not document.sentences:
            raise DataError(f"{place}: the document has no words; leave it out")
        clusters = document.chains.ordered()
        if crossing == "refuse":
            _refuse_crossing(path, document, clusters)
        first = 0
        sentences = []
        for rows in document.sentences:
            where = f"{path}:{document.places[first]}"
            sentences.append(_sentence(rows, where))
            first += len(rows)
        found.append(Document(document.name, document.part, sentences, clusters))
    if not found:
        raise DataError(f"{path}: no document; each begins with a line #begin document (name); part 000")
    return found


@dataclass(frozen=True, slots=True)
class Chains:
    """What a scorer needs of a document: its clusters and its number of words."""

    clusters: list[Cluster]
    tokens: int


def read_chains(path: Path | str) -> dict[tuple[str, int], Chains]:
    """What a scorer needs of a file, whatever columns come before the last, by document and part.

    Repeated spans are dropped but for the first, mentions may go over the end of a sentence, and brackets
    may stand without | between them, as in the reference scorer. Raises DataError as `read_conll` does for
    brackets.
    """
    path = Path(path)
    found: dict[tuple[str, int], Chains] = {}
    for document in _documents(path, 1, "drop"):
        key = (document.name, document.part)
        if key in found:
            raise DataError(
                f"{path}:{document.line}: document {key[0]} part {key[1]} is there twice; leave one"
            )
        found[key] = Chains(document.chains.ordered(), len(document.places))
    if not found:
        raise DataError(f"{path}: no document; each begins with a line #begin document (name); part 000")
    return found


def sayable(document: Document) -> tuple[list[Cluster], int]:
    """The document's clusters without the mentions that brackets cannot say, and how many those are.

    That is one of two mentions of a chain that cross (which closing bracket is whose?), and a span that an
    earlier chain, or its own, has already. Raises DataError for a span outside the document.
    """
    seen: set[Span] = set()
    found = []
    for cluster in document.clusters:
        kept: Cluster = []
        for start, end in sorted(set(cluster), key=lambda span: (span[0], -span[1])):
            if not 0 <= start < end <= len(document):
                raise DataError(f"{document.name}: a mention at {start}:{end}, of {len(document)} words")
            if (start, end) not in seen and not any(a < start < b < end for a, b in kept):
                kept.append((start, end))
        seen.update(kept)
        if kept:
            found.append(sorted(kept))
    return found, sum(map(len, document.clusters)) - sum(map(len, found))


def write_conll(documents: list[Document], path: Path | str) -> int:
    """Write documents with their clusters in the last column; whole or not at all, `.xz` and `.gz` packed.

    The other columns are those that were read, or are made from words, tags and speakers. Returns how many
    mentions were left out, as brackets cannot say them (see `sayable`). Raises DataError for a span outside
    its document, and where the file cannot be written.
    """
    path = Path(path)
    left_out = 0
    with atomic_text(path) as out:
        for document in documents:
            clusters, less = sayable(document)
            left_out += less
            cells = _cells(clusters)
            out.write(f"#begin document ({document.name}); part {document.part:03}\n")
            token = 0
            for sentence in document.sentences:
                for row in sentence.columns or _made_up(document, sentence):
                    out.write("\t".join((*row, cells.get(token, "-"))) + "\n")
                    token += 1
                out.write("\n")
            out.write("#end document\n")
    return left_out


# -- reading ---------------------------------------------------------------------------------------


def _documents(path: Path, fewest: int, repeated: Repeated) -> Iterator[_Open]:
    """Documents as they end. With `repeated` "drop" brackets have to close in the document only."""
    strict = repeated != "drop"
    now: _Open | None = None
    for number, line in lines(path):
        place = f"{path}:{number}"
        if line.startswith("#begin document"):
            if now is not None:
                raise DataError(f"{place}: a document begins in another; write #end document before it")
            now = _begin(line, place, number)
        elif line.startswith("#end document"):
            if now is None:
                raise DataError(f"{place}: a document ends that did not begin; write #begin document")
            now.chains.close("sentence" if strict else "document")
            yield now
            now = None
        elif line.startswith("#"):
            continue
        elif now is None:
            if line.strip():
                raise DataError(f"{place}: words before a document; write #begin document (name); part 000")
        elif not line.strip():
            if strict:
                now.chains.close("sentence")
            now.in_sentence = False
        else:
            _row(now, line, place, number, fewest, repeated)
    if now is not None:
        raise DataError(f"{path}:{now.line}: the document does not end; write #end document after it")


def _begin(line: str, place: str, number: int) -> _Open:
    match = _BEGIN.match(line)
    if match is None:
        raise DataError(f"{place}: {line[:60]!r}; write #begin document (name); part 000")
    return _Open(match["name"], int(match["part"] or 0), number, _Chains())


def _row(now: _Open, line: str, place: str, number: int, fewest: int, repeated: Repeated) -> None:
    cells = [cell.strip() for cell in line.rstrip().split("\t")] if "\t" in line else line.split()
    if len(cells) < fewest:
        raise DataError(
            f"{place}: {len(cells)} columns; the format has {fewest} or more, the last the chains"
        )
    if fewest > 1 and now.in_sentence and len(cells) != len(now.sentences[-1][0]) + 1:
        before = len(now.sentences[-1][0]) + 1
        raise DataError(f"{place}: {len(cells)} columns, but {before} in the line before; make them as many")
    token = len(now.places)
    if cells[-1] != "-" and repeated != "ignore":
        now.chains.read(cells[-1], token, place, repeated)
    now.places.append(number)
    if not now.in_sentence:
        now.sentences.append([])
        now.in_sentence = True
    now.sentences[-1].append(tuple(cells[:-1]))


def _sentence(rows: list[tuple[str, ...]], place: str) -> Sentence:
    if any(not row[_WORD] for row in rows):
        raise DataError(f"{place}: a line of this sentence has no word (fourth column); write one")
    speakers = {row[_SPEAKER] for row in rows} - set(_NOBODY)
    if len(speakers) > 1:
        named = " and ".join(sorted(speakers)[:2])
        raise DataError(f"{place}: two speakers in one sentence ({named}); put an empty line between them")
    tags = [row[_TAG] for row in rows]
    return Sentence(
        words=[row[_WORD] for row in rows],
        speaker=next(iter(speakers), None),
        tags=[] if any(tag in _NOBODY for tag in tags) else tags,
        columns=rows,
    )


def _refuse_crossing(path: Path, document: _Open, clusters: list[Cluster]) -> None:
    for one, other in crossing_spans(clusters):
        names = document.chains.seen
        raise DataError(
            f"{path}:{document.places[other[0]]}: mentions of chains {names[one]} and {names[other]} cross "
            f"(the first begins in line {document.places[one[0]]}); end one before or within the other"
        )


# -- writing ---------------------------------------------------------------------------------------


def _cells(clusters: list[Cluster]) -> dict[int, str]:
    """Token → last column. Outer spans open first and close last, so that brackets nest where spans do."""
    begins: dict[int, list[tuple[int, str]]] = {}
    ends: dict[int, list[tuple[int, str]]] = {}
    singles: dict[int, list[str]] = {}
    for chain, cluster in enumerate(clusters):
        for start, end in cluster:
            if end == start + 1:
                singles.setdefault(start, []).append(f"({chain})")
            else:
                begins.setdefault(start, []).append((-end, f"({chain}"))
                ends.setdefault(end - 1, []).append((-start, f"{chain})"))
    return {
        token: "|".join(
            [mark for _, mark in sorted(begins.get(token, []))]
            + singles.get(token, [])
            + [mark for _, mark in sorted(ends.get(token, []))]
        )
        for token in begins.keys() | ends.keys() | singles.keys()
    }


def _made_up(document: Document, sentence: Sentence) -> list[tuple[str, ...]]:
    speaker = sentence.speaker or "-"
    tags = sentence.tags or ["-"] * len(sentence.words)
    for word in (document.name, speaker, *sentence.words):
        if not word or word.split() != [word]:
            raise DataError(
                f"{document.name}: {word[:40]!r} cannot be written into a column; leave out blanks"
            )
    return [
        (document.name, str(document.part), str(i), word, tag, "-", "-", "-", "-", speaker, "*")
        for i, (word, tag) in enumerate(zip(sentence.words, tags, strict=True))
    ]
