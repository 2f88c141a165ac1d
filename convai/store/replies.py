"""Replies in the making: drafts of this store's that are saved now and then, and become whole in one step.

A reply begins with `begin_reply`, `regenerate` or `continue_reply` and ends with `finish_reply` or
`drop_reply`. Until something of it is saved the current branch does not lead there; a draft whose writer has
died is interrupted, and gone if it was empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, Connection, bindparam, exists, func, select, update

from convai.conversation.tree import answered_by_another, check_answerable, check_goes_on
from convai.core.dialog import AGENT, check_lines
from convai.store import queries
from convai.store.errors import Conflict, NotFound
from convai.store.prepared import Prepared, Row
from convai.store.records import COMPLETE, STREAMING, Draft, Message, Receipt
from convai.store.tables import conversations, messages
from convai.store.writer import CHANGE_MESSAGE, Writer, as_json, latest, now

# Built once: building a statement takes longer than running it.
_BEING_WRITTEN: Final = (
    messages.c.id == bindparam("of_message"),
    messages.c.conversation == bindparam("of_conversation"),
    messages.c.status == STREAMING,
    messages.c.writer == bindparam("as_writer"),
)
_OWNED: Final = (
    conversations.c.id == bindparam("of_conversation"),
    conversations.c.owner == bindparam("of_owner"),
)
_DRAFT: Final = Prepared(
    select(messages).where(
        messages.c.id == bindparam("message"), messages.c.conversation == bindparam("conversation")
    )
)
_SAVE_DRAFT: Final = Prepared(
    update(messages).where(*_BEING_WRITTEN, exists().where(*_OWNED)).values(text=bindparam("as_text"))
)
_LEAD_TO_DRAFT: Final = Prepared(
    update(conversations)
    .where(
        *_OWNED,
        conversations.c.leaf.is_distinct_from(bindparam("of_message")),
        exists().where(*_BEING_WRITTEN),
    )
    .values(
        leaf=bindparam("of_message"), updated=latest(conversations.c.owner, bindparam("at", type_=BigInteger))
    )
)


class Replies:
    """Beginning, saving and ending replies.

    All raise NotFound for a conversation or message that is not the owner's, Conflict where a reply is being
    written, and DataError for text that is blank, too long or has control characters.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def append_reply(
        self,
        owner: str,
        conversation: str,
        text: str,
        *,
        status: Literal["complete", "interrupted"] = COMPLETE,
        details: Mapping[str, Any] | None = None,
        request: str | None = None,
        persona: int | None = None,
    ) -> Receipt:
        """A reply that is there at once, at the end of the current branch, by a version of the persona."""
        clean = check_lines(text, "reply")

        def do(connection: Connection) -> Receipt:
            row = self._writer.idle(connection, owner, conversation)
            reply = self._writer.new_message(
                row, row.leaf, AGENT, clean, status, details=details, request=request, persona=persona
            )
            self._writer.insert(connection, reply)
            self._writer.change(connection, row.id, leaf=reply["id"])
            return Receipt(conversation=row.id, message=reply["id"])

        return self._writer.once(owner, request, do)

    def begin_reply(
        self, owner: str, conversation: str, *, request: str | None = None, persona: int | None = None
    ) -> Receipt:
        """A draft behind the end of the current branch. Raises Conflict where that is a reply already.

        With `persona`, the version of it that speaks, that is no matter: others of a group spoke before.
        """

        def do(connection: Connection) -> Receipt:
            row = self._writer.idle(connection, owner, conversation)
            if row.leaf is not None and persona is None:
                check_answerable(queries.message_row(connection, row.id, row.leaf, self._writer.id))
            return self._begun(connection, row, row.leaf, request, persona)

        return self._writer.once(owner, request, do)

    def regenerate(
        self,
        owner: str,
        conversation: str,
        message: str | None = None,
        *,
        request: str | None = None,
        persona: int | None = None,
    ) -> Receipt:
        """A draft beside a reply (None: the last one), or behind a user's message that has none."""

        def do(connection: Connection) -> Receipt:
            row = self._writer.idle(connection, owner, conversation)
            old = self._named(
                connection, row, message, "there is no reply to draw again; say something first"
            )
            return self._begun(connection, row, answered_by_another(old), request, persona)

        return self._writer.once(owner, request, do)

    def continue_reply(
        self, owner: str, conversation: str, message: str | None = None, *, request: str | None = None
    ) -> Receipt:
        """Make a reply (None: the last message) a draft again, to go on from the text it has.

        Raises Conflict for a user's message, and for a reply that something follows.
        """

        def do(connection: Connection) -> Receipt:
            row = self._writer.idle(connection, owner, conversation)
            old = self._named(
                connection, row, message, "there is no reply to go on with; say something first"
            )
            follows = select(func.count()).where(
                messages.c.conversation == row.id, messages.c.parent == old.id
            )
            check_goes_on(old, followed=bool(connection.execute(follows).scalar_one()))
            writing = {"of_message": old.id, "status": STREAMING, "writer": self._writer.id}
            CHANGE_MESSAGE.run(connection, writing)
            self._writer.change(connection, row.id, leaf=old.id)
            return Receipt(conversation=row.id, message=old.id)

        return self._writer.once(owner, request, do)

    def save_draft(self, owner: str, conversation: str, message: str, text: str) -> None:
        """Keep as much of a reply as is there, should the process die. Blank text is not worth it.

        Raises Conflict where `message` is no draft of this store's; so do the next two.
        """
        if text.strip():
            self._settle(owner, conversation, message, text=check_lines(text, "reply"))

    def save_drafts(self, drafts: Sequence[Draft]) -> None:
        """`save_draft` for many in one transaction; what is no draft any more stays as it is."""
        rows = [
            {
                "of_owner": draft.owner,
                "of_conversation": draft.conversation,
                "of_message": draft.message,
                "as_text": check_lines(draft.text, "reply"),
                "as_writer": self._writer.id,
            }
            for draft in sorted(drafts, key=lambda draft: draft.conversation)
            if draft.text.strip()
        ]
        if not rows:
            return
        with self._writer.database.write() as connection:
            # conversations before their messages, and in one order, as everybody locks them
            _LEAD_TO_DRAFT.run(connection, *({**row, "at": now()} for row in rows))
            _SAVE_DRAFT.run(connection, *rows)

    def finish_reply(
        self,
        owner: str,
        conversation: str,
        message: str,
        text: str,
        *,
        status: Literal["complete", "interrupted"] = COMPLETE,
        details: Mapping[str, Any] | None = None,
    ) -> Message:
        """The reply's last word: all of its text. The current branch ends with it."""
        values: dict[str, object] = {"status": status, "writer": None, "text": check_lines(text, "reply")}
        if details is not None:
            values["details"] = as_json(dict(details), "details")
        return self._settle(owner, conversation, message, **values)

    def drop_reply(self, owner: str, conversation: str, message: str) -> str | None:
        """Give a draft up: it is gone, or interrupted if some of it has been saved.

        Returns the end of the current branch.
        """
        with self._writer.database.write() as connection:
            row = queries.owned(connection, owner, conversation, lock=True)
            self._writer.give_up(connection, self._own_draft(connection, row, message))
            return None if row.leaf is None else str(row.leaf)

    def _named(self, connection: Connection, row: Row, message: str | None, none: str) -> Row:
        """The row of a message (None: the last one), or a Conflict that says `none`."""
        id = message or row.leaf
        if id is None:
            raise Conflict(none)
        return queries.message_row(connection, row.id, id, self._writer.id)

    def _begun(
        self,
        connection: Connection,
        row: Row,
        parent: str | None,
        request: str | None,
        persona: int | None = None,
    ) -> Receipt:
        draft = self._writer.draft(row, parent, request, persona=persona)
        self._writer.insert(connection, draft)
        return Receipt(conversation=row.id, message=draft["id"])

    def _settle(self, owner: str, conversation: str, message: str, **values: object) -> Message:
        with self._writer.database.write() as connection:
            row = queries.owned(connection, owner, conversation, lock=True)
            draft = self._own_draft(connection, row, message)
            CHANGE_MESSAGE.run(connection, {"of_message": draft.id, **values})
            self._writer.change(connection, row.id, leaf=draft.id)
            beside = queries.children(connection, row.id, draft.parent, self._writer.id)
            return queries.message_of({**draft._asdict(), **values}, beside, self._writer.id)

    def _own_draft(self, connection: Connection, row: Row, message: str) -> Row:
        # also one that readers know nothing of: empty, and taken up by another writer
        draft = _DRAFT.one_or_none(connection, {"message": message, "conversation": row.id})
        if draft is None:
            raise NotFound(f"there is no message {message!r} in this conversation")
        if draft.status != STREAMING or draft.writer != self._writer.id:
            raise Conflict("this reply is not being written here")
        return draft
