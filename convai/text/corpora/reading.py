"""Reading and writing files of dialogues in any format; what `convai.text.corpora` exports."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from convai.core.dialog import Dialog
from convai.core.errors import DataError
from convai.text.corpora.detect import detect, expand
from convai.text.corpora.files import atomic_text, bare_name
from convai.text.corpora.formats import FORMATS, named
from convai.text.corpora.notes import Notes


@dataclass(frozen=True, slots=True)
class Located:
    """A dialogue and the line of the file where it begins."""

    path: Path
    line: int
    dialog: Dialog

    @property
    def where(self) -> str:
        """`file:line`."""
        return f"{self.path}:{self.line}"


def iter_located(
    path: str | os.PathLike[str], format: str | None = None, notes: Notes | None = None
) -> Iterator[Located]:
    """As `iter_dialogs`, with places; what is wrong goes to `notes` (strict by default)."""
    notes = notes or Notes()
    for file in expand(Path(path)):
        parse = named(format or detect(file)).parse
        count, errors = 0, notes.errors
        for line, dialog in parse(file, notes):
            count += 1
            yield Located(file, line, dialog)
        if not count and notes.errors == errors:
            notes.error(DataError(f"{file}:1: no dialogues in the file; add one or leave it out"))


def iter_dialogs(path: str | os.PathLike[str], format: str | None = None) -> Iterator[Dialog]:
    """The dialogues of a file, or of a folder's files in the order of their names, one at a time.

    `format` is a name in FORMATS; by default it is told from each file's content, then its name. gzip and
    xz are unpacked. Raises DataError with `file:line: what is wrong; what to do`.
    """
    return (located.dialog for located in iter_located(path, format))


def read(path: str | os.PathLike[str], format: str | None = None) -> list[Dialog]:
    """All of `iter_dialogs(path, format)` as a list."""
    return list(iter_dialogs(path, format))


def write(path: str | os.PathLike[str], dialogs: Iterable[Dialog], format: str | None = None) -> int:
    """Write dialogues to a file and return how many; the file appears whole or not at all.

    The format follows from the name (`.jsonl`, `.json`: PERSONA-CHAT, `.txt`: ParlAI; then `.gz` or `.xz`)
    unless it is given. Raises DataError for a format that cannot be written or a dialogue that it cannot
    hold.
    """
    target = Path(path)
    render = named(format or format_for(target), to_write=True).render
    assert render is not None  # named() gave one that can be written
    count = 0

    def counted() -> Iterator[Dialog]:
        nonlocal count
        for dialog in dialogs:
            count += 1
            yield dialog

    with atomic_text(target) as out:
        try:
            out.writelines(render(counted()))
        except DataError as error:
            if str(error).startswith("dialogue "):
                raise DataError(f"{target}: {error}") from None
            raise
    return count


def format_for(path: Path) -> str:
    """The format to write to a file of that name. Raises DataError when the name does not say."""
    suffix = Path(bare_name(path)).suffix.lower()
    for f in FORMATS.values():
        if suffix in f.extensions and f.render:
            return f.name
    names = ", ".join(f.name for f in FORMATS.values() if f.render)
    raise DataError(f"{path}: the name does not say which format to write; give one of {names}")
