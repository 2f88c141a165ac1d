"""JSON with the place in every error: a line, or values one after the other in a long text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from convai.core.errors import DataError
from convai.core.text_files import lines
from convai.text.corpora.building import as_object
from convai.text.corpora.columns import is_renaming, known_keys

_SPACE = re.compile(r"[ \t\n\r]*")
_NEXT = re.compile(r"[,\n]\s*(?=[\[{])")
"""Before what may be the next entry of a list."""
_TRAILING = re.compile(r'"(?:[^"\\]|\\.)*"|,(?=\s*[\]}])')
"""A text in quotes, or a comma behind the last value of a list or object."""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_PLAIN = json.JSONDecoder(parse_constant=_refuse)
_RENAMING = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=known_keys)


def decoder() -> json.JSONDecoder:
    """What decodes JSON, and gives keys the names that somebody said they have."""
    return _RENAMING if is_renaming() else _PLAIN


def without_trailing_commas(text: str) -> str:
    """The text with a blank for every comma that stands behind the last value of a list or object."""
    return _TRAILING.sub(lambda found: " " if found[0] == "," else found[0], text)


def loosely(text: str) -> Any:
    """A JSON value, also with trailing commas, in it or behind it. Raises ValueError or RecursionError."""
    try:
        return decoder().decode(text)
    except json.JSONDecodeError:
        mended = without_trailing_commas(text.rstrip().removesuffix(","))
        if mended == text.rstrip():
            raise
        return decoder().decode(mended)


def decode_line(text: str, where: str) -> Any:
    """The JSON value on one line. Raises DataError beginning with `where`."""
    try:
        return loosely(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: malformed JSON at column {error.colno} ({error.msg}); each line is one JSON object"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: malformed JSON ({_reason(error)}); correct or remove the line") from None


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]


def objects(path: Path, example: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The place and the object of every line of a file, as `example` is one; blank lines are passed over.

    Raises DataError, naming file and line, also where there is nothing in it.
    """
    empty = True
    for number, text in lines(path):
        if text.strip():
            empty = False
            where = f"{path}:{number}"
            yield where, as_object(decode_line(text, where), where, example)
    if empty:
        raise DataError(f"{path}: nothing in it; a line is like {example}")


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


class Walker:
    """A position in a JSON text, and the line it is on; trailing commas are passed over."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text, self.position = path, text, 0
        self._mended = False
        self._line, self._counted = 1, 0

    def line(self) -> int:
        self._line += self.text.count("\n", self._counted, self.position)
        self._counted = self.position
        return self._line

    def fail(self, reason: str) -> DataError:
        return DataError(
            f"{self.path}:{self.line()}: malformed JSON ({reason}); correct or download it again"
        )

    def move_to(self, position: int) -> None:
        """Go back to where it was."""
        if position < self._counted:
            self._line -= self.text.count("\n", position, self._counted)
            self._counted = position
        self.position = position

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
        if (
            found == "," and (closing := self.peek()) in ("]", "}") and closing in expected
        ):  # a trailing comma
            self.position += 1
            return closing
        return found

    def value(self) -> Any:
        self.peek()
        try:
            value, self.position = decoder().raw_decode(self.text, self.position)
        except json.JSONDecodeError as error:
            if not self._mended:
                self._mended, self.text = True, without_trailing_commas(self.text)
                return self.value()
            self.position = min(error.pos, len(self.text))
            raise self.fail(error.msg) from None
        except (ValueError, RecursionError) as error:
            raise self.fail(_reason(error)) from None
        return value

    def skip_damaged(self, start: int, fits: Callable[[Any], bool]) -> bool:
        """Go to the next value of the list after the damaged one that begins at `start`: one that `fits`.

        An object whose end is missing has taken in those behind it; lists are much like what they hold, so
        of one the next is looked for behind the damage. False where there is none before the text ends.
        """
        opening = self.text[start : start + 1]
        for found in _NEXT.finditer(self.text, start + 1 if opening == "{" else self.position):
            at = found.end()
            if self.text[at] != opening:
                continue
            try:
                value, end = decoder().raw_decode(self.text, at)
            except (ValueError, RecursionError):
                continue
            if fits(value) and _SPACE.sub("", self.text[end : end + 200])[:1] in (",", "]"):
                self.move_to(at)
                return True
        return False
