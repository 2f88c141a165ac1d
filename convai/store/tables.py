"""The tables as they are after all migrations; times are milliseconds since 1970 UTC, JSON is text."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

METADATA: Final = MetaData()

conversations: Final = Table(
    "conversations",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    # what somebody called it, and how it begins, for those that nobody named
    Column("title", Text, nullable=False),
    Column("opening", Text, nullable=False),
    Column("settings", Text, nullable=False),
    # the version in use, and the last message of the current branch
    Column("persona", Integer, nullable=False),
    Column("leaf", Text),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Index("conversations_by_owner", "owner", "updated", "id"),
)

personas: Final = Table(
    "personas",
    METADATA,
    Column("conversation", Text, ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("sentences", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    PrimaryKeyConstraint("conversation", "version"),
)


messages: Final = Table(
    "messages",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("conversation", Text, ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("parent", Text),
    # counts the messages of a conversation: a parent's is below its children's, so nothing goes in circles
    Column("number", Integer, nullable=False),
    Column("speaker", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("status", Text, nullable=False),
    # who is writing it, while it is streaming
    Column("writer", Text),
    Column("persona", Integer, nullable=False),
    Column("details", Text, nullable=False),
    Column("request", Text),
    Column("created", BigInteger, nullable=False),
    UniqueConstraint("conversation", "number"),
    UniqueConstraint("conversation", "id"),
    # without a cascade, which goes message by message, and in SQLite no deeper than 1,000
    ForeignKeyConstraint(["conversation", "parent"], ["messages.conversation", "messages.id"]),
    Index("messages_by_parent", "conversation", "parent", "number"),
    Index(
        "messages_being_written",
        "conversation",
        sqlite_where=text("status = 'streaming'"),
        postgresql_where=text("status = 'streaming'"),
    ),
)

requests: Final = Table(
    "requests",
    METADATA,
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    # no foreign keys: a request stays done when what it made is deleted
    Column("conversation", Text, nullable=False),
    Column("message", Text),
    Column("created", BigInteger, nullable=False),
    PrimaryKeyConstraint("owner", "name"),
    Index("requests_by_age", "created"),
)

facts: Final = Table(
    "facts",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("said", Text, nullable=False),
    # no foreign keys: what was told is remembered when the conversation is deleted
    Column("conversation", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    # the fact that took its place
    Column("instead", Text),
    Index("facts_by_owner", "owner", "created", "id"),
)

memories: Final = Table(
    "memories",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("enabled", Integer, nullable=False),
    # another number after every change
    Column("revision", BigInteger, nullable=False),
)

# How doors tell each other of changes (convai.store.change_log); on SQLite, which has one process, empty.
streams: Final = Table(
    "streams",
    METADATA,
    Column("conversation", Text, primary_key=True),
    # its name, the number of the newest change, and what those that came with it are known by
    Column("stream", Text, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("mark", Text),
    # the reply that is being written: by whom, the change it began with, and what it takes to go on with it
    Column("writer", Text),
    Column("begun", BigInteger),
    Column("live", Text),
)

changes: Final = Table(
    "changes",
    METADATA,
    Column("conversation", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("frame", Text, nullable=False),
    # of a token: its id, and the seed that it was drawn with
    Column("token", Integer),
    Column("draw", BigInteger),
    Column("created", BigInteger, nullable=False),
    PrimaryKeyConstraint("conversation", "n"),
    Index("changes_by_age", "created"),
)

writers: Final = Table(
    "writers",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("seen", BigInteger, nullable=False),
)

rates: Final = Table(
    "rates",
    METADATA,
    Column("address", Text, primary_key=True),
    # milliseconds since 1970 up to which it has asked, and those that it has to wait
    Column("spent", BigInteger, nullable=False),
    Column("wait", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
)

imported: Final = Table(
    "imported",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    # a character or a book, and its JSON
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Index("imported_by_owner", "owner", "kind", "created"),
)

scenes: Final = Table(
    "scenes",
    METADATA,
    Column("conversation", Text, ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True),
    # characters by version of the persona, the user, note and lorebooks, as JSON
    Column("scene", Text, nullable=False),
)

migrations: Final = Table(
    "migrations",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("applied", BigInteger, nullable=False),
)
