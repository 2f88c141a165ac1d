"""The statements of the log of changes: streams, their changes, and what is told by NOTIFY."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

MOST_KEPT: Final = 256
"""Changes of a conversation that are kept, and those of a reply that is being written."""
TOLD: Final = "told"
"""How a notification of changes begins; the door that tells them follows, then conversations with their
newest numbers and their streams."""

OPEN: Final = text(
    "INSERT INTO streams (conversation, stream, last) VALUES (:conversation, :stream, 0) "
    "ON CONFLICT (conversation) DO NOTHING"
)
LOCK: Final = text(
    "SELECT conversation, stream, last, mark, writer, begun FROM streams "
    "WHERE conversation = ANY(CAST(:ids AS TEXT[])) ORDER BY conversation FOR UPDATE"
)
ADD: Final = text(
    "INSERT INTO changes (conversation, n, frame, token, draw, created) SELECT * FROM unnest("
    "CAST(:ids AS TEXT[]), CAST(:numbers AS BIGINT[]), CAST(:frames AS TEXT[]), CAST(:tokens AS INTEGER[]), "
    "CAST(:draws AS BIGINT[]), CAST(:times AS BIGINT[]))"
)
MOVE: Final = text(
    "UPDATE streams SET last = new.last, mark = new.mark, writer = new.writer, begun = new.begun, live = "
    "CASE WHEN new.keep THEN streams.live ELSE new.live END FROM unnest("
    "CAST(:ids AS TEXT[]), CAST(:lasts AS BIGINT[]), CAST(:marks AS TEXT[]), "
    "CAST(:writers AS TEXT[]), CAST(:begun AS BIGINT[]), "
    "CAST(:keeps AS BOOLEAN[]), CAST(:lives AS TEXT[])) AS new(id, last, mark, writer, begun, keep, live) "
    "WHERE streams.conversation = new.id"
)
PRUNE: Final = text(
    f"DELETE FROM changes USING streams WHERE changes.conversation = ANY(CAST(:ids AS TEXT[])) "
    f"AND streams.conversation = changes.conversation AND changes.n <= streams.last - {MOST_KEPT} "
    "AND (streams.begun IS NULL OR changes.n < streams.begun)"
)
TOKENS: Final = text(
    "WITH given AS (SELECT * FROM unnest(CAST(:streamed AS TEXT[]), CAST(:streams AS TEXT[]), "
    "CAST(:lasts AS BIGINT[]), CAST(:counts AS INTEGER[]), CAST(:marks AS TEXT[])) "
    "AS given(conversation, stream, last, count, mark)), "
    "held AS (SELECT conversation FROM streams WHERE conversation = ANY(CAST(:streamed AS TEXT[])) "
    "ORDER BY conversation FOR UPDATE), "
    "moved AS (UPDATE streams SET last = given.last + given.count, mark = given.mark FROM given, held "
    "WHERE streams.conversation = held.conversation AND given.conversation = held.conversation "
    "AND streams.stream = given.stream AND streams.last = given.last AND streams.writer = :writer "
    "RETURNING streams.conversation, streams.last, streams.stream), "
    "added AS (INSERT INTO changes (conversation, n, frame, token, draw, created) "
    "SELECT one.* FROM unnest(CAST(:ids AS TEXT[]), CAST(:numbers AS BIGINT[]), CAST(:frames AS TEXT[]), "
    "CAST(:tokens AS INTEGER[]), CAST(:draws AS BIGINT[]), CAST(:times AS BIGINT[])) "
    "AS one(conversation, n, frame, token, draw, created) JOIN moved USING (conversation)) "
    f"SELECT array_agg(conversation), pg_notify(:channel, '{TOLD} ' || CAST(:writer AS TEXT) || "
    "string_agg(' ' || conversation || ' ' || last || ' ' || stream, '')) FROM moved HAVING count(*) > 0"
)
"""What is told most: tokens of replies that are written here, in streams that are known here to the last
number, all in one statement. What anybody else has told meanwhile is left as it is, and not returned."""
TELL: Final = text("SELECT pg_notify(:channel, said) FROM unnest(CAST(:said AS TEXT[])) AS said")
