"""A dialogue a line, its turns divided by a mark: DailyDialog's `__eou__`, and the like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from convai.core.dialog import Dialog, Turn, check_text
from convai.core.errors import DataError
from convai.core.text_files import lines
from convai.text.corpora.building import dialog
from convai.text.corpora.notes import Notes

MARKS: Final = ("__eot__", "__eou__", "<eou>", "[EOU]", "<EOU>", " EOS ")
"""What stands behind a turn, coarser marks first: the Ubuntu corpus has both, DailyDialog the second."""
BETWEEN: Final = ("<sep>", "<SEP>", "[SEP]", "<|sep|>", "<eos>", "<EOS>", "<|endoftext|>", "</s>", "[EOS]")
"""Tokens of models, which are marks where they stand between turns, and not at the end of a line alone."""


def mark_of(text: str) -> str:
    """The mark that divides the turns of a text, or an empty text."""
    found = next((mark for mark in MARKS if mark in text), "")
    return found or next((mark for mark in BETWEEN if text.partition(mark)[2].strip()), "")


def divided(text: str) -> list[str]:
    """The turns of a line, without the marks. Utterances inside a turn are joined."""
    turns = text.split(mark_of(text) or "\n")
    for mark in (*MARKS, *BETWEEN):
        turns = [turn.replace(mark, " ") for turn in turns]
    return [turn for turn in turns if turn.strip()]


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every line; speakers take turns, the user first."""
    for line, text in lines(path):
        if not text.strip():
            continue
        where = f"{path}:{line}"
        try:
            if not mark_of(text):
                raise DataError(f"{where}: no __eou__ behind a turn; end every turn of the line with it")
            texts = enumerate(divided(text))
            turns = [Turn(n % 2, check_text(part, f"{where}, turn {n + 1}")) for n, part in texts]
            parsed = dialog(where, turns)
        except DataError as error:
            notes.error(error)
        else:
            yield line, parsed
