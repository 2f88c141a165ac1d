"""Whole conversations: made, given another persona, settings or title, deleted, exported and imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, delete, func, insert, literal, select

from convai.conversation.conversation import Conversation as Talk
from convai.conversation.saved import ChatSettings, dumps, loads
from convai.conversation.staging import NOTHING_STAGED
from convai.core.dialog import USER, Persona, check_text
from convai.core.safe_text import one_line
from convai.store import queries, transfer
from convai.store.records import Receipt
from convai.store.scenes import put_scene, scene_of
from convai.store.tables import conversations, messages, personas
from convai.store.turns import OPENING
from convai.store.writer import Writer, as_json, latest, new_id, now

MAX_TITLE: Final = 200


class Conversations:
    """Operations on whole conversations."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def create(
        self,
        owner: str,
        *,
        persona: Persona | None = None,
        settings: Mapping[str, Any] | None = None,
        title: str = "",
        request: str | None = None,
        taken: Callable[[str], bool] | None = None,
    ) -> Receipt:
        """A new conversation, with version 1 of its persona.

        With `taken` (whether somebody else has a conversation), the one that `request` made before is meant
        again only as long as nobody has it and nothing was said in it.
        """
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
            self._writer.insert_persona(connection, id, 1, who, time)
            return Receipt(conversation=id)

        def stands(connection: Connection, id: str) -> bool:
            if taken is None:
                return True
            there = select(conversations.c.id).where(conversations.c.id == id)
            said = select(messages.c.id).where(messages.c.conversation == id).limit(1)
            empty = connection.execute(said).one_or_none() is None
            return empty and connection.execute(there).one_or_none() is not None and not taken(id)

        return self._writer.once(owner, request, do, stands)

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
                self._writer.insert_persona(connection, row.id, version, who, now())
                self._writer.change(connection, row.id, persona=version)
            return Receipt(conversation=row.id)

        return self._writer.once(owner, request, do)

    def set_settings(
        self, owner: str, conversation: str, settings: Mapping[str, Any], *, request: str | None = None
    ) -> Receipt:
        """Other settings from now on, all of them. Raises NotFound."""
        kept = as_json(dict(settings), "settings")

        def do(connection: Connection) -> Receipt:
            row = queries.owned(connection, owner, conversation, lock=True)
            self._writer.change(connection, row.id, settings=kept)
            return Receipt(conversation=row.id)

        return self._writer.once(owner, request, do)

    def rename(self, owner: str, conversation: str, title: str, *, request: str | None = None) -> Receipt:
        """Another title; blank: the conversation is called by how it begins. Raises NotFound."""

        def do(connection: Connection) -> Receipt:
            row = queries.owned(connection, owner, conversation, lock=True)
            self._writer.change(connection, row.id, title=_title(title))
            return Receipt(conversation=row.id)

        return self._writer.once(owner, request, do)

    def delete(self, owner: str, conversation: str, *, request: str | None = None) -> Receipt:
        """Delete a conversation with all that belongs to it, for good. Raises NotFound."""

        def do(connection: Connection) -> Receipt:
            row = queries.owned(connection, owner, conversation, lock=True)
            connection.execute(delete(conversations).where(conversations.c.id == row.id))
            return Receipt(conversation=row.id)

        return self._writer.once(owner, request, do)

    def names(self, owner: str) -> list[str]:
        """Of all conversations of a person."""
        with self._writer.database.read() as connection:
            return list(connection.scalars(select(conversations.c.id).where(conversations.c.owner == owner)))

    # -- export and import -------------------------------------------------------------------------

    def export_json(self, owner: str, conversation: str) -> str:
        """The whole conversation as JSON; see `convai.conversation.saved`. Raises NotFound."""
        with self._writer.database.read() as connection:
            row = queries.conversation(connection, owner, conversation)
            versions = queries.personas_of(connection, row.id)
            tree = queries.tree(connection, row.id, self._writer.id)
            staging = scene_of(connection, row.id)
        talk = transfer.to_talk(row, versions, tree, staging)
        return dumps(talk, ChatSettings(decoding=row.settings))

    def export_text(self, owner: str, conversation: str) -> str:
        """The current branch as plain text. Raises NotFound."""
        with self._writer.database.read() as connection:
            row = queries.conversation(connection, owner, conversation)
            branch = queries.branch(connection, row.id, row.leaf, self._writer.id)
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
        said, staging = given.messages, transfer.staging_of(given)
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
                    created=min(given.created or time, time),
                    updated=latest(literal(owner), literal(time, BigInteger)),
                )
            )
            for version, persona in given.personas.items():
                self._writer.insert_persona(connection, id, version, persona, time)
            if staging != NOTHING_STAGED:
                put_scene(connection, id, staging.as_json())
            if said:
                connection.execute(insert(messages), list(transfer.rows(id, ids, said, time)))
            return Receipt(conversation=id)

        return self._writer.once(owner, request, do)


def _title(text: str) -> str:
    return one_line(text)[:MAX_TITLE].rstrip()


def _checked(persona: Persona) -> Persona:
    """The persona with clean sentences. Raises DataError."""
    sentences = tuple(
        check_text(text, f"persona sentence {i}") for i, text in enumerate(persona.sentences, 1)
    )
    return Persona(sentences, one_line(persona.name)[:MAX_TITLE])
