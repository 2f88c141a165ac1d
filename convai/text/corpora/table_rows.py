"""The rows of a table in text: cells between commas, semicolons or tabs, in quotes or not."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from convai.core.errors import DataError
from convai.core.text_files import lines
from convai.text.corpora.notes import Notes

Row = tuple[int, list[str]]
"""The line where a row begins, and its cells."""


def is_separator(line: str) -> bool:
    """Whether a line only tells a spreadsheet what is between the cells."""
    return line.lower().startswith("sep=") and len(line) == len("sep=;")


def rows_of(path: Path, delimiter: str, notes: Notes, *, quoted: bool) -> Iterator[Row]:
    """The rows that have words. A malformed one goes to `notes`, and the next begins on the line after it.

    Without quoting a quotation mark is a character like any other.
    """
    first, head = next(((line, text) for line, text in lines(path) if text.strip()), (1, ""))
    before = first if is_separator(head) else 0
    told: Iterator[tuple[int, str]] = ((line, text) for line, text in lines(path) if line > before)
    if not quoted:
        yield from ((line, text.split(delimiter)) for line, text in told if text.strip())
        return
    again = deque[tuple[int, str]]()  # lines to be read once more
    while True:
        held = list[tuple[int, str]]()  # the lines of the row that is being read
        reader = csv.reader(_fed(again, told, held), delimiter=delimiter, strict=True)
        try:
            for row in reader:
                if any(cell.strip() for cell in row):
                    yield held[0][0], row
                held.clear()
            return
        except csv.Error as error:
            mend = "quote cells of several lines, doubling quotes"
            notes.error(DataError(f"{path}:{held[0][0]}: malformed CSV ({error}); {mend}"))
            again.extendleft(reversed(held[1:]))  # a quote that is not closed took in the rows behind it


def _fed(
    again: deque[tuple[int, str]], told: Iterator[tuple[int, str]], held: list[tuple[int, str]]
) -> Iterator[str]:
    while (line := again.popleft() if again else next(told, None)) is not None:
        held.append(line)
        yield f"{line[1]}\n"


def cells_of(names: Sequence[str], row: Sequence[str], where: str) -> dict[str, str]:
    """The cells by the names of their columns. Raises DataError where there are fewer, or more with words."""
    if len(row) < len(names) and any(name for name in names[len(row) :]):
        raise DataError(f"{where}: {len(row)} cells, fewer than the header has; quote cells that hold commas")
    if any(cell.strip() for cell in row[len(names) :]):
        raise DataError(f"{where}: {len(row)} cells, more than the header has; quote cells that hold commas")
    return dict(zip(names, row, strict=False))
