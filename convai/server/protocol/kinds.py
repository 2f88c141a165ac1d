"""Kinds of values in a frame, for msgspec: bounds as its own constraints, and what it has no word for.

A kind stands in an annotation, `Annotated[str, line(4_000)]`, as `msgspec.Meta`. In its `extra` are `words`,
what it is with its range, for error lines and for the reference, and `check`, which is called with each value
and its place: it returns the value, cleaned where that is its work, or raises ProtocolError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Meta

from convai.core.dialog import check_lines, check_text
from convai.core.errors import DataError, SettingsError
from convai.core.limits import MAX_WHOLE, Limits, ProtocolError
from convai.core.settings import DecodingConfig
from convai.core.settings_values import laid_over

LIMITS: Final = Limits()
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MOST_SETTING: Final = 1_000_000
SettingValue = bool | int | float | str | None
"""Of a decoding setting."""
_WIDEST: Final = DecodingConfig(min_length=0, max_length=1024)
"""What settings are laid over to be checked: the narrowest for none of them."""

IDENTIFIER: Final = Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z", extra={"words": "identifier"})
"""The name of a request, conversation, message or stream."""


def bad(where: str, problem: str) -> ProtocolError:
    """The error of a field."""
    return ProtocolError("bad_field", f"{where}: {problem}", field=where)


def line(most: int, *, blank: bool = False) -> Meta:
    """What somebody typed: one clean line (see `convai.core.dialog.check_text`), not blank unless `blank`."""

    def clean(text: str, where: str) -> str:
        if blank and not text.strip():
            return ""
        try:
            return check_text(text, where)
        except DataError as error:
            raise ProtocolError("bad_field", str(error), field=where) from None

    words = f"line of {0 if blank else 1} to {most:,} characters"
    return Meta(max_length=most, extra={"words": words, "check": clean, "blank": blank})


def lines(most: int) -> Meta:
    """What is shown as it was written, in lines (see `convai.core.dialog.check_lines`), not blank."""

    def clean(text: str, where: str) -> str:
        try:
            return check_lines(text, where)
        except DataError as error:
            raise ProtocolError("bad_field", str(error), field=where) from None

    return Meta(max_length=most, extra={"words": f"lines of 1 to {most:,} characters", "check": clean})


def raw(most: int) -> Meta:
    """Text as it is, blanks at its ends included; only lone surrogates are refused."""
    return Meta(max_length=most, extra={"words": f"text of up to {most:,} characters", "check": _whole})


def _whole(text: str, where: str) -> str:
    if _SURROGATE.search(text):
        raise bad(where, "half a surrogate pair, which is no character")
    return text


def whole(least: int, most: int = MAX_WHOLE) -> Meta:
    """A whole number in a range, its ends included."""
    words = f"whole number, {least} " + ("or more" if most == MAX_WHOLE else f"to {most:,}")
    return Meta(ge=least, le=most, extra={"words": words})


def number(least: float, most: float) -> Meta:
    """A finite number in a range, its ends included."""
    return Meta(ge=least, le=most, extra={"words": f"number, {least:g} to {most:g}"})


def free(most: int = LIMITS.data_bytes) -> Meta:
    """Any JSON object, bounded in bytes."""

    def bounded(value: dict[str, Any], where: str) -> dict[str, Any]:
        try:
            size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
        except (ValueError, TypeError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
            raise bad(where, f"no JSON ({type(error).__name__})") from None
        if size > most:
            raise bad(where, f"{size:,} bytes; use at most {most:,}")
        return value

    return Meta(extra={"words": f"object of up to {most:,} bytes", "check": bounded})


def _in_range(value: Mapping[str, Any], where: str) -> dict[str, SettingValue]:
    try:
        checked = laid_over(_WIDEST, value)
    except SettingsError as error:
        raise bad(where, str(error)) from None
    given = {name: getattr(checked, name) for name in value}
    for name, setting in given.items():
        most = getattr(LIMITS, name, MAX_WHOLE if name == "seed" else _MOST_SETTING)
        if isinstance(setting, int | float) and abs(setting) > most:
            raise bad(where, f"{name}={repr(setting)[:40]}: use at most {most:,}")
    return given


SETTINGS: Final = Meta(extra={"words": "decoding settings", "check": _in_range})
"""Some of the decoding settings, each in its range; they are laid over those in use."""
