"""What convai needs of a PostgreSQL that is somebody else's: is it there? A line says what is not."""

from __future__ import annotations

import secrets
from contextlib import closing
from typing import Final

from sqlalchemy import Connection, text

from convai.store.database import Database
from convai.store.errors import StoreError

_HEARD: Final = 5.0
"""Seconds in which what one connection tells must have come to another one."""


def check_rights(database: Database) -> None:
    """Raise StoreError where the tables that are missing cannot be made."""
    with database.read() as connection:
        schema, may = connection.execute(
            text("SELECT current_schema(), has_schema_privilege(current_schema(), 'CREATE')")
        ).one()
        if schema is None:
            raise StoreError(
                f"{database.name}: {_path(connection)} names no schema that is there; make it "
                "(CREATE SCHEMA), or name another one (?options=-csearch_path%3DNAME)"
            )
        if not may:
            raise StoreError(
                f"{database.name}: no right to make tables in the schema {schema!r}; let its owner say "
                f"GRANT CREATE ON SCHEMA {schema} TO {_user(connection)}, or use a database of your own"
            )


def check_sessions(database: Database) -> None:
    """Raise StoreError where connections are not sessions: what is heard and locked there would be lost.

    A pooler that hands every transaction to whichever session is free does that.
    """
    channel = f"convai_check_{secrets.token_hex(8)}"
    with database.reported(), closing(database.apart()) as one, closing(database.apart()) as other:
        one.execute(f'LISTEN "{channel}"')
        other.execute("SELECT pg_notify(%s, '')", (channel,))
        for _ in one.notifies(timeout=_HEARD, stop_after=1):
            return
    raise StoreError(
        f"{database.name}: what one connection tells (NOTIFY) does not come to another: a pooler in between "
        "hands each transaction to another session; name PostgreSQL itself, or have the pooler keep sessions "
        "(pgbouncer: pool_mode = session)"
    )


def _path(connection: Connection) -> str:
    return f"search_path ({connection.execute(text('SHOW search_path')).scalar()})"


def _user(connection: Connection) -> str:
    return str(connection.execute(text("SELECT quote_ident(current_user)")).scalar())
