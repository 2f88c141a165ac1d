"""Kinds of values in a frame, each with its check: text, identifiers, numbers, lists, free JSON, settings.

A kind stands in an annotation, `Annotated[str, Line("message_chars")]`. A bound is a number, or the name of
a field of Limits. Every `read` returns the value, or raises ProtocolError that names field and range.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from convai.core.dialog import check_text
from convai.core.errors import DataError, SettingsError
from convai.core.limits import MAX_WHOLE, Limits, ProtocolError
from convai.core.settings import DecodingConfig
from convai.core.settings_values import laid_over

_IDENT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MOST_SETTING: Final = 1_000_000
_WIDEST: Final = DecodingConfig(min_length=0, max_length=1024)
"""What settings are laid over to be checked: the narrowest for none of them."""

Bound = int | str
ASSIGNED: Final = "assigned"
"""Behind the kind in an annotation: has a default in Python and must be there in a frame all the same."""


class Kind(Protocol):
    """One kind of value."""

    def read(self, value: object, where: str, limits: Limits) -> Any:
        """The value, or a ProtocolError that begins with `where`."""

    def describe(self, limits: Limits) -> str:
        """In words, with the range, for the reference."""


def bad(where: str, problem: str) -> ProtocolError:
    """The error of a field."""
    return ProtocolError("bad_field", f"{where}: {problem}", field=where)


def shown(value: object) -> str:
    """A wrong value, short enough for an error line."""
    names = {dict: "an object", list: "a list", bool: "true or false", type(None): "null", str: "text"}
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)[:40]
    return names.get(type(value), "something else")


def _most(bound: Bound, limits: Limits) -> int:
    return int(getattr(limits, bound)) if isinstance(bound, str) else bound


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise bad(where, f"expected text, found {shown(value)}")
    return value


@dataclass(frozen=True, slots=True)
class Line:
    """What somebody typed: one clean line (see `convai.core.dialog.check_text`), not blank unless `blank`."""

    most: Bound
    blank: bool = False

    def read(self, value: object, where: str, limits: Limits) -> str:
        text, most = _string(value, where), _most(self.most, limits)
        if len(text) > most:
            raise bad(where, f"{len(text):,} characters; use at most {most:,}")
        if self.blank and not text.strip():
            return ""
        try:
            return check_text(text, where)
        except DataError as error:
            raise ProtocolError("bad_field", str(error), field=where) from None

    def describe(self, limits: Limits) -> str:
        return f"line of {0 if self.blank else 1} to {_most(self.most, limits):,} characters"


@dataclass(frozen=True, slots=True)
class Raw:
    """Text as it is, blanks at its ends included; only lone surrogates are refused."""

    most: Bound

    def read(self, value: object, where: str, limits: Limits) -> str:
        text, most = _string(value, where), _most(self.most, limits)
        if len(text) > most:
            raise bad(where, f"{len(text):,} characters; use at most {most:,}")
        if _SURROGATE.search(text):
            raise bad(where, "half a surrogate pair, which is no character")
        return text

    def describe(self, limits: Limits) -> str:
        return f"text of up to {_most(self.most, limits):,} characters"


@dataclass(frozen=True, slots=True)
class Ident:
    """The name of a request, conversation, message or stream."""

    def read(self, value: object, where: str, limits: Limits) -> str:
        if not _IDENT.fullmatch(_string(value, where)):
            raise bad(where, "use 1 to 64 letters, digits, hyphens or underscores")
        return str(value)

    def describe(self, limits: Limits) -> str:
        return "identifier"


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number in a range, its ends included."""

    least: int
    most: Bound = MAX_WHOLE

    def read(self, value: object, where: str, limits: Limits) -> int:
        most = _most(self.most, limits)
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= most:
            raise bad(where, f"{shown(value)}; use a {self.describe(limits)}")
        return value

    def describe(self, limits: Limits) -> str:
        most = _most(self.most, limits)
        return f"whole number, {self.least} " + ("or more" if most == MAX_WHOLE else f"to {most:,}")


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number in a range, its ends included."""

    least: float
    most: float

    def read(self, value: object, where: str, limits: Limits) -> float:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
            or not self.least <= value <= self.most
        ):
            raise bad(where, f"{shown(value)}; use a {self.describe(limits)}")
        return float(value)

    def describe(self, limits: Limits) -> str:
        return f"number, {self.least:g} to {self.most:g}"


@dataclass(frozen=True, slots=True)
class Many:
    """How many items a list may have."""

    most: Bound

    def read(self, value: object, where: str, limits: Limits) -> list[object]:
        if not isinstance(value, list | tuple):
            raise bad(where, f"expected a list, found {shown(value)}")
        if len(value) > (most := _most(self.most, limits)):
            raise bad(where, f"{len(value):,} items; use at most {most:,}")
        return list(value)

    def describe(self, limits: Limits) -> str:
        return f"list of up to {_most(self.most, limits):,}"


@dataclass(frozen=True, slots=True)
class Free:
    """Any JSON object, bounded in bytes."""

    most: Bound = "data_bytes"

    def read(self, value: object, where: str, limits: Limits) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise bad(where, f"expected an object, found {shown(value)}")
        try:
            size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
        except (ValueError, TypeError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
            raise bad(where, f"no JSON ({type(error).__name__})") from None
        if size > (most := _most(self.most, limits)):
            raise bad(where, f"{size:,} bytes; use at most {most:,}")
        return value

    def describe(self, limits: Limits) -> str:
        return f"object of up to {_most(self.most, limits):,} bytes"


@dataclass(frozen=True, slots=True)
class Settings:
    """Some of the decoding settings, each in its range; they are laid over those in use."""

    def read(self, value: object, where: str, limits: Limits) -> dict[str, int | float | None]:
        if not isinstance(value, Mapping):
            raise bad(where, f"expected an object, found {shown(value)}")
        try:
            checked = laid_over(_WIDEST, value)
        except SettingsError as error:
            raise bad(where, str(error)) from None
        given = {name: getattr(checked, name) for name in value}
        for name, number in given.items():
            most = getattr(limits, name, MAX_WHOLE if name == "seed" else _MOST_SETTING)
            if number is not None and abs(number) > most:
                raise bad(where, f"{name}={shown(number)}: use at most {most:,}")
        return given

    def describe(self, limits: Limits) -> str:
        return "decoding settings"
