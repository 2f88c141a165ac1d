"""The first dialogue's JSON as the beginning of a file shows it: what its format is told from."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any, Final

from convai.core.errors import DataError
from convai.core.text_files import head
from convai.text.corpora.json_entries import Entries, is_lines, unpacked
from convai.text.corpora.json_text import decoder, loosely, without_trailing_commas
from convai.text.corpora.notes import Skipping
from convai.text.corpora.shapes import shape_of
from convai.text.corpora.unwrapped import unwrapped

_PEEK: Final = 65536
_LOOKED_AT: Final = 20
"""Entries among which one tells the format, where those before it are damaged or none."""


def first_entry(path: Path) -> Any:
    """The first dialogue's JSON as far as the head of the file shows it, or None."""
    text = head(path, _PEEK).strip()
    if is_lines(path):
        return _first_of_lines(text)
    try:
        value, _ = decoder().raw_decode(text)
    except (ValueError, RecursionError):
        value = _closed(text)  # it is cut, or has trailing commas
        first = _first(value)
        if not shape_of(first) and isinstance(value, dict):  # of dialogues by name the last one is cut
            first = _first(dict(list(value.items())[:-1])) or first
        return first if shape_of(first) or len(text) >= _PEEK else _first_behind(path, first)
    return _first(value)


def _first_behind(path: Path, first: Any) -> Any:
    """The first entry with a dialogue's shape behind a malformed one; `first` where there is none."""
    try:
        found = [entry.value for entry in islice(Entries(path, Skipping()).all(), _LOOKED_AT)]
    except DataError:
        return first
    return next(filter(shape_of, found), first)


def _first_of_lines(text: str) -> Any:
    """The same of JSON Lines, of which some may be malformed."""
    found = list[Any]()
    for line in islice(filter(str.strip, text.split("\n")), _LOOKED_AT):
        try:
            found.append(_first(loosely(line)))
        except (ValueError, RecursionError):
            found.append(_first(_closed(line)))  # the head ends in it, or it is malformed
        if shape_of(found[-1]):
            return found[-1]
    return next((value for value in found if value is not None), None)


def _first(value: Any) -> Any:
    """The first entry in a decoded value that has a dialogue's shape; where none has one, the first."""
    found = [unwrapped(entry) for _, entry in islice(unpacked(value, ""), _LOOKED_AT)]
    return next(filter(shape_of, found), found[0] if found else value)


def _closed(text: str, *, last: bool = False) -> Any:
    """The value that the beginning of a JSON text has: cut behind its last whole part, and closed; where it
    is malformed before that, cut there, but not if this is the `last` try.
    """
    open_ends: list[str] = []
    best: tuple[int, str] = (0, "")
    at, inside = 0, False
    while at < len(text):
        char = text[at]
        if inside:
            if char == "\\":
                at += 1
            elif char == '"':
                inside = False
        elif char == '"':
            inside = True
        elif char in "{[":
            open_ends.append("}" if char == "{" else "]")
            best = (at + 1, "".join(reversed(open_ends)))
        elif char in "}]":
            if not open_ends or open_ends.pop() != char:
                return None
            best = (at + 1, "".join(reversed(open_ends)))
            if not open_ends:  # the first of several values is whole
                break
        elif char == ",":
            best = (at, "".join(reversed(open_ends)))
        at += 1
    try:
        return decoder().decode(without_trailing_commas(text[: best[0]] + best[1]))
    except json.JSONDecodeError as error:  # malformed amid the text: what stands before it, once
        return _closed(text[: error.pos], last=True) if not last and 0 < error.pos < len(text) else None
    except (ValueError, RecursionError):
        return None
