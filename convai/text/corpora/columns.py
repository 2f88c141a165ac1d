"""What the columns of a table, or the keys of JSON, are called where they have names of their own.

`--column Frage=prompt --column Antwort=completion` says so; within `columns_named` every file is read as if
it had the known names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from convai.core.errors import DataError

KNOWN: Final = ("prompt", "completion", "conversation", "speaker", "text", "persona", "chat", "split")
"""What a column may be said to be: an exchange's, a turn's, a chat's; the part of the file."""
OPTION: Final = "--column Frage=prompt --column Antwort=completion"
"""How it is written, for those who are told of it."""

_NAMED: ContextVar[Mapping[str, str] | None] = ContextVar("columns", default=None)


def parse_columns(given: Iterable[str]) -> dict[str, str]:
    """The names of columns → what they are, from texts `THEIRS=KNOWN`. Raises DataError for anything else."""
    found = dict[str, str]()
    for text in given:
        theirs, equals, known = text.rpartition("=")
        theirs, known = theirs.strip(), known.strip().lower()
        if not equals or not theirs or known not in KNOWN:
            raise DataError(f"--column={text}: write NAME=WHAT, WHAT being one of {', '.join(KNOWN)}")
        if known in found.values():
            raise DataError(f"--column={text}: a second column that is {known}; name one")
        found[theirs] = known
    return found


@contextmanager
def columns_named(columns: Mapping[str, str] | None) -> Iterator[None]:
    """Within the block columns and keys have these names besides their own."""
    token = _NAMED.set({theirs.lower(): known for theirs, known in columns.items()} if columns else None)
    try:
        yield
    finally:
        _NAMED.reset(token)


def is_renaming() -> bool:
    """Whether anything has another name."""
    return _NAMED.get() is not None


def known_names(header: Sequence[str]) -> list[str]:
    """The names of a table's columns, trimmed, those that somebody has named replaced.

    A column that has such a name itself, and is not meant, has none.
    """
    given = _NAMED.get()
    if given is None:
        return [name.strip() for name in header]
    own = [name.strip() for name in header]
    names = [given.get(name.lower(), "" if name.lower() in given.values() else name) for name in own]
    if "speaker" in names:  # a turn a row, of the conversation with that name
        names = ["conversation_id" if name == "conversation" else name for name in names]
    return names


def not_there(names: Sequence[str]) -> list[str]:
    """The columns that somebody has named and that a table with these `known_names` does not have."""
    there = {*names, "conversation"} if "conversation_id" in names else {*names}
    return [theirs for theirs, known in (_NAMED.get() or {}).items() if known not in there]


def known_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON with its keys likewise (`object_pairs_hook`)."""
    given = _NAMED.get() or {}
    meant = {given[key.strip().lower()]: value for key, value in pairs if key.strip().lower() in given}
    return {**{key: value for key, value in pairs if key.strip().lower() not in given}, **meant}
