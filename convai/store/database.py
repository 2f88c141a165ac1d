"""Opening a database, and its transactions: SQLite in WAL mode with one writer, or PostgreSQL.

What does not look like a database of convai's is reported and left as it is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from convai.store import sqlite_file
from convai.store.disk import Disk
from convai.store.errors import StoreError
from convai.store.migrations import MIGRATIONS, Migration, applied, migrate, pending

_NOTICED: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 4_000,
}
"""What tells that a database server on another machine cannot be reached any more, within five seconds, twice
what the server itself waits for a door (`change_log.ANSWERS`): left to themselves, connections over a cut
cable wait for a quarter of an hour (libpq's options; the last one in milliseconds)."""
_OLDEST: Final = (12,)
"""The version of PostgreSQL from which on all that is asked of it is there (`plan_cache_mode`)."""
_LOCK: Final = 0x63_6E_76_69
"""Of PostgreSQL's advisory locks, that of the migrations."""


class Database:
    """Connections to one database. `read` and `write` are safe to use from any thread."""

    def __init__(
        self,
        where: str | os.PathLike[str],
        known: Sequence[Migration] = MIGRATIONS,
        *,
        change: bool = True,
    ) -> None:
        """Open a file (made if there is none) or a URL (`sqlite:///file`, `postgresql://host/name`).

        Raises StoreError for what cannot be opened, is damaged, belongs to something else, or was written
        by a later convai; nothing is changed then. Without `change` one of an earlier convai stays as it is.
        """
        url = _url(where)
        self.sqlite = url.get_backend_name() == "sqlite"
        self.name = url.database or "" if self.sqlite else url.render_as_string(hide_password=True)
        if self.sqlite:
            sqlite_file.prepare_file(Path(self.name))
        # One writer at a time waits here, where waiting costs nothing, and not inside SQLite, which polls.
        self._turn = threading.Lock() if self.sqlite else nullcontext()
        self._disk = Disk(Path(f"{self.name}-wal")) if self.sqlite else None
        self._together = threading.local()
        self._steady: Any = None
        self._steady_turn = threading.Lock()
        self._closed = False
        self.behind = False
        """Whether it was written by an earlier convai, before it was opened here."""
        self.missing = False
        """Whether there was nothing of convai's in it before."""
        self.engine = self._engine(url)
        self.driver_error: type[Exception] = self.engine.dialect.loaded_dbapi.Error
        """What the database's driver raises."""
        try:
            with self.reported():
                self._check(known)
                if change:
                    self._migrate(known)
        except BaseException:
            self.engine.dispose()
            raise

    def close(self) -> None:
        """Close the connections; one that a thread still has is closed when it gives it back."""
        self._closed = True
        with self._steady_turn:
            self._leave_steady()
        self.engine.dispose()

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """What this thread reads in the block is as it was at its first query: one transaction for all."""
        with self.read() as self._together.moment:
            try:
                yield
            finally:
                self._together.moment = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees the database as it is at its first query, whatever is written meanwhile."""
        moment: Connection | None = getattr(self._together, "moment", None)
        if moment is not None:
            with self.reported():
                yield moment
            return
        with self.reported(), self._connection() as connection:
            if self.sqlite:
                connection.execution_options(convai_write=False)
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is on the disk when the block ends, and undone if it raises.

        Inside of `together` it is committed then, and on the disk when that ends.
        """
        with self.reported():
            with self._turn, self._connection() as connection:
                connection.execution_options(convai_write=True)
                with connection.begin():
                    yield connection
            if getattr(self._together, "on", False):
                self._together.written = True
            elif self._disk is not None:
                self._disk.sync()

    @contextmanager
    def at_once(self) -> Iterator[Any]:
        """psycopg's cursor, whose every statement is a transaction of the server; one block at a time.

        Its connection stays open, for what is asked all the time: to take one out of the pool, to ask by way
        of SQLAlchemy and to have the server plan the statement anew costs several times what the statement
        does. After an error the next block has another one.
        """
        with self.reported(), self._steady_turn:
            if self._steady is None:
                self._steady = self.apart().cursor()
            try:
                yield self._steady
            except BaseException:
                self._leave_steady()
                raise
            if self._closed:
                self._leave_steady()

    def _leave_steady(self) -> None:
        cursor, self._steady = self._steady, None
        if cursor is not None:
            cursor.connection.close()

    def apart(self) -> Any:
        """A connection of psycopg's to a database server that belongs to the caller, who closes it: its
        statements are transactions of their own, planned once, that do not wait for the disk.
        """
        raw = self.engine.raw_connection()
        driver: Any = raw.driver_connection
        raw.detach()
        try:
            driver.autocommit = True
            driver.execute("SET plan_cache_mode TO force_generic_plan")
            driver.execute("SET synchronous_commit TO off")
        except BaseException:
            driver.close()
            raise
        return driver

    @contextmanager
    def together(self) -> Iterator[None]:
        """What this thread writes in the block goes to the disk at its end, in one go.

        Nothing of it may be called safe before. Where the database server sees to the disk, with PostgreSQL,
        every transaction waits for that by itself. The transactions have one connection: taking one out of
        the pool takes longer than SQLite's answer.
        """
        self._together.on, self._together.written = True, False
        try:
            with self.reported(), self.engine.connect() as self._together.connection:
                yield
        finally:
            self._together.on, self._together.connection = False, None
            if self._together.written and self._disk is not None:
                with self.reported():
                    self._disk.sync()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        held: Connection | None = getattr(self._together, "connection", None)
        if held is None or held.in_transaction() or held.invalidated:
            with self.engine.connect() as connection:
                yield connection
        else:
            yield held

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Turn the database's errors, and ours without a place, into one line that names the place."""
        try:
            yield
        except (DBAPIError, self.driver_error) as error:
            said = error.orig if isinstance(error, DBAPIError) else error
            reason = " ".join(str(said).split())
            raise StoreError(f"{self.name}: {reason}; {_mend(reason)}") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError(f"{self.name}: {reason}; {_mend(reason)}") from error

    def _engine(self, url: URL) -> Engine:
        arguments: dict[str, Any] = {"timeout": sqlite_file.BUSY_SECONDS}
        if not self.sqlite:  # what the URL says itself holds
            arguments = {name: value for name, value in _NOTICED.items() if name not in url.query}
        try:
            engine = create_engine(
                url, connect_args=arguments, pool_size=8, max_overflow=32, pool_pre_ping=not self.sqlite
            )
        except (ModuleNotFoundError, NoSuchModuleError) as error:
            raise StoreError(
                f"{self.name}: no driver for it ({error}); use sqlite:/// or postgresql://, the latter with "
                "pip install 'convai[postgresql]'"
            ) from None
        event.listen(engine, "checkin", self._given_back)
        if self.sqlite:
            event.listen(engine, "connect", sqlite_file.on_connect)
            event.listen(engine, "begin", sqlite_file.on_begin)
        return engine

    def _given_back(self, connection: Any, entry: ConnectionPoolEntry) -> None:
        """Its pool is gone where the store was closed meanwhile: nobody else would close it."""
        if self._closed:
            entry.close()

    def _check(self, known: Sequence[Migration]) -> None:
        """Refuse what is damaged, foreign or too new, before anything is written."""
        with self.engine.connect() as connection:
            if self.sqlite:
                found = connection.execute(text("PRAGMA quick_check(1)")).scalar()
                if found != "ok":
                    reason = " ".join(str(found).split())
                    raise StoreError(f"{self.name}: the database is damaged ({reason}); restore a copy")
            else:
                found = connection.dialect.server_version_info or ()
                if found < _OLDEST:
                    version = ".".join(map(str, found))
                    raise StoreError(
                        f"{self.name}: PostgreSQL {version}, which is too old; use {_OLDEST[0]} or later"
                    )
            try:
                self.missing = (done := applied(connection)) is None
                self.behind = bool(pending(done, known)) and done is not None
            except StoreError as error:
                raise StoreError(f"{self.name}: {error}") from None

    def _migrate(self, known: Sequence[Migration]) -> None:
        if self.sqlite:
            with self.engine.connect() as connection:
                raw = connection.connection.cursor()
                sqlite_file.write_ahead(raw)
                raw.close()
        with self.write() as connection:
            if self.sqlite:
                connection.execute(text(f"PRAGMA application_id = {sqlite_file.APPLICATION_ID}"))
            else:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            migrate(connection, known)


def _url(where: str | os.PathLike[str]) -> URL:
    if not isinstance(where, str) or "://" not in where:
        return URL.create("sqlite", database=os.fspath(where))
    try:
        url = make_url(where)
    except (ArgumentError, ValueError):
        raise StoreError(
            "the store's URL cannot be read; it is like postgresql://user:password@host/name"
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    return url


def _mend(reason: str) -> str:
    said = reason.lower()
    for words, mend in (
        ("locked", "another process holds it; try again"),
        ("full", "free some space"),
        ("no space", "free some space"),
        ("malformed", "it is damaged; restore a copy"),
        ("not a database", "name another file"),
        ("readonly", "choose a place that you may write to"),
        ("unable to open", "check the path and its permissions"),
        ("connect", "check that the server runs and the URL is right"),
    ):
        if words in said:
            return mend
    return "look at the database"
