"""Statements that are built and compiled once, for what is done with every message.

With SQLite, which answers in microseconds, building a statement, looking up its compiled text and wrapping
its rows take many times as long as the answer, and hold the interpreter meanwhile. So its driver is given the
text and the values as they are. PostgreSQL is asked by SQLAlchemy. Rows have their columns as attributes
either way.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, UpdateBase, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql import Select
from sqlalchemy.sql.compiler import SQLCompiler

_PSYCOPG: Final = PGDialect_psycopg()  # type: ignore[no-untyped-call]
Values = Mapping[str, Any]
_row_type: Any = namedtuple  # whose fields are known at run time alone
Row = Any
"""A row, with its columns as attributes and `_asdict()`."""


class _Compiled:
    """A statement's text for one set of named values."""

    def __init__(self, compiled: SQLCompiler, given: Sequence[str]) -> None:
        self.text = str(compiled)
        constants = compiled.params
        places = compiled.positiontup or []
        self._places = [(name, None if name in given else constants[name]) for name in places]
        self._given = frozenset(given)
        columns = [entry.keyname for entry in compiled._result_columns]
        self.row: Callable[[Iterable[Any]], Row] | None = _row_type("Row", columns)._make if columns else None

    def values(self, values: Values) -> tuple[Any, ...]:
        """The values in the order of the text's question marks."""
        given = self._given
        return tuple(values[name] if name in given else constant for name, constant in self._places)


class Prepared:
    """A statement whose values are named; those that it sets are chosen with every call."""

    def __init__(self, statement: Select[Any] | UpdateBase) -> None:
        self._statement = statement
        self._compiled: dict[tuple[str, ...], _Compiled] = {}

    def all(self, connection: Connection, values: Values) -> Sequence[Row]:
        """Run it; the rows. Raises what the database's driver does, or SQLAlchemy for it."""
        if connection.dialect.name != "sqlite":
            return connection.execute(self._statement, dict(values)).all()
        compiled = self._for(connection, values)
        found = _driver(connection).execute(compiled.text, compiled.values(values))
        return found.fetchall() if compiled.row is None else [*map(compiled.row, found)]

    def one_or_none(self, connection: Connection, values: Values) -> Row | None:
        """The one row that there is, if any."""
        found = self.all(connection, values)
        assert len(found) < 2, "one row was asked for"
        return found[0] if found else None

    def run(self, connection: Connection, *rows: Values) -> None:
        """Run it for each of `rows`, all of which name the same values."""
        if connection.dialect.name != "sqlite":
            connection.execute(self._statement, [dict(row) for row in rows])
            return
        compiled = self._for(connection, rows[0])
        _driver(connection).executemany(compiled.text, [compiled.values(row) for row in rows])

    def _for(self, connection: Connection, values: Values) -> _Compiled:
        given = tuple(values)
        known = self._compiled.get(given)
        if known is None:
            compiled: Any = self._statement.compile(dialect=connection.dialect, column_keys=list(given))
            known = self._compiled[given] = _Compiled(compiled, given)
        return known


def for_psycopg(statement: str) -> str:
    """A statement whose values are `:names`, as SQLAlchemy has its driver for PostgreSQL asked."""
    return str(text(statement).compile(dialect=_PSYCOPG))


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection
