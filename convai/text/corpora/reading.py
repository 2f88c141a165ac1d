"""Reading and writing files of dialogues in any format; what `convai.text.corpora` exports."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from convai.core.dialog import Dialog
from convai.core.errors import DataError
from convai.core.files import atomic_text
from convai.core.text_files import bare_name, damaged_kept, encoded_in, first_damage, is_western
from convai.text.corpora.columns import columns_named
from convai.text.corpora.detect import detect, expand
from convai.text.corpora.formats import FORMATS, named
from convai.text.corpora.notes import Notes, Skipping, counted, listed
from convai.text.corpora.splits import SPLITS, check_split, split_of


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are to be read: in which format, which of their parts, what becomes of bad dialogues, in
    which encoding, and what their columns or keys are (by the names that they have).

    None: format and encoding are told from the file, and the part is what the command that reads is for.
    """

    format: str | None = None
    split: str | None = None
    skip_bad: bool = False
    encoding: str | None = None
    columns: Mapping[str, str] | None = None


@dataclass(slots=True)
class Taken:
    """The dialogues that were taken from a file, and what was not."""

    path: Path
    dialogs: list[Dialog]
    format: str = ""
    split: str = "all"
    parts: Counter[str] = field(default_factory=Counter)
    """How many dialogues each part of the file has; an empty text where it is not divided."""
    left_out: int = 0
    first_problem: str = ""
    places: list[str] = field(default_factory=list)
    """`file:line` of each dialogue."""
    omitted: Counter[str] = field(default_factory=Counter)
    """What is no turn and was left out of dialogues, such as messages of tools (`Notes.omitted`)."""
    remarks: list[str] = field(default_factory=list)
    """What a person should know of how the file was read (`Notes.remarks`)."""

    @property
    def whole(self) -> bool:
        """Whether there is nothing to say but how much was taken."""
        return self.split == "all" and not (self.left_out or self.omitted or self.remarks)

    def line(self, name: str = "") -> str:
        """What was taken, for a person; `name` stands for the file in the place of its path."""
        text = f"{name or self.path}: {self.format}, {counted(len(self.dialogs), 'dialogue')}"
        if any(self.parts):
            has = ", ".join(
                f"{name or 'no part'} {self.parts[name]:,}" for name in ("", *SPLITS) if self.parts[name]
            )
            text += f", part {self.split} (the file has {has})"
        if self.left_out:
            text += f"; {counted(self.left_out, 'bad dialogue')} left out, the first: {self.first_problem}"
        if self.omitted:
            text += f"; left out of dialogues: {listed(self.omitted)}"
        return "; ".join([text, *(remark.partition(": ")[2] for remark in self.remarks)])


def take(path: str | os.PathLike[str], reading: Reading | None = None, *wanted: str) -> Taken:
    """The dialogues of a file or folder.

    `wanted` are the parts that are taken where the file has one of them and `reading` names none; without
    them everything is. Raises DataError as `iter_dialogs` does, and where the part that was asked for is not
    there, or nothing is left.
    """
    reading = reading or Reading()
    notes = Skipping() if reading.skip_bad else Notes()
    place = Path(path)
    with encoded_in(reading.encoding), columns_named(reading.columns), damaged_kept(reading.skip_bad):
        found = list(iter_located(place, reading.format, notes))
        named_format = reading.format or ", ".join(formats_of(place))
    parts = Counter(split_of(located.dialog) for located in found)
    split = check_split(reading.split or "all")
    if split != "all" and not parts[split]:
        has = ", ".join(name for name in SPLITS if parts[name]) or "no parts"
        raise DataError(f"{place}: no dialogues of --split {split}; it has {has}")
    chosen = [name for name in wanted if parts[name]] if reading.split is None else [split]
    if chosen and chosen != ["all"]:
        found = [located for located in found if split_of(located.dialog) in chosen]
    dialogs, places = [located.dialog for located in found], [located.where for located in found]
    taken = Taken(place, dialogs, named_format, " and ".join(chosen) or "all", parts, places=places)
    taken.omitted, taken.remarks = notes.omitted, notes.remarks
    if isinstance(notes, Skipping):
        taken.left_out, taken.first_problem = notes.errors, notes.first
        if not dialogs:
            raise DataError(f"{place}: no dialogue can be read; the first problem is {notes.first}")
    return taken


def formats_of(path: Path) -> list[str]:
    """The formats of a file, or of a folder's files."""
    return list(dict.fromkeys(detect(file) for file in expand(path)))


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
        if is_western(file):
            notes.remark(
                f"{file}: read as Windows-1252, being no UTF-8; where letters are wrong, name its encoding "
                "(--encoding)"
            )
        count, errors = 0, notes.errors
        for line, dialog in parse(file, notes):
            count += 1
            yield Located(file, line, dialog)
        if notes.errors == errors and (damage := first_damage(file)):
            notes.error(damage)  # in what no dialogue holds
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
