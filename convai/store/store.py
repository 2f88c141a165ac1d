"""Conversations that are never lost: every operation is on the disk when it returns.

Each names the owner, and nothing of another owner's is ever found. Operations that change something take a
`request`: a name, unique for the owner, under which it is done once, however often it is asked for. Safe to
use from any thread; a call blocks until the disk has it, so an event loop calls from a thread of its own.

A conversation's replies are written by one process at a time. If that dies, every later store shows what was
saved of a reply as interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, delete, func, insert, literal, select

from convai.conversation.conversation import MOST_REJECTED
from convai.conversation.conversation import Conversation as Talk
from convai.conversation.saved import ChatSettings, dumps, loads
from convai.core.dialog import USER, Persona, check_text
from convai.core.safe_text import one_line
from convai.store import listing, queries, transfer
from convai.store.base import as_json, latest, new_id, now
from convai.store.errors import StoreError
from convai.store.records import Branch, Conversation, Drawn, Message, Page, Receipt
from convai.store.tables import conversations, messages, personas
from convai.store.turns import OPENING, Turns

MAX_TITLE: Final = 200
MAX_PAGE: Final = 1000


class Store(Turns):
    """The conversations in one database. What happens inside a conversation is in `Turns`."""

    # -- reading -----------------------------------------------------------------------------------

    def find(self, owner: str, *, search: str = "", after: str | None = None, limit: int = 50) -> Page:
        """The owner's conversations, the latest first, behind the one called `after`.

        `search`: only those that have each of these words in their title or in a message, in any case.
        Raises NotFound where `after` is none of the owner's, StoreError for a limit outside 1 to 1000.
        """
        self._check_owner(owner)
        if not 1 <= limit <= MAX_PAGE:
            raise StoreError(f"limit={limit}: use 1 to {MAX_PAGE}")
        with self.database.read() as connection:
            return listing.page(connection, owner, self.writer, one_line(search), after, limit)

    def load(self, owner: str, conversation: str) -> Conversation:
        """A conversation without its messages. Raises NotFound."""
        with self.database.read() as connection:
            return queries.conversation(connection, owner, conversation)

    def branch(
        self, owner: str, conversation: str, *, until: str | None = None, limit: int | None = None
    ) -> Branch:
        """The current branch (or that up to the message `until`), and how many earlier ones it has.

        With `limit` only that many of its last messages. Raises NotFound.
        """
        with self.database.read() as connection:
            row = queries.owned(connection, owner, conversation)
            leaf = row.leaf
            if until is not None:
                leaf = queries.message_row(connection, row.id, until, self.writer).id
            path = queries.branch(connection, row.id, leaf, self.writer, limit)
            earlier = 0
            if path and path[0].parent is not None:
                earlier = queries.branch_length(connection, row.id, path[0].parent)
            return Branch(path, earlier)

    def replies(
        self,
        owner: str,
        conversation: str,
        parent: str | None,
        *,
        before: Message | None = None,
        latest: int = MOST_REJECTED,
    ) -> Drawn:
        """The replies to `parent` (those that came `before` one of them), and the `latest` texts."""
        with self.database.read() as connection:
            id = queries.owned(connection, owner, conversation).id
            number = None if before is None else before.number
            return queries.replies(connection, id, parent, self.writer, number, latest)

    def message(self, owner: str, conversation: str, message: str) -> Message:
        """One message. Raises NotFound."""
        with self.database.read() as connection:
            id = queries.owned(connection, owner, conversation).id
            row = queries.message_row(connection, id, message, self.writer)
            return queries.with_siblings(connection, id, [row], self.writer)[0]

    def tree(self, owner: str, conversation: str) -> list[Message]:
        """All messages of all branches, parents before children. Raises NotFound."""
        with self.database.read() as connection:
            row = queries.owned(connection, owner, conversation)
            return queries.tree(connection, row.id, self.writer)

    def personas(self, owner: str, conversation: str) -> dict[int, Persona]:
        """Every persona that a conversation has had, by its version. Raises NotFound."""
        with self.database.read() as connection:
            return self._personas(connection, queries.owned(connection, owner, conversation).id)

    @staticmethod
    def _personas(connection: Connection, conversation: str) -> dict[int, Persona]:
        versions = select(personas.c.version).where(personas.c.conversation == conversation)
        return {
            version: queries.persona(connection, conversation, version)
            for version in connection.scalars(versions.order_by(personas.c.version)).all()
        }

    # -- changing ----------------------------------------------------------------------------------

    def create(
        self,
        owner: str,
        *,
        persona: Persona | None = None,
        settings: Mapping[str, Any] | None = None,
        title: str = "",
        request: str | None = None,
    ) -> Receipt:
        """A new conversation, with version 1 of its persona."""
        who = _checked(persona or Persona())
        kept = as_json(dict(settings or {}), "settings")

        def do(connection: Connection) -> Receipt:
            id, time = new_id(), now()
            connection.execute(
                insert(conversations).values(
                    id=id,
                    owner=owner,
                    title=_title(title),
                    opening="",
                    settings=kept,
                    persona=1,
                    leaf=None,
                    created=time,
                    updated=latest(literal(owner), literal(time, BigInteger)),
                )
            )
            self._insert_persona(connection, id, 1, who, time)
            return Receipt(conversation=id)

        return self._once(owner, request, do)

    def set_persona(
        self, owner: str, conversation: str, persona: Persona, *, request: str | None = None
    ) -> Receipt:
        """Another persona from now on: the next version, unless it is the one in use. Raises NotFound."""
        who = _checked(persona)

        def do(connection: Connection) -> Receipt:
            row = queries.owned(connection, owner, conversation, lock=True)
            if queries.persona(connection, row.id, row.persona) != who:
                newest = select(func.max(personas.c.version)).where(personas.c.conversation == row.id)
                version = connection.execute(newest).scalar_one() + 1
                self._insert_persona(connection, row.id, version, who, now())
                self._change(connection, row.id, persona=version)
            return Receipt(conversation=row.id)

        return self._once(owner, request, do)

    def set_settings(
        self, owner: str, conversation: str, settings: Mapping[str, Any], *, request: str | None = None
    ) -> Receipt:
        """Other settings from now on, all of them. Raises NotFound."""
        kept = as_json(dict(settings), "settings")

        def do(connection: Connection) -> Receipt:
            row = queries.owned(connection, owner, conversation, lock=True)
            self._change(connection, row.id, settings=kept)
            return Receipt(conversation=row.id)

        return self._once(owner, request, do)

    def rename(self, owner: str, conversation: str, title: str, *, request: str | None = None) -> Receipt:
        """Another title; blank: the conversation is called by how it begins. Raises NotFound."""

        def do(connection: Connection) -> Receipt:
            row = queries.owned(connection, owner, conversation, lock=True)
            self._change(connection, row.id, title=_title(title))
            return Receipt(conversation=row.id)

        return self._once(owner, request, do)

    def delete(self, owner: str, conversation: str, *, request: str | None = None) -> Receipt:
        """Delete a conversation with all that belongs to it, for good. Raises NotFound."""

        def do(connection: Connection) -> Receipt:
            row = queries.owned(connection, owner, conversation, lock=True)
            connection.execute(delete(conversations).where(conversations.c.id == row.id))
            return Receipt(conversation=row.id)

        return self._once(owner, request, do)

    # -- export and import -------------------------------------------------------------------------

    def export_json(self, owner: str, conversation: str) -> str:
        """The whole conversation as JSON; see `convai.conversation.saved`. Raises NotFound."""
        with self.database.read() as connection:
            row = queries.conversation(connection, owner, conversation)
            versions = self._personas(connection, row.id)
            tree = queries.tree(connection, row.id, self.writer)
        return dumps(transfer.to_talk(row, versions, tree), ChatSettings(decoding=row.settings))

    def export_text(self, owner: str, conversation: str) -> str:
        """The current branch as plain text. Raises NotFound."""
        with self.database.read() as connection:
            row = queries.conversation(connection, owner, conversation)
            branch = queries.branch(connection, row.id, row.leaf, self.writer)
        return transfer.to_text(row.persona, branch)

    def import_json(self, owner: str, text: str, where: str, *, request: str | None = None) -> Receipt:
        """A new conversation from what `export_json`, or the terminal, wrote.

        Raises DataError, beginning with `where`.
        """
        talk, settings = loads(text, where)
        return self._import(owner, talk, transfer.settings_of(settings), request)

    def import_text(self, owner: str, text: str, where: str, *, request: str | None = None) -> Receipt:
        """A new conversation from plain text. Raises DataError, beginning with `where`."""
        return self._import(owner, transfer.from_text(text, where), {}, request)

    def _import(self, owner: str, given: Talk, settings: Mapping[str, Any], request: str | None) -> Receipt:
        kept = as_json(dict(settings), "settings")
        said = given.messages
        first = next((message.text for message in said if message.speaker == USER), "")
        for message in said:
            as_json(dict(message.details), "details")

        def do(connection: Connection) -> Receipt:
            id, time = new_id(), now()
            ids = {message.id: new_id() for message in said}
            connection.execute(
                insert(conversations).values(
                    id=id,
                    owner=owner,
                    title=_title(given.title),
                    opening=first[:OPENING],
                    settings=kept,
                    persona=given.version,
                    leaf=None if given.leaf is None else ids[given.leaf],
                    created=time,
                    updated=latest(literal(owner), literal(time, BigInteger)),
                )
            )
            for version, persona in given.personas.items():
                self._insert_persona(connection, id, version, persona, time)
            if said:
                connection.execute(insert(messages), list(transfer.rows(id, ids, said, time)))
            return Receipt(conversation=id)

        return self._once(owner, request, do)


def _title(text: str) -> str:
    return one_line(text)[:MAX_TITLE].rstrip()


def _checked(persona: Persona) -> Persona:
    """The persona with clean sentences. Raises DataError."""
    sentences = tuple(
        check_text(text, f"persona sentence {i}") for i, text in enumerate(persona.sentences, 1)
    )
    return Persona(sentences, one_line(persona.name)[:MAX_TITLE])
