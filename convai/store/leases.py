"""Which door writes which reply: doors say that they are there, and one that is silent loses its replies.

A door also holds a lock in the database for as long as its connection that listens lives: one that was killed
has let go of it at once, and need not be waited for as long as one that may only be slow.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, select, text, update

from convai.conversation.tree import Conflict
from convai.store import queries, writer
from convai.store.change_log import drawn_tokens, followed_of, stream_row
from convai.store.change_records import DrawnToken
from convai.store.change_statements import LOCK
from convai.store.errors import StoreError
from convai.store.prepared import Prepared, for_psycopg
from convai.store.records import STREAMING, Message
from convai.store.tables import messages, streams
from convai.store.writer import CHANGE_MESSAGE, CLOCK, LIVES, Writer, now, patience

# Built once: building a statement takes longer than running it.
_DRAFT: Final = Prepared(
    select(messages).where(messages.c.id == bindparam("of_message"), messages.c.status == STREAMING)
)
_HAND_OVER: Final = Prepared(update(streams).where(streams.c.conversation == bindparam("of_conversation")))
LEFT_MS: Final = 600_000
"""Replies that were left longer ago are not gone on with."""

_BEAT: Final = for_psycopg(
    f"INSERT INTO writers (id, seen) VALUES (:id, {CLOCK} + :grace) "
    "ON CONFLICT (id) DO UPDATE SET seen = EXCLUDED.seen RETURNING xmax = 0"
)
_SETTLED: Final = for_psycopg(
    f"SELECT {CLOCK} - CAST(extract(epoch FROM pg_postmaster_start_time()) * 1000 AS BIGINT) > :wait"
)
_LIVING: Final = f"WITH living AS MATERIALIZED (SELECT id FROM writers WHERE {LIVES}) "
"""Settled once, and not for each of a thousand replies: locks are looked for in a table of all of them."""
_LEFT: Final = (
    "messages.status = 'streaming' AND messages.created > :since "
    "AND NOT EXISTS (SELECT 1 FROM living WHERE living.id = messages.writer)"
)
_OVER: Final = (
    "streams.live IS NOT NULL AND streams.writer <> :id AND NOT EXISTS (SELECT 1 FROM living "
    "WHERE living.id = streams.writer) AND NOT EXISTS "
    "(SELECT 1 FROM messages WHERE messages.id = CAST(streams.live AS JSON) ->> 'id' "
    "AND messages.status = 'streaming')"
)
_DOORS: Final = for_psycopg(f"SELECT id FROM writers WHERE {LIVES}")
_MISSING: Final = for_psycopg(
    f"{_LIVING} SELECT EXISTS (SELECT 1 FROM messages WHERE {_LEFT}) "
    f"OR EXISTS (SELECT 1 FROM streams WHERE {_OVER})"
)
"""Whether there is something of a door that is gone."""
_ORPHANS: Final = text(
    f"{_LIVING} SELECT messages.id, messages.conversation, conversations.owner FROM messages "
    f"JOIN conversations ON conversations.id = messages.conversation WHERE {_LEFT} "
    "ORDER BY hashtext(messages.id || :id) LIMIT 32"
)
"""Some of them, in an order of this door's own: others take up the others meanwhile."""
_UNSAID: Final = text(
    f"{_LIVING} UPDATE streams SET writer = :id FROM conversations "
    f"WHERE conversations.id = streams.conversation AND {_OVER} "
    "RETURNING streams.conversation, conversations.owner, CAST(streams.live AS JSON) ->> 'id' AS message"
)


class Orphan(NamedTuple):
    """A reply whose writer is gone."""

    message: str
    conversation: str
    owner: str


class Claimed(NamedTuple):
    """One that is ours now: its draft, what its writer wrote down of it, and its tokens so far."""

    draft: Message
    live: dict[str, Any] | None
    tokens: list[tuple[DrawnToken, float]]


class Leases:
    """The doors of one database, and what they write. Safe to use from any thread."""

    def __init__(self, writer: Writer) -> None:
        self._database, self._writer = writer.database, writer

    def settled(self) -> bool:
        """Whether the database has been there for so long that all who live have said so."""
        with self._database.at_once() as cursor:
            return bool(cursor.execute(_SETTLED, {"wait": 2 * writer.UNLOCKED_MS}).fetchone()[0])

    def living(self) -> frozenset[str]:
        """The doors that live: what tells that one has died, and costs little however much is written."""
        with self._database.at_once() as cursor:
            return frozenset(id for (id,) in cursor.execute(_DOORS, patience()).fetchall())

    def missing(self) -> bool:
        """Whether there are `orphans`, or something `unsaid`. Reads all replies that are being written."""
        with self._database.at_once() as cursor:
            values = {"id": self._writer.id, "since": now() - LEFT_MS, **patience()}
            return bool(cursor.execute(_MISSING, values).fetchone()[0])

    def beat(self, held: bool = True) -> bool:
        """This door is there. Without its lock (`held`) a sign of life is good for longer.

        Returns whether it was not known: it is new, or was taken for gone and forgotten.
        """
        grace = 0 if held else writer.UNLOCKED_MS - writer.UNHELD_MS
        with self._database.at_once() as cursor:
            return bool(cursor.execute(_BEAT, {"id": self._writer.id, "grace": grace}).fetchone()[0])

    def leave(self) -> None:
        """This door is gone: its replies are anybody's."""
        with self._database.write() as connection:
            connection.execute(text("DELETE FROM writers WHERE id = :id"), {"id": self._writer.id})

    def orphans(self) -> list[Orphan]:
        """Replies whose writer has gone, some of them."""
        with self._database.read() as connection:
            values = {"id": self._writer.id, "since": now() - LEFT_MS, **patience()}
            rows = connection.execute(_ORPHANS, values)
            return [Orphan(row.id, row.conversation, row.owner) for row in rows]

    def claim(self, orphan: Orphan, *, ours: bool = False) -> Claimed | None:
        """Make such a reply ours; None where another door was faster, or its writer has come back.

        `ours`: it may be ours already, by an earlier claim whose answer was lost, and nobody writes it then.
        """
        with self._database.write() as connection:
            with suppress(StoreError, Conflict):
                row = queries.owned(connection, orphan.owner, orphan.conversation, lock=True)
                kept = _DRAFT.one_or_none(connection, {"of_message": orphan.message})
                if kept is None:
                    return None
                mine = kept.writer == self._writer.id
                if not (mine and ours) and (mine or self._writer.alive(connection, [kept])):
                    return None
                CHANGE_MESSAGE.run(connection, {"of_message": kept.id, "writer": self._writer.id})
                beside = queries.children(connection, row.id, kept.parent, self._writer.id)
                draft = queries.message_of(
                    {**kept._mapping, "writer": self._writer.id}, beside, self._writer.id
                )
                at = connection.execute(LOCK, {"ids": [row.id]}).one_or_none()
                if at is None or at.writer != kept.writer:
                    return Claimed(draft, None, [])
                stream = stream_row(connection, row.id)
                found = drawn_tokens(connection, stream)
                _HAND_OVER.run(connection, {"of_conversation": row.id, "writer": self._writer.id})
                tokens = [(drawn, float(frame.get("logprob") or 0.0)) for frame, drawn in found]
                return Claimed(draft, followed_of(stream, []).live, tokens)
        return None

    def unsaid(self) -> list[tuple[Orphan, Message]]:
        """Replies that are whole, or dropped, whose writer went before it could say so; ours to tell now."""
        found: list[tuple[Orphan, Message]] = []
        with self._database.write() as connection:
            rows = connection.execute(_UNSAID, {"id": self._writer.id, **patience()}).all()
            for row in rows:
                with suppress(StoreError):
                    kept = queries.message_row(connection, row.conversation, row.message, self._writer.id)
                    [whole] = queries.with_siblings(connection, row.conversation, [kept], self._writer.id)
                    found.append((Orphan(row.message, row.conversation, row.owner), whole))
        return found
