"""What every operation of the store rests on: done once under its request, one writer, rows of messages."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from convai.core.dialog import AGENT, Persona
from convai.store import queries
from convai.store.database import Database
from convai.store.errors import Conflict, StoreError
from convai.store.prepared import Prepared, Row
from convai.store.queries import IDENT
from convai.store.records import INTERRUPTED, STREAMING, Receipt, RequestName, Status
from convai.store.tables import conversations, messages, personas, requests

REQUEST_DAYS: Final = 7
"""How long a request is remembered, so that it is not done again."""
MAX_JSON: Final = 1_048_576
"""Bytes of a message's details, and of a conversation's settings."""
_MAX_OWNER: Final = 200
# Built once: building a statement takes longer than running it.
_DONE: Final = Prepared(
    select(requests).where(requests.c.owner == bindparam("owner"), requests.c.name == bindparam("name"))
)
_DO: Final = Prepared(insert(requests))
_FORGET: Final = Prepared(
    delete(requests).where(requests.c.owner == bindparam("of_owner"), requests.c.name == bindparam("of_name"))
)
_INSERT_MESSAGE: Final = Prepared(insert(messages))


def latest(owner: ColumnElement[str], at: ColumnElement[int]) -> ColumnElement[int]:
    """A time for what an owner has just changed: `at`, or a millisecond behind all of the owner's others.

    So conversations that change within one tick of the clock, or while it is set back, still have an order.
    """
    others = conversations.alias("others")
    last = select(func.max(others.c.updated)).where(others.c.owner == owner).correlate(conversations)
    before = last.scalar_subquery()
    return case((before >= at, before + 1), else_=at)


LEASE_MS: Final = 10_000
"""Milliseconds after which a process that says nothing has lost its replies to others, though PostgreSQL
has its connection: it is stopped, or waits so long for a processor."""
UNHELD_MS: Final = 800
"""The same where PostgreSQL has seen its connection end: a process that dies lets go of its lock at once, and
one whose machine is gone when that answers no more (`change_log.ANSWERS`). With what passes until somebody
looks (`server.heartbeat.BEAT`) this bounds the silence after a death."""
UNLOCKED_MS: Final = 2000
"""The same where a process has said that it has no lock yet, as after a restart of PostgreSQL."""
CLOCK: Final = "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT)"
"""Milliseconds since 1970 UTC in PostgreSQL, whose clock is the same for all."""
HOLD: Final = "SELECT pg_advisory_lock_shared(hashtextextended(%s, 0))"
"""Taken by a process's connection that listens, for its id; for psycopg."""
LIVES: Final = (
    f"(writers.seen >= {CLOCK} - :lease AND (writers.seen >= {CLOCK} - :unheld OR EXISTS "
    "(SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted "
    "AND (CAST(classid AS BIGINT) << 32 | CAST(objid AS BIGINT)) = hashtextextended(writers.id, 0) "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))))"
)
"""Whether the process of a row of `writers` lives: it says so often, or not so often but holds its lock."""
ALIVE: Final = text(f"SELECT id FROM writers WHERE id = ANY(CAST(:ids AS TEXT[])) AND {LIVES} LIMIT 1")


def patience() -> dict[str, int]:
    """The times in `LIVES`, in milliseconds."""
    return {"lease": LEASE_MS, "unheld": UNHELD_MS}


CHANGE_MESSAGE: Final = Prepared(update(messages).where(messages.c.id == bindparam("of_message")))
_DRAFTS: Final = Prepared(
    select(messages.c.id, messages.c.writer, messages.c.text).where(
        messages.c.conversation == bindparam("conversation"), queries.BEING_WRITTEN
    )
)
_CHANGE: Final = Prepared(
    update(conversations)
    .where(conversations.c.id == bindparam("of_conversation"))
    .values(updated=latest(conversations.c.owner, bindparam("at", type_=BigInteger)))
)


def now() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A name that nobody can guess: 96 random bits."""
    return secrets.token_hex(12)


def as_json(value: object, what: str) -> str:
    """JSON text of an object, ASCII only. Raises StoreError where that is impossible, or it is too large."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"the {what} cannot be kept as JSON ({error})") from None
    if len(text) > MAX_JSON:
        raise StoreError(f"the {what} have {len(text):,} bytes as JSON; keep at most {MAX_JSON:,}")
    return text


class Writer:
    """How everything is written: done once under its request, in one transaction, replies by one process."""

    def __init__(self, database: Database) -> None:
        """Forgets requests that are too old. Raises StoreError."""
        self.database = database
        self.id = secrets.token_hex(8)
        """What this process's drafts are known by."""
        with database.write() as connection:
            old = now() - REQUEST_DAYS * 86_400_000
            connection.execute(delete(requests).where(requests.c.created < old))

    def once(
        self,
        owner: str,
        request: str | None,
        do: Callable[[Connection], Receipt],
        stands: Callable[[Connection, str], bool] | None = None,
    ) -> Receipt:
        """Do something in one transaction, unless the owner's request of that name has been done.

        `stands`: whether what was done then, in the conversation that it is given, is what is asked for now.
        """
        self.check_owner(owner)
        if request is not None and not IDENT.fullmatch(request):
            raise StoreError("a request's name is 1 to 64 letters, digits, hyphens or underscores")
        try:
            return self._attempt(owner, request, do, stands)
        except StoreError as error:
            # the same request from two connections at the same moment: the other one came first
            if request is None or not isinstance(error.__cause__, IntegrityError | sqlite3.IntegrityError):
                raise
            return self._attempt(owner, request, do, stands)

    def _attempt(
        self,
        owner: str,
        request: str | None,
        do: Callable[[Connection], Receipt],
        stands: Callable[[Connection, str], bool] | None,
    ) -> Receipt:
        key = request.key if isinstance(request, RequestName) else request
        with self.database.write() as connection:
            if request is not None:
                done = _DONE.one_or_none(connection, {"owner": owner, "name": key})
                if done is not None:
                    anew = isinstance(request, RequestName) and request.anew
                    if not anew and (stands is None or stands(connection, done.conversation)):
                        return Receipt(conversation=done.conversation, message=done.message, again=True)
                    _FORGET.run(connection, {"of_owner": owner, "of_name": key})
            receipt = do(connection)
            if request is not None:
                _DO.run(
                    connection,
                    {
                        "owner": owner,
                        "name": key,
                        "conversation": receipt.conversation,
                        "message": receipt.message,
                        "created": now(),
                    },
                )
        return receipt

    @staticmethod
    def check_owner(owner: str) -> None:
        """Raise StoreError for what can be nobody's key."""
        if not owner or len(owner) > _MAX_OWNER or not owner.isprintable():
            raise StoreError(f"an owner's key has 1 to {_MAX_OWNER} printable characters")

    @staticmethod
    def new_message(
        conversation: Row,
        parent: str | None,
        speaker: int,
        text: str,
        status: Status,
        *,
        writer: str | None = None,
        details: Mapping[str, Any] | None = None,
        request: str | None = None,
        place: int = 1,
        persona: int | None = None,
    ) -> dict[str, Any]:
        """The values of a new row, the `place`th behind those of a conversation that was entered.

        `persona`: the version of it that says it, None for the one in use.
        """
        return {
            "id": new_id(),
            "conversation": conversation.id,
            "parent": parent,
            "number": (conversation.last_number or 0) + place,
            "speaker": speaker,
            "text": text,
            "status": status,
            "writer": writer,
            "persona": conversation.persona if persona is None else persona,
            "details": as_json(dict(details or {}), "details"),
            "request": request,
            "created": now(),
        }

    @staticmethod
    def insert(connection: Connection, *rows: Mapping[str, Any]) -> None:
        """Put new messages into the table."""
        _INSERT_MESSAGE.run(connection, *rows)

    @staticmethod
    def insert_persona(
        connection: Connection, conversation: str, version: int, persona: Persona, created: int
    ) -> None:
        connection.execute(
            insert(personas).values(
                conversation=conversation,
                version=version,
                name=persona.name,
                sentences=as_json(list(persona.sentences), "persona's sentences"),
                created=created,
            )
        )

    @staticmethod
    def change(connection: Connection, conversation: str, **values: object) -> None:
        """Set columns of a conversation; it is the latest of its owner's now."""
        _CHANGE.run(connection, {"of_conversation": conversation, "at": now(), **values})

    def draft(
        self,
        row: Row,
        parent: str | None,
        request: str | None,
        place: int = 1,
        persona: int | None = None,
    ) -> dict[str, Any]:
        """The values of a draft of this process, the `place`th new row, by a version of the persona."""
        return self.new_message(
            row, parent, AGENT, "", STREAMING, writer=self.id, request=request, place=place, persona=persona
        )

    def idle(self, connection: Connection, owner: str, conversation: str) -> Row:
        """The conversation, entered, when no reply is being written; drafts of the dead are settled."""
        row = queries.entered(connection, owner, conversation)
        if not row.drafting:
            return row
        drafts = _DRAFTS.all(connection, {"conversation": row.id})
        if any(draft.writer == self.id for draft in drafts) or self.alive(connection, drafts):
            raise Conflict("a reply is being written; stop it first")
        for draft in drafts:
            self.give_up(connection, draft)
        return row

    def alive(self, connection: Connection, drafts: Iterable[Any]) -> bool:
        """Whether another process is writing one of these; on SQLite there is none."""
        if self.database.sqlite:
            return False
        others = [draft.writer for draft in drafts]
        return connection.execute(ALIVE, {"ids": others, **patience()}).first() is not None

    @staticmethod
    def give_up(connection: Connection, draft: Any) -> None:
        """A draft that nobody goes on with: interrupted, or gone where nothing of it was saved."""
        if draft.text:
            CHANGE_MESSAGE.run(connection, {"of_message": draft.id, "status": INTERRUPTED, "writer": None})
        else:
            connection.execute(delete(messages).where(messages.c.id == draft.id))
