"""The dialogues of a JSON file, one decoded at a time: of a list, of an object of named lists, of JSON Lines.

What holds the dialogues is told from their shape: a list that begins with a message is a dialogue, one that
begins with a dialogue holds many, and so does an object with such a list.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from convai.core.dialog import Dialog
from convai.core.errors import DataError
from convai.core.text_files import lines, whole_text
from convai.text.corpora.chat_stores import chats_of
from convai.text.corpora.json_text import Walker, decode_line, loosely
from convai.text.corpora.messages import is_exchange, is_message, wordless
from convai.text.corpora.notes import Notes
from convai.text.corpora.shapes import WRAPPERS, is_part, is_section, shape_of
from convai.text.corpora.splits import own_split, split_named
from convai.text.corpora.unwrapped import rows_of_columns, rows_of_names, unwrapped


@dataclass(frozen=True, slots=True)
class Entry:
    """One dialogue's JSON: `line` where it begins, `where` to begin an error with, its part of the file.

    What other programs wrap it in is left out.
    """

    line: int
    where: str
    split: str
    value: Any


def entries(path: Path, notes: Notes) -> Iterator[Entry]:
    """The entries of a JSON file.

    A malformed entry is told to `notes`, with its line; where these go on, so does the reading, at the next
    one. Raises DataError, after the entries before it, for what is malformed elsewhere.
    """
    if not is_lines(path):
        yield from Entries(path, notes).all()
        return
    for line, text in lines(path):
        if not text.strip():
            continue
        where = f"{path}:{line}"
        try:
            value = decode_line(text, where)
        except DataError as error:
            notes.error(error)
            continue
        if isinstance(value, list) and value and is_exchange(value[0]) and isinstance(value[0], list):
            yield Entry(line, where, "", value)
        else:
            for split, entry in unpacked(value, ""):
                yield Entry(line, where, split or _own_split(entry), unwrapped(entry))


def dialogs(path: Path, notes: Notes, make: Callable[[Any, str], Dialog]) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every entry of a file that `make(value, where)` can read."""
    for entry in entries(path, notes):
        try:
            found = make(entry.value, entry.where)
        except DataError as error:
            notes.error(error)
            continue
        if isinstance(entry.value, dict) and entry.value.get("label") is False:  # what KTO is to unlearn
            found = replace(found, turns=(*found.turns[:-1], replace(found.turns[-1], target=False)))
        if entry.split and not found.labels.get("split"):
            found = replace(found, labels={**found.labels, "split": entry.split})
        notes.omitted += wordless(entry.value)
        yield entry.line, found


def is_lines(path: Path) -> bool:
    """Whether a file has a JSON value on every line: the first, or else the two after it, are whole ones."""
    first = [text for _, text in islice(((n, t) for n, t in _few_lines(path) if t.strip()), 3)]
    if len(first) < 2:
        return False
    whole = [_is_whole(text) for text in first]
    return whole[0] or (len(first) > 2 and whole[1] and whole[2] and len(first[0].strip()) > 1)


def _few_lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        yield from lines(path)
    except DataError:  # a line that is too long is a whole file; what else is wrong is told when it is read
        return


def _is_whole(text: str) -> bool:
    for load in (json.loads, loosely):
        try:
            return isinstance(load(text), dict | list)
        except (ValueError, RecursionError):
            continue
    return False


def _own_split(entry: object) -> str:
    return own_split(entry) if isinstance(entry, dict) else ""


def unpacked(value: Any, split: str) -> Iterator[tuple[str, Any]]:
    """The entries in a decoded value, with the part of the file that each is in."""
    if (chats := chats_of(value)) is not None:
        for chat in chats:
            yield split, chat
        return
    if isinstance(value, list) and value and not is_part(value[0]):
        for item in value:
            yield split, item
    elif isinstance(value, dict) and not shape_of(value) and (inside := _sections(value)):
        for key, items in inside:
            yield from unpacked(items, split_named(key) or split)
    elif (rows := rows_of_columns(value) or rows_of_names(value, shape_of)) is not None:
        for row in rows:
            yield split, row
    elif messages := _only_messages(value):
        yield split, messages
    else:
        yield split, value


def _only_messages(value: Any) -> Any:
    """The one dialogue of an object that has nothing but notes about it beside its messages, or None."""
    if not isinstance(value, dict) or shape_of(value):
        return None
    held = [items for key, items in value.items() if key.lower() in WRAPPERS and isinstance(items, list)]
    return held[0] if len(held) == 1 and held[0] and is_message(held[0][0]) else None


def _sections(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """The keys of an object that hold dialogues, also an object of such an object."""
    found: list[tuple[str, Any]] = []
    for key, items in value.items():
        if (isinstance(items, list) and items and is_section(key, items[0])) or (
            isinstance(items, dict)
            and not shape_of(items)
            and (_sections(items) or (split_named(key) and rows_of_names(items, shape_of)))
        ):
            found.append((key, items))
    return found


class _Ended(Exception):
    """Behind what is damaged nothing can be read."""


class Entries:
    """Walks through one JSON text that holds the entries somewhere; a list's damaged ones go to `notes`."""

    def __init__(self, path: Path, notes: Notes) -> None:
        self.walker = Walker(path, whole_text(path))
        self.notes = notes
        self.shape = ""
        """That of the entries before."""

    def all(self) -> Iterator[Entry]:
        """Every entry of every value in the text."""
        try:
            yield from self._all()
        except _Ended:
            return

    def _all(self) -> Iterator[Entry]:
        walker = self.walker
        while not walker.at_end():
            opening = walker.peek()
            if opening == "[" and not is_part(self._first_item()):
                yield from self._array("")
            elif opening == "{" and self._has_sections():
                yield from self._object()
            else:
                yield from self._entry("", 0)

    def _first_item(self) -> Any:
        """The first value of the array that begins here, without moving; None if it is empty or damaged."""
        walker, start = self.walker, self.walker.position
        try:
            walker.take("[")
            return None if walker.peek() == "]" else walker.value()
        except DataError:
            return None
        finally:
            walker.move_to(start)

    def _has_sections(self) -> bool:
        """Whether the object that begins here has a list of dialogues under a key that says so.

        Only such lists are walked through; any other object is small enough to be decoded as a whole.
        """
        walker, start = self.walker, self.walker.position
        try:
            walker.take("{")
            while walker.peek() == '"':
                key = str(walker.value())
                walker.take(":")
                if self._is_section(key):
                    return True
                walker.value()
                if walker.take(",}") == "}":
                    break
            return False
        except DataError:
            return False
        finally:
            walker.move_to(start)

    def _is_section(self, key: str) -> bool:
        """Whether what stands behind `key`, here, is a list of dialogues."""
        if split_named(key):
            return True
        if key.lower() not in WRAPPERS or self.walker.peek() != "[":
            return False
        first = self._first_item()
        return not is_part(first) and not is_exchange(first)

    def _object(self) -> Iterator[Entry]:
        walker = self.walker
        walker.take("{")
        while True:
            if walker.peek() != '"':
                raise walker.fail("expected a key in double quotes")
            key = walker.value()
            walker.take(":")
            if split_named(str(key)) and walker.peek() == "{":  # dialogues by name
                yield from self._entry(str(key), 0)
            elif self._is_section(str(key)):
                yield from self._array(str(key))
            else:
                walker.value()
            if walker.take(",}") == "}":
                return

    def _array(self, section: str) -> Iterator[Entry]:
        walker = self.walker
        walker.take("[")
        if walker.peek() == "]":
            walker.take("]")
            return
        index = 0
        while True:
            index += 1
            walker.peek()
            start = walker.position
            try:
                yield from self._entry(section, index)
            except DataError as error:
                self._skip(start, error)
                continue
            try:
                if walker.take(",]") == "]":
                    return
            except DataError as error:
                if walker.peek() != walker.text[start : start + 1]:  # more is missing than a comma
                    self._skip(start, error)
                else:
                    self.notes.error(error)

    def _skip(self, start: int, error: DataError) -> None:
        """Go on at the next entry behind the one that begins at `start`."""
        self.notes.error(error)
        if not self.walker.skip_damaged(start, self._fits):
            raise _Ended

    def _fits(self, value: Any) -> bool:
        found = shape_of(unwrapped(value))
        return bool(found) and found == (self.shape or found)

    def _entry(self, section: str, index: int) -> Iterator[Entry]:
        walker = self.walker
        walker.peek()
        line = walker.line()
        name = " ".join(part for part in (section, f"entry {index}" if index else "") if part)
        where = f"{walker.path}:{line}" + (f": {name}" if name else "")
        value = walker.value()
        found = [("", value)] if index else unpacked(value, "")  # an object may hold more than one
        for split, entry in found:
            part = split or split_named(section) or _own_split(entry)
            bare = unwrapped(entry)
            self.shape = self.shape or shape_of(bare)
            yield Entry(line, where, part, bare)
