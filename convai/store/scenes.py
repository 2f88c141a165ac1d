"""What is kept beside conversations: characters and lorebooks somebody imported, and what is in each chat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from convai.conversation.staging import NOTHING_STAGED, Staging, staging_of
from convai.core.dialog import Persona
from convai.core.safe_text import one_line
from convai.store import queries
from convai.store.errors import Conflict, NotFound, StoreError
from convai.store.prepared import Prepared
from convai.store.records import Receipt
from convai.store.tables import imported, personas, scenes
from convai.store.writer import Writer, new_id, now

Kind = Literal["character", "book", "you"]
"""What is kept: characters, lorebooks, and who somebody wants to be known as."""
MOST_KEPT: Final = 1_000
"""Characters and books of one person."""
_SCENE: Final = Prepared(select(scenes.c.scene).where(scenes.c.conversation == bindparam("conversation")))


class Imported(NamedTuple):
    """A character or a book that somebody imported; `content` is its JSON."""

    id: str
    kind: Kind
    name: str
    content: str
    created: int


class Scenes:
    """What stands around conversations. Nothing of another owner's is ever found."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    # -- what was imported -------------------------------------------------------------------------

    def keep(self, owner: str, kind: Kind, name: str, content: str) -> Imported:
        """Keep a character or a book. Raises StoreError where there are too many."""
        self._writer.check_owner(owner)
        with self._writer.database.write() as connection:
            there = select(func.count(), func.max(imported.c.created)).where(imported.c.owner == owner)
            count, last = connection.execute(there).one()
            if count >= MOST_KEPT:
                raise StoreError(
                    f"{MOST_KEPT:,} characters, lorebooks and personas are kept already; delete some"
                )
            # within a tick of the clock they have an order, too
            at = now() if last is None else max(now(), last + 1)
            row = Imported(new_id(), kind, one_line(name)[:100].rstrip(), content, at)
            connection.execute(insert(imported).values(owner=owner, **row._asdict()))
        return row

    def kept(self, owner: str, kind: Kind) -> list[Imported]:
        """All of a kind, the latest first."""
        with self._writer.database.read() as connection:
            rows = connection.execute(
                select(imported)
                .where(imported.c.owner == owner, imported.c.kind == kind)
                .order_by(imported.c.created.desc(), imported.c.id)
            )
            return [Imported(row.id, kind, row.name, row.content, row.created) for row in rows]

    def one(self, owner: str, kind: Kind, id: str) -> Imported:
        """One of them. Raises NotFound."""
        row = None
        if queries.IDENT.fullmatch(id):
            with self._writer.database.read() as connection:
                wanted = (imported.c.owner == owner, imported.c.kind == kind, imported.c.id == id)
                row = connection.execute(select(imported).where(*wanted)).one_or_none()
        if row is None:
            raise NotFound(f"there is no {kind} {id[:64]!r}")
        return Imported(row.id, kind, row.name, row.content, row.created)

    def put(self, owner: str, kind: Kind, id: str, name: str, content: str) -> None:
        """Keep something else in place of one. Raises NotFound."""
        self.one(owner, kind, id)
        values = {"name": one_line(name)[:100].rstrip(), "content": content}
        with self._writer.database.write() as connection:
            wanted = (imported.c.owner == owner, imported.c.kind == kind, imported.c.id == id)
            connection.execute(update(imported).where(*wanted).values(**values))

    def drop(self, owner: str, kind: Kind, id: str) -> None:
        """Delete one for good; conversations with it keep what they have. Raises NotFound."""
        self.one(owner, kind, id)
        with self._writer.database.write() as connection:
            connection.execute(delete(imported).where(imported.c.owner == owner, imported.c.id == id))

    # -- what is in a conversation -------------------------------------------------------------------

    def scene(self, owner: str, conversation: str) -> Staging:
        """What is in a conversation. Raises NotFound."""
        with self._writer.database.read() as connection:
            return scene_of(connection, queries.owned(connection, owner, conversation).id)

    def known(self, conversation: str) -> Staging:
        """What is in a conversation that was found by its owner."""
        with self._writer.database.read() as connection:
            return scene_of(connection, conversation)

    def set_scene(
        self,
        owner: str,
        conversation: str,
        staging: Staging,
        *,
        persona: Persona | None = None,
        request: str | None = None,
    ) -> Receipt:
        """Another scene from now on; with `persona` the next version of it, whose character is under 0.

        Raises NotFound.
        """

        def do(connection: Connection) -> Receipt:
            row = queries.owned(connection, owner, conversation, lock=True)
            cards = dict(staging.characters)
            if persona is not None:
                newest = select(func.max(personas.c.version)).where(personas.c.conversation == row.id)
                version = connection.execute(newest).scalar_one() + 1
                self._writer.insert_persona(connection, row.id, version, persona, now())
                self._writer.change(connection, row.id, persona=version)
                if 0 in cards:
                    cards[version] = cards.pop(0)
            put_scene(connection, row.id, replace(staging, characters=cards).as_json())
            return Receipt(conversation=row.id)

        return self._writer.once(owner, request, do)

    def set_group(
        self,
        owner: str,
        conversation: str,
        staging: Staging,
        known: Mapping[int, Persona],
        *,
        version: int | None = None,
        request: str | None = None,
    ) -> Receipt:
        """Another group from now on, whose members are versions of the persona; new ones of `known` are kept.

        `version`: the one in use from now on. Raises NotFound, Conflict where somebody came in meanwhile.
        """

        def do(connection: Connection) -> Receipt:
            row = queries.owned(connection, owner, conversation, lock=True)
            there = queries.personas_of(connection, row.id)
            if any(known.get(one, persona) != persona for one, persona in there.items()):
                raise Conflict("somebody else has come into the group meanwhile; do it again")
            for one in sorted(known.keys() - there.keys()):
                self._writer.insert_persona(connection, row.id, one, known[one], now())
            self._writer.change(connection, row.id, persona=version or row.persona)
            put_scene(connection, row.id, staging.as_json())
            return Receipt(conversation=row.id)

        return self._writer.once(owner, request, do)


def scene_of(connection: Connection, conversation: str) -> Staging:
    """What is in a conversation."""
    row = _SCENE.one_or_none(connection, {"conversation": conversation})
    return NOTHING_STAGED if row is None else staging_of(row.scene)


def put_scene(connection: Connection, conversation: str, scene: str) -> None:
    """Keep what is in a conversation, in place of what was."""
    connection.execute(delete(scenes).where(scenes.c.conversation == conversation))
    connection.execute(insert(scenes).values(conversation=conversation, scene=scene))
