"""What every operation of the store rests on: done once under its request, one writer, rows of messages."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from convai.core.dialog import Persona
from convai.store.database import Database
from convai.store.errors import StoreError
from convai.store.queries import IDENT
from convai.store.records import Receipt, Status
from convai.store.tables import conversations, messages, personas, requests

REQUEST_DAYS: Final = 7
"""How long a request is remembered, so that it is not done again."""
MAX_JSON: Final = 1_048_576
"""Bytes of a message's details, and of a conversation's settings."""
_MAX_OWNER: Final = 200
# Built once: building a statement takes longer than running it.
_DONE: Final = select(requests).where(
    requests.c.owner == bindparam("owner"), requests.c.name == bindparam("name")
)
_DO: Final = insert(requests)
_INSERT_MESSAGE: Final = insert(messages)


def latest(owner: ColumnElement[str], at: ColumnElement[int]) -> ColumnElement[int]:
    """A time for what an owner has just changed: `at`, or a millisecond behind all of the owner's others.

    So conversations that change within one tick of the clock, or while it is set back, still have an order.
    """
    others = conversations.alias("others")
    last = select(func.max(others.c.updated)).where(others.c.owner == owner).correlate(conversations)
    before = last.scalar_subquery()
    return case((before >= at, before + 1), else_=at)


_CHANGE: Final = (
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


class Base:
    """A database, the writer's name, and how an operation is done."""

    def __init__(self, where: str | os.PathLike[str]) -> None:
        """Open a file or URL; see `convai.store.database.Database`. Raises StoreError."""
        self.database = Database(where)
        self.writer = secrets.token_hex(8)
        with self.database.write() as connection:
            old = now() - REQUEST_DAYS * 86_400_000
            connection.execute(delete(requests).where(requests.c.created < old))

    def close(self) -> None:
        """Close the database. Replies that are still being written count as interrupted from then on."""
        self.database.close()

    def together(self) -> AbstractContextManager[None]:
        """Put what this thread does in the block on the disk at its end, not operation by operation."""
        return self.database.together()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _once(self, owner: str, request: str | None, do: Callable[[Connection], Receipt]) -> Receipt:
        """Do something in one transaction, unless the owner's request of that name has been done."""
        self._check_owner(owner)
        if request is not None and not IDENT.fullmatch(request):
            raise StoreError("a request's name is 1 to 64 letters, digits, hyphens or underscores")
        try:
            return self._attempt(owner, request, do)
        except StoreError as error:
            # the same request from two connections at the same moment: the other one came first
            if request is None or not isinstance(error.__cause__, IntegrityError):
                raise
            return self._attempt(owner, request, do)

    def _attempt(self, owner: str, request: str | None, do: Callable[[Connection], Receipt]) -> Receipt:
        with self.database.write() as connection:
            if request is not None:
                done = connection.execute(_DONE, {"owner": owner, "name": request}).one_or_none()
                if done is not None:
                    return Receipt(conversation=done.conversation, message=done.message, again=True)
            receipt = do(connection)
            if request is not None:
                connection.execute(
                    _DO,
                    {
                        "owner": owner,
                        "name": request,
                        "conversation": receipt.conversation,
                        "message": receipt.message,
                        "created": now(),
                    },
                )
        return receipt

    @staticmethod
    def _check_owner(owner: str) -> None:
        if not owner or len(owner) > _MAX_OWNER or not owner.isprintable():
            raise StoreError(f"an owner's key has 1 to {_MAX_OWNER} printable characters")

    @staticmethod
    def _new_message(
        conversation: Row[Any],
        parent: str | None,
        speaker: int,
        text: str,
        status: Status,
        *,
        writer: str | None = None,
        details: Mapping[str, Any] | None = None,
        request: str | None = None,
        place: int = 1,
    ) -> dict[str, Any]:
        """The values of a new row, the `place`th behind those of a conversation that was entered."""
        return {
            "id": new_id(),
            "conversation": conversation.id,
            "parent": parent,
            "number": (conversation.last_number or 0) + place,
            "speaker": speaker,
            "text": text,
            "status": status,
            "writer": writer,
            "persona": conversation.persona,
            "details": as_json(dict(details or {}), "details"),
            "request": request,
            "created": now(),
        }

    @staticmethod
    def _insert(connection: Connection, *rows: Mapping[str, Any]) -> None:
        """Put new messages into the table."""
        connection.execute(_INSERT_MESSAGE, rows)

    @staticmethod
    def _insert_persona(
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
    def _change(connection: Connection, conversation: str, **values: object) -> None:
        """Set columns of a conversation; it is the latest of its owner's now."""
        connection.execute(_CHANGE, {"of_conversation": conversation, "at": now(), **values})
