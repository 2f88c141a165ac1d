"""How a database came to have its tables: numbered steps, each applied once, all of them or none.

A step that has been released is never changed; what comes later is a new one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, insert, inspect, select, text

from convai.store import tables
from convai.store.errors import StoreError


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: its statements are understood by SQLite and PostgreSQL alike."""

    number: int
    name: str
    statements: tuple[str, ...]


_UNLOGGED: Final = "/* UNLOGGED */"
"""In a statement: PostgreSQL writes no log for this table, and empties it after a crash."""

MIGRATIONS: Final = (
    Migration(
        1,
        "conversations as trees of messages",
        (
            """CREATE TABLE conversations (
                id TEXT NOT NULL PRIMARY KEY,
                owner TEXT NOT NULL,
                title TEXT NOT NULL,
                opening TEXT NOT NULL,
                settings TEXT NOT NULL,
                persona INTEGER NOT NULL,
                leaf TEXT,
                created BIGINT NOT NULL,
                updated BIGINT NOT NULL
            )""",
            "CREATE INDEX conversations_by_owner ON conversations (owner, updated, id)",
            """CREATE TABLE personas (
                conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
                version INTEGER NOT NULL,
                name TEXT NOT NULL,
                sentences TEXT NOT NULL,
                created BIGINT NOT NULL,
                PRIMARY KEY (conversation, version)
            )""",
            """CREATE TABLE messages (
                id TEXT NOT NULL PRIMARY KEY,
                conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
                parent TEXT,
                number INTEGER NOT NULL,
                speaker INTEGER NOT NULL,
                text TEXT NOT NULL,
                status TEXT NOT NULL,
                writer TEXT,
                persona INTEGER NOT NULL,
                details TEXT NOT NULL,
                created BIGINT NOT NULL,
                UNIQUE (conversation, number),
                UNIQUE (conversation, id),
                FOREIGN KEY (conversation, parent) REFERENCES messages (conversation, id)
            )""",
            "CREATE INDEX messages_by_parent ON messages (conversation, parent)",
        ),
    ),
    Migration(
        2,
        "requests that are done once",
        (
            """CREATE TABLE requests (
                owner TEXT NOT NULL,
                name TEXT NOT NULL,
                conversation TEXT NOT NULL,
                message TEXT,
                created BIGINT NOT NULL,
                PRIMARY KEY (owner, name)
            )""",
            "CREATE INDEX requests_by_age ON requests (created)",
            "ALTER TABLE messages ADD COLUMN request TEXT",
        ),
    ),
    Migration(
        3,
        "what people told of themselves",
        (
            """CREATE TABLE facts (
                id TEXT NOT NULL PRIMARY KEY,
                owner TEXT NOT NULL,
                text TEXT NOT NULL,
                said TEXT NOT NULL,
                conversation TEXT NOT NULL,
                message TEXT NOT NULL,
                turn INTEGER NOT NULL,
                created BIGINT NOT NULL,
                instead TEXT
            )""",
            "CREATE INDEX facts_by_owner ON facts (owner, created, id)",
            """CREATE TABLE memories (
                owner TEXT NOT NULL PRIMARY KEY,
                enabled INTEGER NOT NULL,
                revision BIGINT NOT NULL
            )""",
        ),
    ),
    Migration(
        4,
        "what is said takes as long in a long conversation as in a short one",
        (
            "DROP INDEX messages_by_parent",
            "CREATE INDEX messages_by_parent ON messages (conversation, parent, number)",
            "CREATE INDEX messages_being_written ON messages (conversation) WHERE status = 'streaming'",
        ),
    ),
    Migration(
        5,
        "several doors on one database",
        (
            # not logged: what is in them matters while somebody reads, and readers begin anew after a crash
            """CREATE /* UNLOGGED */ TABLE streams (
                conversation TEXT NOT NULL PRIMARY KEY,
                stream TEXT NOT NULL,
                last BIGINT NOT NULL,
                mark TEXT,
                writer TEXT,
                begun BIGINT,
                live TEXT
            )""",
            """CREATE /* UNLOGGED */ TABLE changes (
                conversation TEXT NOT NULL,
                n BIGINT NOT NULL,
                frame TEXT NOT NULL,
                token INTEGER,
                draw BIGINT,
                created BIGINT NOT NULL,
                PRIMARY KEY (conversation, n)
            )""",
            """CREATE /* UNLOGGED */ TABLE writers (
                id TEXT NOT NULL PRIMARY KEY,
                seen BIGINT NOT NULL
            )""",
            """CREATE /* UNLOGGED */ TABLE rates (
                address TEXT NOT NULL PRIMARY KEY,
                spent BIGINT NOT NULL,
                wait BIGINT NOT NULL,
                seen BIGINT NOT NULL
            )""",
            "CREATE INDEX changes_by_age ON changes (created)",
        ),
    ),
    Migration(
        6,
        "characters, lorebooks, and what is in a conversation",
        (
            """CREATE TABLE imported (
                id TEXT NOT NULL PRIMARY KEY,
                owner TEXT NOT NULL,
                kind TEXT NOT NULL,
                name TEXT NOT NULL,
                content TEXT NOT NULL,
                created BIGINT NOT NULL
            )""",
            "CREATE INDEX imported_by_owner ON imported (owner, kind, created)",
            """CREATE TABLE scenes (
                conversation TEXT NOT NULL PRIMARY KEY REFERENCES conversations (id) ON DELETE CASCADE,
                scene TEXT NOT NULL
            )""",
        ),
    ),
    Migration(
        7,
        "remarks beside facts",
        ("ALTER TABLE facts ADD COLUMN aside INTEGER NOT NULL DEFAULT 0",),
    ),
    Migration(
        8,
        "who follows a conversation",
        ("ALTER TABLE streams ADD COLUMN followers TEXT NOT NULL DEFAULT ''",),
    ),
)


def applied(connection: Connection) -> list[int] | None:
    """The numbers of the steps that this database has had, in order; None for an empty database.

    Raises StoreError for a database with tables of somebody else's.
    """
    names = set(inspect(connection).get_table_names())
    if not names:
        return None
    if tables.migrations.name not in names or not _is_ours(connection):
        listed = ", ".join(sorted(names)[:3])
        raise StoreError(f"it belongs to something else (it has the tables {listed}); name another database")
    return list(connection.scalars(select(tables.migrations.c.number).order_by(tables.migrations.c.number)))


def _is_ours(connection: Connection) -> bool:
    columns = {column["name"] for column in inspect(connection).get_columns(tables.migrations.name)}
    return columns == {column.name for column in tables.migrations.columns}


def pending(done: Sequence[int] | None, known: Sequence[Migration] = MIGRATIONS) -> list[Migration]:
    """The steps that are still to be taken.

    Raises StoreError for a database from a later convai, and for one whose steps have a gap.
    """
    numbers = [step.number for step in known]
    if done and done[-1] > numbers[-1]:
        raise StoreError(
            f"it was written by a later convai (version {done[-1]}, known is {numbers[-1]}); update convai"
        )
    if list(done or ()) != numbers[: len(done or ())]:
        raise StoreError(f"its list of migrations is damaged ({done}); restore a copy")
    return list(known[len(done or ()) :])


def migrate(connection: Connection, known: Sequence[Migration] = MIGRATIONS) -> None:
    """Take the pending steps, inside the transaction that `connection` is in."""
    done = applied(connection)
    unlogged = connection.dialect.name == "postgresql"
    for step in pending(done, known):
        if step.number == known[0].number:
            tables.migrations.create(connection)
        for statement in step.statements:
            connection.execute(text(statement.replace(_UNLOGGED, "UNLOGGED") if unlogged else statement))
        connection.execute(
            insert(tables.migrations).values(
                number=step.number, name=step.name, applied=time.time_ns() // 1_000_000
            )
        )
