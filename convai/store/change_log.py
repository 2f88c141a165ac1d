"""The changes of conversations that several doors read: numbered in the database, and told by NOTIFY.

Whoever adds some holds the conversation's row in `streams` meanwhile, which has the doors that follow it. A
door hears on a channel of its own of those alone; the payload of a notification are conversations, their
newest numbers and streams, the changes are in the table.
"""

from __future__ import annotations

import itertools
import json
import re
import secrets
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, select, text

from convai.store import queries
from convai.store.change_records import DrawnToken, Followed, Numbered, Posted, Refused, Snapshot
from convai.store.change_statements import ADD, FOLLOW, LEAVE, LOCK, MOVE, PRUNE, TELL, TOKENS, TOLD
from convai.store.database import Database
from convai.store.errors import StoreError
from convai.store.loop_statement import LoopStatement
from convai.store.prepared import Prepared
from convai.store.records import STREAMING, Branch, Message
from convai.store.tables import changes, messages, streams
from convai.store.writer import HOLD, now

_AT_ONCE: Final = 64
"""Conversations whose tokens are told in one notification, whose payload has 8,000 bytes at most."""
ANSWERS: Final = {
    "tcp_keepalives_idle": 1,
    "tcp_keepalives_interval": 1,
    "tcp_keepalives_count": 1,
    "tcp_user_timeout": 2000,
}
"""PostgreSQL's settings of the connection that holds a door's lock: a machine that is gone, or cut off, has
lost it after two seconds, and one that is only slow keeps it."""
_FRESH: Final = 64
"""Changes that a door reads of a conversation that it opens."""
# Built once: building a statement takes longer than running it.
_STREAM: Final = Prepared(select(streams).where(streams.c.conversation == bindparam("conversation")))
_UP_TO_NEWEST: Final = (changes.c.conversation == bindparam("of"), changes.c.n <= bindparam("newest"))
_BEHIND: Final = Prepared(
    select(changes.c.n, changes.c.frame)
    .where(*_UP_TO_NEWEST, changes.c.n > bindparam("since"))
    .order_by(changes.c.n)
)
_DRAWN: Final = Prepared(
    select(changes.c.frame, changes.c.token, changes.c.draw)
    .where(*_UP_TO_NEWEST, changes.c.n >= bindparam("first"), changes.c.token.is_not(None))
    .order_by(changes.c.n)
)


class ChangeLog:
    """The changes of all conversations of one database. Safe to use from any thread."""

    def __init__(self, database: Database, door: str) -> None:
        """`door`: what this door's replies are known by."""
        self._database, self._door = database, door
        self.held = False
        """Whether the connection that listens is there, and has the lock which says that the door lives."""
        with database.read() as connection:
            schema = str(connection.execute(text("SELECT current_schema()")).scalar())
        self._channel = "convai_" + re.sub(r"\W", "_", schema)[:38]
        self._own = f"{self._channel}_"
        """What a door's own channel begins with; its id follows."""
        self._tokens = LoopStatement(database, TOKENS)

    def close(self) -> None:
        """Hang up; who listens does so by itself."""
        self._tokens.close()

    def follow(self, conversation: str) -> Followed:
        """Begin to hear of a conversation's changes: its stream, and the latest of them."""
        with self._database.write() as connection:
            quick(connection)
            self._follow(connection, conversation)
        return self.after(conversation, None)

    def _follow(self, connection: Connection, conversation: str) -> None:
        values = {"conversation": conversation, "stream": secrets.token_hex(8), "door": self._door}
        connection.execute(FOLLOW, values)

    def leave(self, conversations: Sequence[str]) -> None:
        """Hear no more of these."""
        with self._database.write() as connection:
            quick(connection)
            ids = sorted(conversations)
            connection.execute(LOCK, {"ids": ids})  # in the order in which everybody locks them
            connection.execute(LEAVE, {"ids": ids, "door": self._door})

    def after(self, conversation: str, last: int | None) -> Followed:
        """The changes behind number `last` (None: the latest ones)."""
        with self._database.read() as connection:
            row = stream_row(connection, conversation)
            since = row.last - _FRESH if last is None else last
            found = _BEHIND.all(connection, {"of": conversation, "since": since, "newest": row.last})
            return followed_of(row, [(n, frame) for n, frame in found])

    def snapshot(self, owner: str, conversation: str) -> Snapshot:
        """All that a reader is to be shown, at one moment. Raises NotFound."""
        with self._database.read() as connection:
            found = queries.conversation(connection, owner, conversation)
            row = stream_row(connection, conversation)
            followed, shown = followed_of(row, []), ""
            leaf, path, earlier = found.leaf, list[Message](), 0
            if followed.live is not None:
                leaf = followed.live["parent"]
                tokens = drawn_tokens(connection, row)
                shown = followed.live["prefill"] + "".join(frame["text"] for frame, _ in tokens)
            if leaf is not None:
                path = queries.branch(connection, conversation, leaf, self._door)
                if path and path[0].parent is not None:
                    earlier = queries.branch_length(connection, conversation, path[0].parent)
            return Snapshot(followed, found, Branch(path, earlier), shown)

    def _refused(self, connection: Connection, row: Row[Any], one: Posted) -> Refused | None:
        if one.begins is not None:
            return Refused.ELSEWHERE if self._taken_up(connection, one) else None
        if row.writer == self._door or not (one.ends or any(one.drawn)):
            return None
        if row.writer is None and one.reply is not None:
            kept = connection.execute(
                select(messages.c.status, messages.c.writer).where(messages.c.id == one.reply)
            ).one_or_none()
            if kept is not None and (kept.writer == self._door or (one.ends and kept.status != STREAMING)):
                return Refused.FORGOTTEN
        return None if one.ends and row.writer is None else Refused.ELSEWHERE

    def _taken_up(self, connection: Connection, one: Posted) -> bool:
        """Whether another door, which took this one for dead, has the reply that is said to begin here."""
        of_reply = select(messages.c.writer).where(messages.c.id == one.reply)
        return connection.execute(of_reply).scalar() not in (None, self._door)

    async def append_in_loop(
        self, posted: Sequence[Posted], in_thread: Callable[..., Awaitable[Any]]
    ) -> list[Numbered | Refused]:
        """`append` for an event loop, which itself asks for what is told most: tokens of conversations that
        are as the door knows them, many in one statement. `in_thread` calls what waits. Not twice at once.
        """
        done: dict[str, Numbered | Refused] = {}
        simple = [one for one in posted if _simple(one)]
        for start in range(0, len(simple), _AT_ONCE):
            done |= await self._append_tokens(simple[start : start + _AT_ONCE])
        rest = [one for one in posted if one.conversation not in done]
        if rest:
            done |= zip((one.conversation for one in rest), await in_thread(self.append, rest), strict=True)
        return [done[one.conversation] for one in posted]

    async def _append_tokens(self, posted: Sequence[Posted]) -> dict[str, Numbered]:
        found: dict[str, Numbered] = {}
        given: list[dict[str, Any]] = []
        for one in posted:
            assert one.at is not None
            stream, last = one.at
            frames = [make(number) for number, make in enumerate(one.makes, last + 1)]
            found[one.conversation] = Numbered(stream, last + 1, frames)
            told = [
                {"n": number, "frame": frame, "token": drawn.id, "draw": drawn.seed}
                for number, frame, drawn in zip(itertools.count(last + 1), frames, one.drawn, strict=False)
                if drawn is not None
            ]
            given.append(
                {
                    "conversation": one.conversation,
                    "stream": stream,
                    "last": last,
                    "mark": one.key,
                    "told": told,
                }
            )
        moved, _ = await self._tokens.row(json.dumps(given), self._door, self._own, str(now()))
        return {id: found[id] for id in json.loads(moved or "[]")}

    def append(self, posted: Sequence[Posted]) -> list[Numbered | Refused]:
        """Number the changes and tell them, but for what is told of a reply that is not written here."""
        ids = [one.conversation for one in posted]
        done: list[Numbered | Refused] = []
        added: dict[str, list[Any]] = {
            name: [] for name in ("ids", "numbers", "frames", "tokens", "draws", "times")
        }
        moved: dict[str, list[Any]] = {
            name: [] for name in ("ids", "lasts", "marks", "writers", "begun", "keeps", "lives")
        }
        full, gone = [], []
        with self._database.write() as connection:
            quick(connection)
            rows = {row.conversation: row for row in connection.execute(LOCK, {"ids": ids})}
            if missing := [id for id in ids if id not in rows]:  # after a crash of the database, for instance
                for id in sorted(missing):
                    self._follow(connection, id)
                rows |= {row.conversation: row for row in connection.execute(LOCK, {"ids": missing})}
            at = now()
            for one in posted:
                row = rows[one.conversation]
                if row.mark == one.key:
                    done.append(Numbered(row.stream, row.last + 1, []))
                    continue
                if (why := self._refused(connection, row, one)) is not None:
                    done.append(why)
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
                    writer, begun, keep = self._door, first + one.begins, False
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
                elif _slot(first) != _slot(last + 1):
                    full.append(one.conversation)
                done.append(Numbered(row.stream, first, frames))
            if moved["ids"]:
                connection.execute(ADD, added)
                connection.execute(MOVE, moved)
                if full:
                    connection.execute(PRUNE, {"ids": full})
                for conversation, first in gone:
                    connection.execute(
                        changes.delete().where(changes.c.conversation == conversation, changes.c.n < first)
                    )
                self._notify(connection, moved, rows, set(missing))
        return done

    def _notify(
        self, connection: Connection, moved: dict[str, list[Any]], rows: dict[str, Row[Any]], made: set[str]
    ) -> None:
        """Tell those who follow the conversations; and everybody of those that the database had forgotten."""
        news: dict[str, list[str]] = {}
        for id, last in zip(moved["ids"], moved["lasts"], strict=True):
            row = rows[id]
            doors = [self._own + door for door in row.followers.split() if door != self._door]
            for channel in [self._channel] if id in made else doors:
                news.setdefault(channel, []).append(f" {id} {last} {row.stream}")
        said = [
            (channel, f"{TOLD} {self._door}{''.join(every[start : start + _AT_ONCE])}")
            for channel, every in news.items()
            for start in range(0, len(every), _AT_ONCE)
        ]
        if said:
            channels = [channel for channel, _ in said]
            connection.execute(TELL, {"channels": channels, "said": [text for _, text in said]})

    def tell(self, said: str) -> None:
        """Tell all doors something that is in no table: ids, and nothing that anybody wrote."""
        with self._database.write() as connection:
            quick(connection)
            connection.execute(TELL, {"channels": [self._channel], "said": [said]})

    def listen(self, tell: Callable[[str], None], again: Callable[[], None], ended: threading.Event) -> None:
        """Call `tell` with what doors say, in this thread, until `ended`; `again` whenever some may have
        been missed: at the beginning, and after the connection was lost. This connection holds the lock that
        says that the door lives.
        """
        pause = 0.05
        while not ended.is_set():
            try:
                with closing(self._database.apart()) as driver:
                    for setting, value in ANSWERS.items():
                        driver.execute(f"SET {setting} TO {value}")
                    driver.execute(f'LISTEN "{self._channel}"')
                    driver.execute(f'LISTEN "{self._own}{self._door}"')
                    driver.execute(HOLD, (self._door,))
                    self.held = True
                    again()
                    pause = 0.05
                    while not ended.is_set():
                        for notice in driver.notifies(timeout=0.5, stop_after=64):
                            tell(notice.payload)
            except Exception:  # the database is gone, or restarts: whatever its driver calls it
                self.held = False
                ended.wait(pause)
                pause = min(2 * pause, 1.0)


def _simple(one: Posted) -> bool:
    """Whether `TOKENS` may do: it neither begins nor ends anything, and forgets nothing."""
    if one.at is None or one.begins is not None or one.ends or one.last or not all(one.drawn):
        return False
    return _slot(one.at[1] + 1) == _slot(one.at[1] + 1 + len(one.makes))


def _slot(number: int) -> int:
    """Where one ends and the next begins, old changes are forgotten."""
    return number // 64


def stream_row(connection: Connection, conversation: str) -> Row[Any]:
    """The row of `streams` of a conversation. Raises StoreError where a crash has emptied the table."""
    row: Row[Any] | None = _STREAM.one_or_none(connection, {"conversation": conversation})
    if row is None:
        raise StoreError("the database was restarted; ask again")
    return row


def followed_of(row: Row[Any], frames: list[tuple[int, str]]) -> Followed:
    """A stream as its row says, with some of its `frames`."""
    live = None if row.live is None else json.loads(row.live)
    return Followed(row.stream, row.last, row.writer, live, frames)


def drawn_tokens(connection: Connection, row: Row[Any]) -> list[tuple[dict[str, Any], DrawnToken]]:
    """The frames of the reply that is being written, those of its latest draw."""
    found = _DRAWN.all(connection, {"of": row.conversation, "first": row.begun, "newest": row.last})
    return [
        (json.loads(one.frame), DrawnToken(one.token, one.draw))
        for one in found
        if one.draw == found[-1].draw
    ]


def quick(connection: Connection) -> None:
    """Let the transaction not wait for the disk: nothing in the doors' tables outlives a crash."""
    connection.execute(text("SET LOCAL synchronous_commit TO off"))
