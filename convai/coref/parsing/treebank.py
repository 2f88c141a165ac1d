"""Treebanks (CoNLL-U) and named entities (a token and an IOB2 tag a line), read into annotated sentences."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from convai.core.errors import DataError
from convai.core.text_files import lines

_COLUMNS: Final = 10
NON_COMMERCIAL: Final = ("essay", "fiction", "letter", "podcast", "whow")
"""Genres of GUM whose texts are CC BY-NC-SA: left out, so that the parser may be used for anything."""
ENTITY_TYPES: Final = {
    "PER": "PER",
    "LOC": "LOC",
    "ORG": "ORG",
    "person": "PER",
    "location": "LOC",
    "group": "ORG",
    "corporation": "ORG",
}
"""Type in a file → ours (UNER's three; WNUT17's); other types become no entity."""


@dataclass(slots=True)
class Annotated:
    """A sentence; a layer that is None is not annotated, which is not the same as empty.

    `heads`: indices in the sentence, its own for the root. `spaces`: whether a blank follows the word.
    """

    words: list[str]
    spaces: list[bool]
    tags: list[str] | None = None
    heads: list[int] | None = None
    deps: list[str] | None = None
    entities: list[str] | None = None
    document: str = ""
    line: int = field(default=0, compare=False)


def read_conllu(path: Path, *, leave_out: tuple[str, ...] = ()) -> list[Annotated]:
    """The sentences of a CoNLL-U file, without multi-word tokens' own lines and without empty nodes.

    `leave_out`: genres (in GUM the second part of a document's name) whose documents are skipped.
    Raises DataError, with file and line, for other rows and for heads outside the sentence.
    """
    found: list[Annotated] = []
    document = ""
    rows: list[list[str]] = []
    joined: dict[int, bool] = {}
    first = 0
    for number, line in [*lines(path), (0, "")]:
        if line.startswith("# newdoc id = "):
            document = line.removeprefix("# newdoc id = ").strip()
        if line.startswith("#"):
            continue
        if not line.strip():
            if rows and not any(f"_{genre}_" in document for genre in leave_out):
                found.append(_sentence(rows, joined, document, path, first))
            rows, joined = [], {}
            continue
        cells = line.split("\t")
        if len(cells) != _COLUMNS:
            raise DataError(
                f"{path}:{number}: {len(cells)} columns; CoNLL-U has {_COLUMNS}, separated by tabs"
            )
        if "." in cells[0]:
            continue
        if "-" in cells[0]:  # one written token (don't), two words: the blank is behind the last
            begin, _, end = cells[0].partition("-")
            for i in range(int(begin), int(end)):
                joined[i] = False
            joined[int(end)] = "SpaceAfter=No" not in cells[9]
            continue
        first = first if rows else number
        rows.append(cells)
    if not found:
        raise DataError(f"{path}: no sentences; give a CoNLL-U file")
    return found


def _sentence(
    rows: list[list[str]], joined: dict[int, bool], document: str, path: Path, first: int
) -> Annotated:
    heads = []
    for i, cells in enumerate(rows):
        place = f"{path}:{first + i}"
        if cells[0] != str(i + 1):
            raise DataError(f"{place}: word number {cells[0]!r}, where {i + 1} is next; number them from 1")
        if not cells[6].isdecimal() or int(cells[6]) > len(rows):
            raise DataError(f"{place}: head {cells[6]!r} of a sentence of {len(rows)} words; use 0 to that")
        heads.append(int(cells[6]) - 1 if cells[6] != "0" else i)
    return Annotated(
        words=[cells[1].replace(" ", "\N{NO-BREAK SPACE}") for cells in rows],
        spaces=[joined.get(i + 1, "SpaceAfter=No" not in cells[9]) for i, cells in enumerate(rows)],
        tags=[cells[4] for cells in rows],
        heads=heads,
        deps=[cells[7] for cells in rows],
        document=document,
        line=first,
    )


def read_entities(path: Path) -> list[Annotated]:
    """The sentences of a file with a token, a tab and an IOB2 tag a line, types as in ENTITY_TYPES.

    Raises DataError, with file and line, for other lines.
    """
    found: list[Annotated] = []
    for first, rows in _blocks(path):
        tags = []
        inside = ""
        for i, (_, tag) in enumerate(rows):
            mark, _, kind = tag.partition("-")
            if mark not in ("B", "I", "O") or (mark == "O") != (not kind):
                raise DataError(f"{path}:{first + i}: tag {tag[:40]!r}; use O, B-PER, I-PER and so on")
            ours = ENTITY_TYPES.get(kind, "")
            begins = mark == "B" or ours != inside
            tags.append(f"{'B' if begins else 'I'}-{ours}" if ours else "O")
            inside = ours
        words = [word.replace(" ", "\N{NO-BREAK SPACE}") for word, _ in rows]
        found.append(Annotated(words, [True] * len(words), entities=tags, line=first))
    if not found:
        raise DataError(f"{path}: no sentences; give a file with a token, a tab and a tag a line")
    return found


def _blocks(path: Path) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    rows: list[tuple[str, str]] = []
    first = 0
    for number, line in [*lines(path), (0, "")]:
        if not line.strip():
            if rows:
                yield first, rows
            rows = []
            continue
        word, tab, tag = line.partition("\t")
        if not tab or not word:
            raise DataError(f"{path}:{number}: no token, tab and tag; write for example Anna, a tab, B-PER")
        first = first if rows else number
        rows.append((word, tag.strip()))


def add_entities(sentences: list[Annotated], entities: list[Annotated]) -> int:
    """Lay entities over parsed sentences with the same words; how many sentences got them.

    Equal sentences get them in the order of the file, whose documents may come in another order.
    """
    waiting: dict[tuple[str, ...], deque[Annotated]] = {}
    for marked in entities:
        waiting.setdefault(tuple(marked.words), deque()).append(marked)
    count = 0
    for sentence in sentences:
        same = waiting.get(tuple(sentence.words))
        if same and sentence.entities is None:
            sentence.entities = same.popleft().entities
            count += 1
    return count


def gather(
    treebanks: list[Path], entities: list[Path], *, non_commercial: bool = False, add: bool = True
) -> list[Annotated]:
    """What a parser learns from: parsed sentences, with entities where a file has them for their words.

    A file of entities that fits no treebank adds its sentences, unless `add` is off. Documents of GUM's
    non-commercial genres are left out unless asked for. Raises DataError as the readers do.
    """
    leave_out = () if non_commercial else NON_COMMERCIAL
    found = [s for path in treebanks for s in read_conllu(path, leave_out=leave_out)]
    for path in entities:
        marked = read_entities(path)
        if add_entities(found, marked) < len(marked) / 2 and add:
            found += marked
    return found
