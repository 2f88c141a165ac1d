"""CoNLL-U files with the entities of CorefUD: ten columns, and who is meant by what in the last of them.

    # newdoc id = d1
    # global.Entity = eid-etype-head-other
    # speaker = anna
    1  My      ...  Entity=(e1-person-1)(e2-person-2
    2  sister  ...  Entity=e2)

A mention opens with what the header names, the entity's id among it, and closes with the id alone. Words are
syntactic words ("do" and "n't"). Source: CorefUD 1.2, https://ufal.mff.cuni.cz/corefud.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from convai.core.errors import DataError
from convai.core.files import atomic_text
from convai.core.text_files import bare_name, lines
from convai.coref.conll import sayable
from convai.coref.document import Cluster, Document, Sentence, Span

SUFFIX: Final = ".conllu"
HEADER: Final = "# global.Entity = eid-etype-head-other"
_COLUMNS: Final = 10
_MISC: Final = 9
_IDS: Final = ("eid", "GRP")
"""What headers call the entity's id."""
_OURS: Final = ("Entity", "Bridge", "SplitAnte")
"""Entries of the last column that speak of entities."""
_PART: Final = re.compile(r"\[\d+/\d+\]$")
_MARK: Final = re.compile(r"\((?P<opens>[^()]+)(?P<single>\))?|(?P<closes>[^()]+)\)")
_NUMBER: Final = re.compile(r"(?P<word>\d+)(?P<more>[-.]\d+)?")
_NEWDOC: Final = re.compile(r"# *newdoc(?: +id *= *(?P<id>.*))?$")


@dataclass(slots=True)
class _Open:
    """A document that is being read."""

    name: str
    id_at: int = 0
    """The place of the entity's id in what opens a mention."""
    words: list[list[str]] = field(default_factory=list)
    speakers: list[str | None] = field(default_factory=list)
    entities: dict[str, list[Span]] = field(default_factory=dict)
    opened: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    in_sentence: bool = False
    speaker: str | None = None
    tokens: int = 0

    def row(self, cells: list[str], place: str) -> None:
        """Take in a line with ten cells."""
        match = _NUMBER.fullmatch(cells[0])
        if match is None:
            raise DataError(f"{place}: word number {cells[0][:20]!r}; write 1, 2 and so on")
        begin = self.tokens
        if not self.in_sentence:
            self.words.append([])
            self.speakers.append(self.speaker)
            self.in_sentence = True
        if match["more"] is None:
            # a column file has no blanks within words
            self.words[-1].append("_".join(cells[1].split()) or "_")
            self.tokens += 1
        if not (match["more"] or "").startswith("-"):  # an empty node may open and close mentions, too
            self._mentions(_entity(cells[_MISC]), begin, place)

    def _mentions(self, marks: str, begin: int, place: str) -> None:
        at = 0
        while at < len(marks):
            match = _MARK.match(marks, at)
            if match is None:
                raise DataError(f"{place}: {marks[at:][:40]!r} marks no entity; write (e1-person-1 and e1)")
            at = match.end()
            if match["opens"] is not None:
                fields = match["opens"].split("-")
                name = fields[self.id_at] if self.id_at < len(fields) else fields[0]
                self.opened.setdefault(name, []).append((begin, place))
                if match["single"]:
                    self._close(name, place)
            else:
                self._close(match["closes"], place)

    def _close(self, name: str, place: str) -> None:
        if not self.opened.get(name):
            raise DataError(f"{place}: {name}) closes what was not opened; write ({name} where it begins")
        start, _ = self.opened[name].pop()
        entity = self.entities.setdefault(_PART.sub("", name), [])
        if start < self.tokens:  # what stands on empty nodes alone has no words
            entity.append((start, self.tokens))

    def clusters(self) -> list[Cluster]:
        """The entities in the order of the text; a span that is marked twice stays in the first."""
        for name, places in self.opened.items():
            for _, place in places:
                raise DataError(
                    f"{place}: ({name} is not closed in its document; write {name}) where it ends"
                )
        kept: set[Span] = set()
        found = []
        for entity in self.entities.values():
            spans = sorted(set(entity) - kept)
            kept.update(spans)
            if spans:
                found.append(spans)
        return sorted(found)


def is_conllu(path: Path) -> bool:
    """Whether a file has the ten columns of CoNLL-U, or, where it has no words, its name ends so."""
    for _, line in lines(path):
        if line.startswith("#begin document"):
            return False
        if line.strip() and not line.startswith("#"):
            cells = line.split("\t")
            return len(cells) == _COLUMNS and _NUMBER.fullmatch(cells[0]) is not None
    return named_conllu(path)


def named_conllu(path: Path) -> bool:
    """Whether a file's name says that it is CoNLL-U, packed or not."""
    return Path(bare_name(path)).suffix.lower() == SUFFIX


def read_corefud(path: Path | str, *, chains: bool = True) -> list[Document]:
    """The documents of a CoNLL-U file; entities in the order of the text, those of one mention too.

    Of a mention in several parts each part is a mention. Without `chains` entities are left unread. Raises
    DataError, with file and line, for other rows, and for mentions that do not close in their document.
    """
    path = Path(path)
    found = []
    for document in _documents(path, chains):
        sentences = [
            Sentence(words, speaker)
            for words, speaker in zip(document.words, document.speakers, strict=True)
            if words
        ]
        if sentences:
            found.append(Document(document.name, 0, sentences, document.clusters()))
    if not found:
        raise DataError(f"{path}: no sentences; give a CoNLL-U file")
    return found


def _documents(path: Path, chains: bool) -> Iterator[_Open]:
    now = _Open(Path(bare_name(path)).stem)
    for number, line in lines(path):
        place = f"{path}:{number}"
        if (match := _NEWDOC.match(line)) is not None:
            yield now
            now = _Open((match["id"] or "").strip() or f"{now.name}'", now.id_at)
        elif line.startswith("#"):
            key, _, value = line[1:].partition("=")
            if key.strip() == "global.Entity":
                names = value.strip().split("-")
                now.id_at = next((names.index(name) for name in _IDS if name in names), 0)
            elif key.strip() == "speaker":
                now.speaker = "_".join(value.split()) or None
        elif not line.strip():
            now.in_sentence, now.speaker = False, None
        else:
            cells = line.split("\t")
            if len(cells) != _COLUMNS:
                raise DataError(f"{place}: {len(cells)} columns; CoNLL-U has {_COLUMNS}, separated by tabs")
            now.row(cells if chains else [*cells[:_MISC], "_"], place)
    yield now


def _entity(misc: str) -> str:
    return next((e.partition("=")[2] for e in misc.split("|") if e.startswith("Entity=")), "")


# -- writing ---------------------------------------------------------------------------------------


def write_corefud(documents: Sequence[Document], path: Path | str, source: Path | None = None) -> int:
    """Write documents with their clusters as entities; whole or not at all, `.xz` and `.gz` packed.

    `source`: the CoNLL-U file that they were read from, all lines of which are kept but for what it says of
    entities. Without it rows are made of words, tags and the parse. Returns how many mentions were left out,
    since brackets cannot say them (see `conll.sayable`). Raises DataError as `conll.write_conll` does.
    """
    number = left_out = 0
    marks: list[dict[int, str]] = []
    for document in documents:
        clusters, less = sayable(document)
        left_out += less
        marks.append(_marks(document, clusters, number))
        number += len(clusters)
    with atomic_text(Path(path)) as out:
        rows = _made_up(documents, marks) if source is None else _kept(source, marks)
        out.writelines(f"{row}\n" for row in rows)
    return left_out


def _marks(document: Document, clusters: Sequence[Cluster], first: int) -> dict[int, str]:
    """Token → what `Entity=` says: closing brackets, innermost first, then opening ones, outermost first."""
    opens: dict[int, list[tuple[int, str]]] = {}
    closes: dict[int, list[tuple[int, str]]] = {}
    for number, cluster in enumerate(clusters, first + 1):
        for start, end in cluster:
            mark = f"(e{number}--{_head(document, (start, end))}"
            single = end == start + 1
            opens.setdefault(start, []).append((-end, f"{mark})" if single else mark))
            if not single:
                closes.setdefault(end - 1, []).append((-start, f"e{number})"))
    return {
        token: "".join(mark for _, mark in sorted(closes.get(token, [])) + sorted(opens.get(token, [])))
        for token in opens.keys() | closes.keys()
    }


def _head(document: Document, span: Span) -> int:
    """The number, within the mention, of the word that the others depend on; 1 without a parse."""
    start = document.starts()[document.sentence_of(span[0])]
    heads = document.sentences[document.sentence_of(span[0])].heads
    for token in range(span[0], span[1]):
        if not 0 <= token - start < len(heads):
            break
        head = heads[token - start] + start
        if head == token or not span[0] <= head < span[1]:
            return token - span[0] + 1
    return 1


def _kept(source: Path, marks: Sequence[dict[int, str]]) -> Iterator[str]:
    """The lines of `source`, with other entities; documents without words have none in `marks`."""
    waiting = iter(marks)
    now: dict[int, str] = {}
    token = 0
    for number, line in lines(source):
        begins = _NEWDOC.match(line) is not None
        if number == 1 and not begins:
            yield HEADER
        if re.match(r"# *global\.Entity\b", line):
            continue
        if begins:
            token = 0
        if not line.strip() or line.startswith("#"):
            yield line
            if begins:
                yield HEADER
            continue
        cells = line.split("\t")
        match = _NUMBER.fullmatch(cells[0])
        word = match is not None and match["more"] is None
        if word and token == 0:
            now = next(waiting)
        entries = [e for e in cells[_MISC].split("|") if e.partition("=")[0] not in _OURS and e != "_"]
        if word and token in now:
            entries.append(f"Entity={now[token]}")
        token += word
        yield "\t".join([*cells[:_MISC], "|".join(sorted(entries)) or "_"])


def _made_up(documents: Sequence[Document], marks: Sequence[dict[int, str]]) -> Iterator[str]:
    for document, mark in zip(documents, marks, strict=True):
        yield f"# newdoc id = {document.name}" + (f"_{document.part}" if document.part else "")
        yield HEADER
        for number, (sentence, first) in enumerate(
            zip(document.sentences, document.starts(), strict=True), 1
        ):
            yield f"# sent_id = {document.name}-{document.part}-{number}"
            if sentence.speaker:
                yield f"# speaker = {sentence.speaker}"
            yield f"# text = {' '.join(sentence.words)}"
            for i, word in enumerate(sentence.words):
                head = str((sentence.heads[i] + 1) * (sentence.heads[i] != i)) if sentence.heads else "_"
                deps = sentence.deps[i] if sentence.deps else "_"
                lemma = sentence.lemmas[i] if sentence.lemmas else "_"
                tag = sentence.tags[i] if sentence.tags else "_"
                misc = f"Entity={mark[first + i]}" if first + i in mark else "_"
                yield "\t".join([str(i + 1), word, lemma or "_", "_", tag, "_", head, deps, "_", misc])
            yield ""
