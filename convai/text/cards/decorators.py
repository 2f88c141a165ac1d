"""Decorators of a lorebook's entry, the `@@name value` lines at its beginning: read, and written.

Source: SPEC_V3.md ("Decorators").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from convai.core.character import LoreEntry, Role
from convai.core.safe_text import one_line

MAX_KEYS: Final = 200
"""Keys of an entry."""
MAX_KEY: Final = 500
"""Characters of a key."""
_DECORATOR: Final = re.compile(r"@@@?([a-z_]+)[ \t]*([^\n]{0,1000})")
ROLES: Final[tuple[Role, ...]] = ("system", "user", "assistant")
"""SillyTavern's roles, by their number."""


def decorated(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The content without its decorators, and those that are known, fallbacks only where theirs is not."""
    lines = text.replace("\r\n", "\n").split("\n")
    found: list[tuple[str, str]] = []
    place, taken = 0, False
    for place, line in enumerate([*lines, ""]):
        if not line.strip() and place < len(lines):
            continue
        match = _DECORATOR.fullmatch(line.strip())
        if match is None:
            break
        fallback = line.strip().startswith("@@@")
        name, value = match[1], match[2].strip()
        if fallback and taken:
            continue
        taken = name in _CONDITIONS and _CONDITIONS[name](value) is not None
        if taken and name not in (known for known, _ in found):
            found.append((name, value))
    return "\n".join(lines[place:]).strip(), found


def conditions(decorators: list[tuple[str, str]]) -> dict[str, Any]:
    """The fields of an entry that decorators set."""
    values: dict[str, Any] = {}
    for name, value in decorators:
        values |= _CONDITIONS[name](value) or {}
    return values


def _whole(field: str) -> Callable[[str], dict[str, Any] | None]:
    return lambda value: {field: min(int(value), 1_000)} if value.isdecimal() and len(value) < 10 else None


def _always(field: str, to: object) -> Callable[[str], dict[str, Any] | None]:
    return lambda _value: {field: to}


def _listed(field: str) -> Callable[[str], dict[str, Any] | None]:
    return lambda value: {field: keys_in(value)} if value else None


def keys_in(value: object) -> tuple[str, ...]:
    """The keys of an entry, listed or between commas; a regular expression (`/a,b/`) is one."""
    if isinstance(value, str):
        value = [value] if value.strip().startswith("/") else value.split(",")
    if not isinstance(value, list):
        return ()
    keys = (one_line(key).strip()[:MAX_KEY] for key in value if isinstance(key, str))
    return tuple(key for key in keys if key)[:MAX_KEYS]


_POSITIONS: Final = {
    "before_desc": "before_char",
    "after_desc": "after_char",
    "personality": "after_char",
    "scenario": "after_char",
}
_CONDITIONS: Final[dict[str, Callable[[str], dict[str, Any] | None]]] = {
    "depth": _whole("depth"),
    "scan_depth": _whole("scan_depth"),
    "activate_only_after": _whole("after"),
    "activate_only_every": _whole("every"),
    "additional_keys": _listed("additional_keys"),
    "exclude_keys": _listed("exclude_keys"),
    "activate": _always("activate", True),
    "dont_activate": _always("activate", False),
    "keep_activate_after_match": _always("after_match", "keep"),
    "dont_activate_after_match": _always("after_match", "stop"),
    "is_greeting": _whole("greeting"),
    "role": lambda value: {"role": value} if value in ROLES else None,
    "position": lambda value: {"position": _POSITIONS[value], "depth": None} if value in _POSITIONS else None,
}


def written(entry: LoreEntry) -> Iterator[str]:
    """The decorators of an entry, without their marks."""
    if entry.after:
        yield f"activate_only_after {entry.after}"
    if entry.every:
        yield f"activate_only_every {entry.every}"
    if entry.additional_keys:
        yield f"additional_keys {','.join(entry.additional_keys)}"
    if entry.exclude_keys:
        yield f"exclude_keys {','.join(entry.exclude_keys)}"
    if entry.activate is not None:
        yield "activate" if entry.activate else "dont_activate"
    if entry.after_match:
        yield f"{'keep' if entry.after_match == 'keep' else 'dont'}_activate_after_match"
    if entry.greeting is not None:
        yield f"is_greeting {entry.greeting}"
