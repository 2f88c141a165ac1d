"""Running text for language-model pre-training: documents, a paragraph or turn a line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from convai.core.dialog import check_text
from convai.core.errors import DataError
from convai.core.text_files import bare_name, require_file
from convai.text.corpora.plain_text import blocks


@dataclass(frozen=True, slots=True)
class PlainDocument:
    """One article, review or transcript."""

    paragraphs: tuple[str, ...]


def iter_documents(path: str | os.PathLike[str]) -> Iterator[PlainDocument]:
    """The documents of a text file (plain, gzip or xz), one at a time; blank lines separate them.

    A folder gives those of its `.txt` files, sorted by name. Raises DataError with file and line.
    """
    place = Path(path)
    for file in _text_files(place):
        count = 0
        for block in blocks(file):
            count += 1
            yield PlainDocument(tuple(check_text(text, f"{file}:{line}") for line, text in block))
        if not count:
            raise DataError(f"{file}:1: no text in the file; add some or leave it out")


def _text_files(place: Path) -> list[Path]:
    if not place.is_dir():
        require_file(place)
        return [place]
    found = [f for f in sorted(place.iterdir()) if f.is_file() and bare_name(f).lower().endswith(".txt")]
    if not found:
        raise DataError(f"{place}: no .txt files (plain, .gz or .xz) in this folder; name a text file")
    return found
