"""The statements of the log of changes: streams, their changes, and what is told by NOTIFY."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

MOST_KEPT: Final = 256
"""Changes of a conversation that are kept, and those of a reply that is being written."""
TOLD: Final = "told"
"""How a notification of changes begins; the door that tells them follows, then conversations with their
newest numbers and their streams."""

FOLLOW: Final = text(
    "INSERT INTO streams AS s (conversation, stream, last, followers) "
    "VALUES (:conversation, :stream, 0, :door) ON CONFLICT (conversation) DO UPDATE SET followers = CASE "
    "WHEN :door = ANY(string_to_array(s.followers, ' ')) THEN s.followers "
    "ELSE ltrim(s.followers || ' ' || :door) END"
)
LEAVE: Final = text(
    "UPDATE streams SET followers = "
    "array_to_string(array_remove(string_to_array(followers, ' '), :door), ' ') "
    "WHERE conversation = ANY(CAST(:ids AS TEXT[]))"
)
LOCK: Final = text(
    "SELECT conversation, stream, last, mark, writer, begun, followers FROM streams "
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
TOKENS: Final = (
    "WITH given AS MATERIALIZED (SELECT * FROM json_to_recordset(CAST($1 AS JSON)) "
    "AS given(conversation TEXT, stream TEXT, last BIGINT, mark TEXT, told JSON)), "
    "held AS (SELECT conversation FROM streams WHERE conversation IN (SELECT conversation FROM given) "
    "ORDER BY conversation FOR UPDATE), "
    "moved AS (UPDATE streams SET last = given.last + json_array_length(given.told), mark = given.mark "
    "FROM given, held WHERE streams.conversation = held.conversation "
    "AND given.conversation = held.conversation "
    "AND streams.stream = given.stream AND streams.last = given.last AND streams.writer = CAST($2 AS TEXT) "
    "RETURNING streams.conversation, streams.last, streams.stream, streams.followers, given.told), "
    "added AS (INSERT INTO changes (conversation, n, frame, token, draw, created) "
    "SELECT moved.conversation, one.n, one.frame, one.token, one.draw, CAST($4 AS BIGINT) "
    "FROM moved, json_to_recordset(moved.told) AS one(n BIGINT, frame TEXT, token INTEGER, draw BIGINT)), "
    f"heard AS (SELECT pg_notify($3 || door, '{TOLD} ' || $2 || "
    "string_agg(' ' || conversation || ' ' || last || ' ' || stream, '')) AS said "
    "FROM moved, unnest(string_to_array(followers, ' ')) AS door WHERE door <> $2 GROUP BY door) "
    "SELECT (SELECT json_agg(conversation) FROM moved), (SELECT count(said) FROM heard)"
)
"""What is told most: tokens of replies that are written here, in streams that are known here to the last
number, all in one statement, for `LoopStatement`. Its values: conversations with their tokens as JSON, which
costs both sides a sixth of what arrays do; the door; what doors' channels begin with; the time. What anybody
else has told meanwhile is left as it is, and not returned."""
TELL: Final = text(
    "SELECT pg_notify(channel, said) FROM unnest(CAST(:channels AS TEXT[]), CAST(:said AS TEXT[])) "
    "AS given(channel, said)"
)
