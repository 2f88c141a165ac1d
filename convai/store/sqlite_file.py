"""What SQLite alone needs: its file, its log, what every connection and transaction begins with."""

from __future__ import annotations

import os
import time
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from sqlite3 import Error as SqliteError
from typing import Any, Final

from sqlalchemy import Connection

from convai.store.errors import StoreError

BUSY_SECONDS: Final = 10
"""How long a writer waits for another process before it gives up."""
APPLICATION_ID: Final = 0x63_6E_76_69
"""Marks a SQLite file as convai's ("cnvi"), for `file` and for ourselves."""
_MAGIC: Final = b"SQLite format 3\0"


def prepare_file(path: Path) -> None:
    """Make an empty file that only its owner may read, or look whether this can be a database."""
    if str(path) in ("", ".", ":memory:"):
        raise StoreError("the store needs a file; name one")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as error:
        if not path.parent.is_dir():
            raise StoreError(f"{path}: cannot be made ({error.strerror}); choose another place") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be made ({error.strerror}); choose another place") from None
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); choose another place") from None
    if head and head != _MAGIC:
        raise StoreError(f"{path}: is no database, or its beginning is damaged; name another file")


def write_ahead(cursor: Any) -> None:
    """Switch to a write-ahead log. SQLite does not wait for others here, who may be opening the file too."""
    for left in reversed(range(int(BUSY_SECONDS * 20))):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except SqliteError as error:
            if not left or "locked" not in str(error):
                raise
            time.sleep(0.05)


def on_connect(connection: SqliteConnection, _record: object) -> None:
    """What a new connection begins with."""
    connection.isolation_level = None  # transactions begin where on_begin says, not where sqlite3 guesses
    connection.create_function("lower", 1, _lower, deterministic=True)
    cursor = connection.cursor()
    for pragma in (
        "foreign_keys = ON",
        "synchronous = NORMAL",  # the log is written to the disk by Disk, for many at once
        "secure_delete = ON",  # what somebody deletes is gone
        "trusted_schema = OFF",
        "cell_size_check = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _lower(text: str | None) -> str | None:
    """SQLite's own lower() knows ASCII only."""
    return None if text is None else str(text).lower()


def on_begin(connection: Connection) -> None:
    """What a transaction begins with."""
    # A writer takes its turn at the beginning: a reader that wants to write later would fail at once.
    write = connection.get_execution_options().get("convai_write")
    # asked of the driver, as in `prepared`: SQLAlchemy's wrapping would take longer than the transaction
    driver: Any = connection.connection.driver_connection
    driver.execute("BEGIN IMMEDIATE" if write else "BEGIN")
