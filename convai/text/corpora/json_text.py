"""JSON with the place in every error: one line of JSON Lines, or a whole file entry by entry."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convai.core.errors import DataError
from convai.text.corpora.files import whole_text

_SPACE = re.compile(r"[ \t\n\r]*")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def decode_line(text: str, where: str) -> Any:
    """The JSON value on one line. Raises DataError beginning with `where`."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: malformed JSON at column {error.colno} ({error.msg}); each line is one JSON object"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: malformed JSON ({_reason(error)}); correct or remove the line") from None


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]


def dump(value: object, where: str) -> str:
    """One line of JSON, without \\u escapes where UTF-8 allows. Raises DataError beginning with `where`."""
    try:
        line = json.dumps(value, ensure_ascii=False, allow_nan=False)
        line.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{where}: labels that JSON cannot hold ({_reason(error)}); remove them") from None
    return line


@dataclass(frozen=True, slots=True)
class Entry:
    """One dialogue's JSON: `line` where it begins, `where` to begin an error with."""

    line: int
    where: str
    section: str
    value: Any


def entries(path: Path, sections: Collection[str] = ()) -> Iterator[Entry]:
    """The entries of a JSON file: of a list, of an object of named lists, or of JSON Lines.

    `sections` are the keys that may hold a list of entries (`train`, `valid`); an object that begins
    with another key is an entry itself. Only one entry is decoded at a time. Raises DataError with the
    line for malformed JSON, after the entries before it.
    """
    walker = _Walker(path, whole_text(path))
    while not walker.at_end():
        if walker.peek() == "[":
            yield from walker.array("")
        elif walker.peek() == "{" and walker.first_key() in sections:
            yield from walker.sections(sections)
        else:
            yield walker.entry("", 0)


class _Walker:
    """A position in the text, and the line it is on."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text, self.position = path, text, 0
        self._line, self._counted = 1, 0

    def line(self) -> int:
        self._line += self.text.count("\n", self._counted, self.position)
        self._counted = self.position
        return self._line

    def fail(self, reason: str) -> DataError:
        return DataError(
            f"{self.path}:{self.line()}: malformed JSON ({reason}); correct or download it again"
        )

    def peek(self) -> str:
        match = _SPACE.match(self.text, self.position)
        self.position = match.end() if match else self.position
        return self.text[self.position : self.position + 1]

    def at_end(self) -> bool:
        return not self.peek()

    def take(self, expected: str) -> str:
        found = self.peek()
        if not found or found not in expected:
            wanted = " or ".join(f"'{c}'" for c in expected)
            raise self.fail(f"expected {wanted}, found {'the end of the file' if not found else repr(found)}")
        self.position += 1
        return found

    def value(self) -> Any:
        self.peek()
        try:
            value, self.position = _DECODER.raw_decode(self.text, self.position)
        except json.JSONDecodeError as error:
            self.position = min(error.pos, len(self.text))
            raise self.fail(error.msg) from None
        except (ValueError, RecursionError) as error:
            raise self.fail(_reason(error)) from None
        return value

    def first_key(self) -> str | None:
        """The first key of the object that begins here, without moving."""
        start = self.position
        self.position += 1
        key = self.value() if self.peek() == '"' else None
        self.position = start
        return key

    def entry(self, section: str, index: int) -> Entry:
        self.peek()
        line = self.line()
        name = " ".join(part for part in (section, f"entry {index}" if index else "") if part)
        return Entry(line, f"{self.path}:{line}" + (f": {name}" if name else ""), section, self.value())

    def array(self, section: str) -> Iterator[Entry]:
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        index = 0
        while True:
            index += 1
            yield self.entry(section, index)
            if self.take(",]") == "]":
                return

    def sections(self, names: Collection[str]) -> Iterator[Entry]:
        self.take("{")
        while True:
            if self.peek() != '"':
                raise self.fail("expected a key in double quotes")
            key = self.value()
            self.take(":")
            if key in names:
                yield from self.array(key)
            else:
                self.value()
            if self.take(",}") == "}":
                return
