"""What people told of themselves, beside their conversations: a shelf of `convai.conversation.memory`.

Every query goes by the owner. A fact stays when the conversation that it was told in is deleted, and goes
when its owner says so, or with the owner.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_pg
from sqlalchemy.dialects.sqlite import insert as insert_lite

from convai.conversation.memory.facts import Fact, check_room, no_such
from convai.store.database import Database
from convai.store.tables import conversations, facts, imported, memories, requests
from convai.store.writer import Writer

_ALL: Final = select(facts).where(facts.c.owner == bindparam("owner")).order_by(facts.c.created, facts.c.id)
_COUNT: Final = select(func.count()).select_from(facts).where(facts.c.owner == bindparam("owner"))
_MEMORY: Final = select(memories).where(memories.c.owner == bindparam("owner"))
_AT_ONCE: Final = 500
"""Names in a query, of which SQLite takes no more than some thousands."""


class Memories:
    """A `Shelf` of facts. Safe to use from any thread; what is written is on the disk when a call returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def facts(self, owner: str) -> list[Fact]:
        """All facts of a person, oldest first."""
        with self._database.read() as connection:
            return [_fact(row) for row in connection.execute(_ALL, {"owner": owner})]

    def revision(self, owner: str) -> int:
        """Another number after every change of the person's facts."""
        with self._database.read() as connection:
            row = connection.execute(_MEMORY, {"owner": owner}).one_or_none()
            return 0 if row is None else int(row.revision)

    def put(self, owner: str, fact: Fact, replaces: Sequence[str] = ()) -> None:
        """Keep a new fact, which takes the place of others. Raises MemoryFull, StoreError for no owner."""
        Writer.check_owner(owner)
        with self._database.write() as connection:
            check_room(int(connection.execute(_COUNT, {"owner": owner}).scalar_one()))
            for ids in _portions(replaces):
                connection.execute(
                    update(facts).where(facts.c.owner == owner, facts.c.id.in_(ids)).values(instead=fact.id)
                )
            connection.execute(insert(facts).values(owner=owner, **_values(fact)))
            self._changed(connection, owner)

    def change(self, owner: str, fact: Fact) -> None:
        """Keep another version of a fact. Raises NoSuchFact."""
        with self._database.write() as connection:
            changed = (
                update(facts).where(facts.c.owner == owner, facts.c.id == fact.id).values(**_values(fact))
            )
            if connection.execute(changed).rowcount != 1:
                raise no_such(fact.id)
            self._changed(connection, owner)

    def drop(self, owner: str, ids: Sequence[str] | None = None) -> int:
        """Forget facts for good (None: all of them); how many there were."""
        with self._database.write() as connection:
            mine = delete(facts).where(facts.c.owner == owner)
            if ids is None:
                gone = connection.execute(mine).rowcount
            else:
                gone = sum(
                    connection.execute(mine.where(facts.c.id.in_(some))).rowcount for some in _portions(ids)
                )
            if gone:
                self._changed(connection, owner)
        return gone

    def enabled(self, owner: str) -> bool:
        """Whether the person wants to be remembered: yes, unless they said no."""
        with self._database.read() as connection:
            row = connection.execute(_MEMORY, {"owner": owner}).one_or_none()
            return row is None or bool(row.enabled)

    def enable(self, owner: str, on: bool) -> None:
        """Set that. Raises StoreError for what can be no owner."""
        Writer.check_owner(owner)
        with self._database.write() as connection:
            self._changed(connection, owner, enabled=int(on))

    def drop_person(self, owner: str) -> None:
        """Delete a person: conversations, memory, switch, what they imported and asked for."""
        with self._database.write() as connection:
            for table in (conversations, facts, memories, requests, imported):
                connection.execute(delete(table).where(table.c.owner == owner))

    def _changed(self, connection: Connection, owner: str, **values: Any) -> None:
        """Count a change of the person's memory; set columns of its row, which is made if there is none."""
        make = insert_lite if self._database.sqlite else insert_pg
        # no time, which may stand still, and no count: one from before it was deleted must not come again
        number = secrets.randbits(62)
        made = make(memories).values(owner=owner, **{"enabled": 1, "revision": number, **values})
        connection.execute(
            made.on_conflict_do_update(index_elements=["owner"], set_={"revision": number, **values})
        )


def _portions(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]


def _fact(row: Any) -> Fact:
    return Fact(
        id=row.id,
        text=row.text,
        said=row.said,
        conversation=row.conversation,
        message=row.message,
        turn=row.turn,
        created=row.created,
        instead=row.instead,
        aside=bool(row.aside),
    )


def _values(fact: Fact) -> dict[str, Any]:
    return {
        "id": fact.id,
        "text": fact.text,
        "said": fact.said,
        "conversation": fact.conversation,
        "message": fact.message,
        "turn": fact.turn,
        "created": fact.created,
        "instead": fact.instead,
        "aside": int(fact.aside),
    }
