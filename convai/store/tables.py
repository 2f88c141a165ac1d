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


def _id() -> Column[str]:
    return Column("id", Text, primary_key=True)


def _of_conversation() -> Column[str]:
    """Of a row that goes with its conversation."""
    return Column("conversation", Text, ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _whole(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False)


def _big(name: str) -> Column[int]:
    """A time, or what counts for as long as there is a database."""
    return Column(name, BigInteger, nullable=False)


conversations: Final = Table(
    "conversations",
    METADATA,
    _id(),
    _text("owner"),
    # what somebody called it, and how it begins, for those that nobody named
    _text("title"),
    _text("opening"),
    _text("settings"),
    # the version in use, and the last message of the current branch
    _whole("persona"),
    Column("leaf", Text),
    _big("created"),
    _big("updated"),
    Index("conversations_by_owner", "owner", "updated", "id"),
)

personas: Final = Table(
    "personas",
    METADATA,
    _of_conversation(),
    _whole("version"),
    _text("name"),
    _text("sentences"),
    _big("created"),
    PrimaryKeyConstraint("conversation", "version"),
)


messages: Final = Table(
    "messages",
    METADATA,
    _id(),
    _of_conversation(),
    Column("parent", Text),
    # counts the messages of a conversation: a parent's is below its children's, so nothing goes in circles
    _whole("number"),
    _whole("speaker"),
    _text("text"),
    _text("status"),
    # who is writing it, while it is streaming
    Column("writer", Text),
    _whole("persona"),
    _text("details"),
    Column("request", Text),
    _big("created"),
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
    _text("owner"),
    _text("name"),
    # no foreign keys: a request stays done when what it made is deleted
    _text("conversation"),
    Column("message", Text),
    _big("created"),
    PrimaryKeyConstraint("owner", "name"),
    Index("requests_by_age", "created"),
)

facts: Final = Table(
    "facts",
    METADATA,
    _id(),
    _text("owner"),
    _text("text"),
    _text("said"),
    # no foreign keys: what was told is remembered when the conversation is deleted
    _text("conversation"),
    _text("message"),
    _whole("turn"),
    _big("created"),
    # the fact that took its place
    Column("instead", Text),
    # 1: a remark, in the words it was made in
    _whole("aside"),
    Index("facts_by_owner", "owner", "created", "id"),
)

memories: Final = Table(
    "memories",
    METADATA,
    Column("owner", Text, primary_key=True),
    _whole("enabled"),
    # another number after every change
    _big("revision"),
)

# How doors tell each other of changes (convai.store.change_log); on SQLite, which has one process, empty.
streams: Final = Table(
    "streams",
    METADATA,
    Column("conversation", Text, primary_key=True),
    # its name, the number of the newest change, and what those that came with it are known by
    _text("stream"),
    _big("last"),
    Column("mark", Text),
    # the reply that is being written: by whom, the change it began with, and what it takes to go on with it
    Column("writer", Text),
    Column("begun", BigInteger),
    Column("live", Text),
    # the doors that are told of changes, blanks between them
    Column("followers", Text, nullable=False, server_default=""),
)

changes: Final = Table(
    "changes",
    METADATA,
    _text("conversation"),
    _big("n"),
    _text("frame"),
    # of a token: its id, and the seed that it was drawn with
    Column("token", Integer),
    Column("draw", BigInteger),
    _big("created"),
    PrimaryKeyConstraint("conversation", "n"),
    Index("changes_by_age", "created"),
)

writers: Final = Table(
    "writers",
    METADATA,
    _id(),
    _big("seen"),
)

rates: Final = Table(
    "rates",
    METADATA,
    Column("address", Text, primary_key=True),
    # milliseconds since 1970 up to which it has asked, and those that it has to wait
    _big("spent"),
    _big("wait"),
    _big("seen"),
)

imported: Final = Table(
    "imported",
    METADATA,
    _id(),
    _text("owner"),
    # a character or a book, and its JSON
    _text("kind"),
    _text("name"),
    _text("content"),
    _big("created"),
    Index("imported_by_owner", "owner", "kind", "created"),
)

scenes: Final = Table(
    "scenes",
    METADATA,
    Column("conversation", Text, ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True),
    # characters by version of the persona, the user, note and lorebooks, as JSON
    _text("scene"),
)

migrations: Final = Table(
    "migrations",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    _text("name"),
    _big("applied"),
)
