"""CSV with the columns Persona and chat: the persona of the second speaker, and a turn a line.

Speakers alternate; the first is the user, the second the agent, whose persona it is.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from convai.core.dialog import Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import dialog, persona_from_text
from convai.text.corpora.files import lines
from convai.text.corpora.notes import Notes

COLUMNS: Final = ("persona", "chat")


def column_indices(header: list[str]) -> tuple[int, int] | None:
    """Where the columns Persona and chat are (in any case), or None."""
    names = [name.strip().lower() for name in header]
    return (names.index(COLUMNS[0]), names.index(COLUMNS[1])) if set(COLUMNS) <= set(names) else None


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every row."""
    rows = csv.reader((f"{text}\n" for _, text in lines(path)), strict=True)
    columns: tuple[int, int] | None = None
    line = 1
    try:
        for row in rows:
            if columns is None:
                columns = column_indices(row)
                if columns is None:
                    raise DataError(f"{path}:1: the header has no columns 'Persona' and 'chat'; name them so")
            elif row:
                try:
                    parsed = _dialog(row, columns, f"{path}:{line}")
                except DataError as error:
                    notes.error(error)
                else:
                    yield line, parsed
            line = rows.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}:{line}: malformed CSV ({error}); quote cells of several lines, doubling quotes"
        ) from None


def _dialog(row: list[str], columns: tuple[int, int], where: str) -> Dialog:
    if len(row) <= max(columns):
        raise DataError(f"{where}: {len(row)} cells, fewer than the header has; quote cells that hold commas")
    persona = persona_from_text(row[columns[0]], where)
    said = row[columns[1]].strip().split("\n")
    if said == [""]:
        said = []
    turns = [Turn(i % 2, check_text(text, f"{where}, chat line {i + 1}")) for i, text in enumerate(said)]
    return dialog(where, turns, (Persona(), persona))
