"""What several doors on one PostgreSQL have in common: numbered changes, who writes which reply, rates.

The changes of a conversation are numbered by its row in `streams`, which whoever adds some holds meanwhile,
and told by NOTIFY: the payload is the conversation and its newest number, the change is in the table. A door
says twice a second that it is there; what one writes that is silent for LEASE_MS is whoever's claims it.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, select, text, update

from convai.conversation.tree import Conflict
from convai.store import queries
from convai.store.database import Database
from convai.store.errors import StoreError
from convai.store.records import STREAMING, Branch, Conversation, Message
from convai.store.tables import changes, messages, streams
from convai.store.writer import CLOCK, LEASE_MS, Writer, now

MOST_KEPT: Final = 256
"""Changes of a conversation that are kept, and those of a reply that is being written."""
_KEPT_MS: Final = 600_000
"""How long changes are kept; replies that were left longer ago are not gone on with."""
_FRESH: Final = 64
"""Changes that a door reads of a conversation that it opens."""

_OPEN: Final = text(
    "INSERT INTO streams (conversation, stream, last) VALUES (:conversation, :stream, 0) "
    "ON CONFLICT (conversation) DO NOTHING"
)
_LOCK: Final = text(
    "SELECT conversation, stream, last, mark, writer, begun FROM streams "
    "WHERE conversation = ANY(CAST(:ids AS TEXT[])) ORDER BY conversation FOR UPDATE"
)
_ADD: Final = text(
    "INSERT INTO changes (conversation, n, frame, token, draw, created) SELECT * FROM unnest("
    "CAST(:ids AS TEXT[]), CAST(:numbers AS BIGINT[]), CAST(:frames AS TEXT[]), CAST(:tokens AS INTEGER[]), "
    "CAST(:draws AS BIGINT[]), CAST(:times AS BIGINT[]))"
)
_MOVE: Final = text(
    "UPDATE streams SET last = new.last, mark = new.mark, writer = new.writer, begun = new.begun, live = "
    "CASE WHEN new.keep THEN streams.live ELSE new.live END FROM unnest("
    "CAST(:ids AS TEXT[]), CAST(:lasts AS BIGINT[]), CAST(:marks AS TEXT[]), "
    "CAST(:writers AS TEXT[]), CAST(:begun AS BIGINT[]), "
    "CAST(:keeps AS BOOLEAN[]), CAST(:lives AS TEXT[])) AS new(id, last, mark, writer, begun, keep, live) "
    "WHERE streams.conversation = new.id"
)
_PRUNE: Final = text(
    f"DELETE FROM changes USING streams WHERE changes.conversation = ANY(CAST(:ids AS TEXT[])) "
    f"AND streams.conversation = changes.conversation AND changes.n <= streams.last - {MOST_KEPT} "
    "AND (streams.begun IS NULL OR changes.n < streams.begun)"
)
_TELL: Final = text("SELECT pg_notify(:channel, said) FROM unnest(CAST(:said AS TEXT[])) AS said")
_BEAT: Final = text(
    f"INSERT INTO writers (id, seen) VALUES (:id, {CLOCK}) "
    "ON CONFLICT (id) DO UPDATE SET seen = EXCLUDED.seen"
)
_ORPHANS: Final = text(
    "SELECT messages.id, messages.conversation, conversations.owner FROM messages "
    "JOIN conversations ON conversations.id = messages.conversation "
    "LEFT JOIN writers ON writers.id = messages.writer "
    "WHERE messages.status = 'streaming' AND messages.created > :since "
    f"AND (writers.id IS NULL OR writers.seen < {CLOCK} - :lease) ORDER BY messages.created LIMIT 16"
)
_UNSAID: Final = text(
    "UPDATE streams SET writer = :id FROM conversations WHERE conversations.id = streams.conversation "
    "AND streams.live IS NOT NULL AND streams.writer <> :id AND NOT EXISTS (SELECT 1 FROM writers "
    f"WHERE writers.id = streams.writer AND writers.seen >= {CLOCK} - :lease) AND NOT EXISTS "
    "(SELECT 1 FROM messages WHERE messages.id = CAST(streams.live AS JSON) ->> 'id' "
    "AND messages.status = 'streaming') "
    "RETURNING streams.conversation, conversations.owner, CAST(streams.live AS JSON) ->> 'id' AS message"
)
# a token bucket as the moment until which it is spent (the generic cell rate algorithm, ITU-T I.371)
_SPEND: Final = text(
    f"INSERT INTO rates AS r (address, spent, wait, seen) VALUES (:address, {CLOCK} + :each, 0, {CLOCK}) "
    f"ON CONFLICT (address) DO UPDATE SET seen = {CLOCK}, "
    f"spent = CASE WHEN greatest(r.spent, {CLOCK}) + :each - {CLOCK} > :burst THEN r.spent "
    f"ELSE greatest(r.spent, {CLOCK}) + :each END, "
    f"wait = greatest(greatest(r.spent, {CLOCK}) + :each - {CLOCK} - :burst, 0) RETURNING wait"
)


class Drawn(NamedTuple):
    """A token of a reply, as it is told: its id, and the seed that it was drawn with."""

    id: int
    seed: int


@dataclass(slots=True)
class Posted:
    """Changes of one conversation that are to be numbered and told.

    `makes` give the frames, told their numbers; `drawn` belongs to those that are tokens. `begins`: the place
    of the change with which a reply begins, whose `live` it is; `ends`: a reply has ended, or was given up.
    """

    conversation: str
    makes: list[Callable[[int], str]] = field(default_factory=list)
    drawn: list[Drawn | None] = field(default_factory=list)
    begins: int | None = None
    live: str | None = None
    ends: bool = False
    last: bool = False
    """The conversation is gone: what was told before is, too."""
    key: str = field(default_factory=lambda: secrets.token_hex(8))
    """So that it is told once, should an answer of the database be lost."""


class Followed(NamedTuple):
    """A stream: its newest number, who writes which reply, and some of its frames with their numbers."""

    stream: str
    last: int
    writer: str | None
    live: dict[str, Any] | None
    frames: list[tuple[int, str]]


class Numbered(NamedTuple):
    """Frames that were told: the first one's number."""

    stream: str
    first: int
    frames: list[str]


class Snapshot(NamedTuple):
    """A conversation, and its stream at the same moment; the branch ends before a reply in the making."""

    followed: Followed
    conversation: Conversation
    branch: Branch
    shown: str


class Orphan(NamedTuple):
    """A reply whose writer is gone."""

    message: str
    conversation: str
    owner: str


class Claimed(NamedTuple):
    """One that is ours now: its draft, what its writer wrote down of it, and its tokens so far."""

    draft: Message
    live: dict[str, Any] | None
    tokens: list[tuple[Drawn, float]]


class Shared:
    """The common part of one database. Safe to use from any thread."""

    def __init__(self, writer: Writer) -> None:
        self._database: Database = writer.database
        self._writer = writer
        with self._database.read() as connection:
            schema = str(connection.execute(text("SELECT current_schema()")).scalar())
        self.channel = "convai_" + re.sub(r"\W", "_", schema)[:40]

    @property
    def id(self) -> str:
        """What this door's replies are known by."""
        return self._writer.id

    # -- changes -----------------------------------------------------------------------------------

    def follow(self, conversation: str) -> Followed:
        """Begin to read a conversation's changes: its stream, and the latest of them."""
        with self._database.write() as connection:
            self._quick(connection)
            connection.execute(_OPEN, {"conversation": conversation, "stream": secrets.token_hex(8)})
        return self.after(conversation, None)

    def after(self, conversation: str, last: int | None) -> Followed:
        """The changes behind number `last` (None: the latest ones)."""
        with self._database.read() as connection:
            row = _stream(connection, conversation)
            since = row.last - _FRESH if last is None else last
            found = connection.execute(
                select(changes.c.n, changes.c.frame)
                .where(changes.c.conversation == conversation, changes.c.n > since, changes.c.n <= row.last)
                .order_by(changes.c.n)
            )
            return _followed(row, [(n, frame) for n, frame in found])

    def snapshot(self, owner: str, conversation: str) -> Snapshot:
        """All that a reader is to be shown, at one moment. Raises NotFound."""
        with self._database.read() as connection:
            found = queries.conversation(connection, owner, conversation)
            row = _stream(connection, conversation)
            followed, shown = _followed(row, []), ""
            leaf, path, earlier = found.leaf, list[Message](), 0
            if followed.live is not None:
                leaf = followed.live["parent"]
                tokens = _tokens(connection, row)
                shown = followed.live["prefill"] + "".join(frame["text"] for frame, _ in tokens)
            if leaf is not None:
                path = queries.branch(connection, conversation, leaf, self._writer.id)
                if path and path[0].parent is not None:
                    earlier = queries.branch_length(connection, conversation, path[0].parent)
            return Snapshot(followed, found, Branch(path, earlier), shown)

    def append(self, posted: Sequence[Posted]) -> list[Numbered | None]:
        """Number the changes and tell them. None: tokens of a reply that another door has taken up."""
        ids = [one.conversation for one in posted]
        done: list[Numbered | None] = []
        added: dict[str, list[Any]] = {
            name: [] for name in ("ids", "numbers", "frames", "tokens", "draws", "times")
        }
        moved: dict[str, list[Any]] = {
            name: [] for name in ("ids", "lasts", "marks", "writers", "begun", "keeps", "lives")
        }
        full, gone = [], []
        with self._database.write() as connection:
            self._quick(connection)
            rows = {row.conversation: row for row in connection.execute(_LOCK, {"ids": ids})}
            if missing := [id for id in ids if id not in rows]:  # after a crash of the database, for instance
                for id in sorted(missing):
                    connection.execute(_OPEN, {"conversation": id, "stream": secrets.token_hex(8)})
                rows |= {row.conversation: row for row in connection.execute(_LOCK, {"ids": missing})}
            at = now()
            for one in posted:
                row = rows[one.conversation]
                if row.mark == one.key:
                    done.append(Numbered(row.stream, row.last + 1, []))
                    continue
                if one.begins is None and any(one.drawn) and row.writer != self.id:
                    done.append(None)
                    continue
                first = row.last + 1
                frames = [make(number) for number, make in enumerate(one.makes, first)]
                last = row.last + len(frames)
                added["ids"] += [one.conversation] * len(frames)
                added["numbers"] += range(first, last + 1)
                added["frames"] += frames
                added["tokens"] += [None if drawn is None else drawn.id for drawn in one.drawn]
                added["draws"] += [None if drawn is None else drawn.seed for drawn in one.drawn]
                added["times"] += [at] * len(frames)
                writer, begun, keep = row.writer, row.begun, True
                if one.begins is not None:
                    writer, begun, keep = self.id, first + one.begins, False
                if one.ends:
                    writer, begun, keep = None, None, False
                moved["ids"].append(one.conversation)
                moved["lasts"].append(last)
                moved["marks"].append(one.key)
                moved["writers"].append(writer)
                moved["begun"].append(begun)
                moved["keeps"].append(keep)
                moved["lives"].append(None if keep or one.ends else one.live)
                if one.last:
                    gone.append((one.conversation, first))
                elif first // 64 != (last + 1) // 64:
                    full.append(one.conversation)
                done.append(Numbered(row.stream, first, frames))
            if moved["ids"]:
                connection.execute(_ADD, added)
                connection.execute(_MOVE, moved)
                if full:
                    connection.execute(_PRUNE, {"ids": full})
                for conversation, first in gone:
                    connection.execute(
                        changes.delete().where(changes.c.conversation == conversation, changes.c.n < first)
                    )
                said = [f"{id} {last}" for id, last in zip(moved["ids"], moved["lasts"], strict=True)]
                connection.execute(_TELL, {"channel": self.channel, "said": said})
        return done

    def tell(self, said: str) -> None:
        """Tell all doors something that is in no table: ids, and nothing that anybody wrote."""
        with self._database.write() as connection:
            self._quick(connection)
            connection.execute(_TELL, {"channel": self.channel, "said": [said]})

    # -- who writes --------------------------------------------------------------------------------

    def beat(self) -> None:
        """This door is there."""
        with self._database.write() as connection:
            self._quick(connection)
            connection.execute(_BEAT, {"id": self.id})

    def leave(self) -> None:
        """This door is gone: its replies are anybody's."""
        with self._database.write() as connection:
            connection.execute(text("DELETE FROM writers WHERE id = :id"), {"id": self.id})

    def orphans(self) -> list[Orphan]:
        """Replies whose writer has gone, some of them."""
        with self._database.read() as connection:
            rows = connection.execute(_ORPHANS, {"since": now() - _KEPT_MS, "lease": LEASE_MS})
            return [Orphan(row.id, row.conversation, row.owner) for row in rows]

    def claim(self, orphan: Orphan) -> Claimed | None:
        """Make such a reply ours; None where another door was faster, or its writer has come back."""
        with self._database.write() as connection:
            with suppress(StoreError, Conflict):
                row = queries.owned(connection, orphan.owner, orphan.conversation, lock=True)
                kept = connection.execute(
                    select(messages).where(messages.c.id == orphan.message, messages.c.status == STREAMING)
                ).one_or_none()
                if kept is None or kept.writer == self.id or self._writer.alive(connection, [kept]):
                    return None
                connection.execute(update(messages).where(messages.c.id == kept.id).values(writer=self.id))
                beside = queries.children(connection, row.id, kept.parent, self.id)
                draft = queries.message_of({**kept._mapping, "writer": self.id}, beside, self.id)
                at = connection.execute(_LOCK, {"ids": [row.id]}).one_or_none()
                if at is None or at.writer != kept.writer:
                    return Claimed(draft, None, [])
                stream = _stream(connection, row.id)
                found = _tokens(connection, stream)
                connection.execute(
                    update(streams).where(streams.c.conversation == row.id).values(writer=self.id)
                )
                tokens = [(drawn, float(frame.get("logprob") or 0.0)) for frame, drawn in found]
                return Claimed(draft, _followed(stream, []).live, tokens)
        return None

    def unsaid(self) -> list[tuple[Orphan, Message]]:
        """Replies that are whole, or dropped, whose writer went before it could say so; ours to tell now."""
        found: list[tuple[Orphan, Message]] = []
        with self._database.write() as connection:
            rows = connection.execute(_UNSAID, {"id": self.id, "lease": LEASE_MS}).all()
            for row in rows:
                with suppress(StoreError):
                    kept = queries.message_row(connection, row.conversation, row.message, self.id)
                    [whole] = queries.with_siblings(connection, row.conversation, [kept], self.id)
                    found.append((Orphan(row.message, row.conversation, row.owner), whole))
        return found

    def sweep(self) -> None:
        """Forget what nobody asks for any more."""
        with self._database.write() as connection:
            self._quick(connection)
            old = now() - _KEPT_MS
            connection.execute(
                text(
                    "DELETE FROM changes USING streams WHERE streams.conversation = changes.conversation "
                    "AND changes.created < :old AND (streams.begun IS NULL OR changes.n < streams.begun)"
                ),
                {"old": old},
            )
            connection.execute(text("DELETE FROM writers WHERE seen < :old"), {"old": old})
            connection.execute(text("DELETE FROM rates WHERE seen < :old"), {"old": old})
            connection.execute(
                text(
                    "DELETE FROM streams WHERE NOT EXISTS "
                    "(SELECT 1 FROM conversations WHERE conversations.id = streams.conversation) "
                    "AND NOT EXISTS (SELECT 1 FROM changes WHERE changes.conversation = streams.conversation)"
                )
            )

    # -- limits ------------------------------------------------------------------------------------

    def spend(self, address: str, most: int) -> float:
        """One more request from an address, at all doors together: seconds to wait, 0 where it may be done.

        `most`: requests a minute, and so many at once.
        """
        each = max(round(60_000 / most), 1)
        with self._database.write() as connection:
            self._quick(connection)
            wait = connection.execute(
                _SPEND, {"address": address[:100], "each": each, "burst": each * most}
            ).scalar_one()
        return float(wait) / 1000

    # -- hearing -----------------------------------------------------------------------------------

    def listen(self, tell: Callable[[str], None], again: Callable[[], None], ended: threading.Event) -> None:
        """Call `tell` with what doors say, in this thread, until `ended`; `again` whenever some may have
        been missed: at the beginning, and after the connection was lost.
        """
        pause = 0.05
        while not ended.is_set():
            try:
                raw = self._database.engine.raw_connection()
                driver: Any = raw.driver_connection
                raw.detach()
                with closing(driver):
                    driver.autocommit = True
                    driver.execute(f'LISTEN "{self.channel}"')
                    again()
                    pause = 0.05
                    while not ended.is_set():
                        for notice in driver.notifies(timeout=0.5, stop_after=64):
                            tell(notice.payload)
            except Exception:  # the database is gone, or restarts: whatever its driver calls it
                ended.wait(pause)
                pause = min(2 * pause, 1.0)

    @staticmethod
    def _quick(connection: Connection) -> None:
        """Nothing in these tables outlives a crash, so no transaction on them waits for the disk."""
        connection.execute(text("SET LOCAL synchronous_commit TO off"))


def _stream(connection: Connection, conversation: str) -> Row[Any]:
    row = connection.execute(select(streams).where(streams.c.conversation == conversation)).one_or_none()
    if row is None:
        raise StoreError("the database was restarted; ask again")
    return row


def _followed(row: Row[Any], frames: list[tuple[int, str]]) -> Followed:
    live = None if row.live is None else json.loads(row.live)
    return Followed(row.stream, row.last, row.writer, live, frames)


def _tokens(connection: Connection, row: Row[Any]) -> list[tuple[dict[str, Any], Drawn]]:
    """The frames of the reply that is being written, those of its latest draw."""
    found = connection.execute(
        select(changes.c.frame, changes.c.token, changes.c.draw)
        .where(
            changes.c.conversation == row.conversation,
            changes.c.n >= row.begun,
            changes.c.n <= row.last,
            changes.c.token.is_not(None),
        )
        .order_by(changes.c.n)
    ).all()
    return [
        (json.loads(one.frame), Drawn(one.token, one.draw)) for one in found if one.draw == found[-1].draw
    ]
