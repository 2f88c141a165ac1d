"""The tree of a conversation: messages, replies in the making, branches.

A reply begins as a draft of this store's (`begin_reply`, `regenerate`, `continue_reply`), is saved now and
then, and becomes whole in one step (`finish_reply`). Until something of it is saved the current branch does
not lead there; a draft whose writer has died is interrupted, and gone if it was empty.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import EllipsisType
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, bindparam, delete, exists, func, select, update

from convai.dialog import AGENT, USER, check_text
from convai.store import queries
from convai.store.base import Base, as_json, now
from convai.store.errors import Conflict
from convai.store.records import COMPLETE, INTERRUPTED, STREAMING, Draft, Message, Receipt, Said
from convai.store.tables import conversations, messages

OPENING: Final = 80
"""Characters that a conversation without a title is called by."""


class Turns(Base):
    """Everything that makes, changes or chooses messages.

    All raise NotFound for a conversation or message that is not the owner's, Conflict where a reply is being
    written, and DataError for text that is blank, too long or has control characters.
    """

    # -- saying something --------------------------------------------------------------------------

    def append_user(
        self,
        owner: str,
        conversation: str,
        text: str,
        *,
        after: str | EllipsisType | None = ...,
        request: str | None = None,
    ) -> Receipt:
        """The user says something at the end of the current branch.

        Raises Conflict where `after` is given and is not that end (None: nothing has been said yet).
        """
        clean = check_text(text, "message")
        return self._once(
            owner,
            request,
            lambda connection: self._append(connection, owner, conversation, clean, after, request),
        )

    def say(
        self,
        owner: str,
        conversation: str,
        text: str,
        *,
        after: str | EllipsisType | None = ...,
        request: str | None = None,
    ) -> Said:
        """`append_user`, then `begin_reply`, in one transaction."""
        clean = check_text(text, "message")
        made: list[Message] = []

        def do(connection: Connection) -> Receipt:
            receipt = self._append(connection, owner, conversation, clean, after, request)
            row = queries.owned(connection, owner, conversation)
            draft = self._draft(connection, row, receipt.message, None)
            rows = [
                queries.message_row(connection, row.id, str(one.message), self.writer)
                for one in (receipt, draft)
            ]
            made[:] = queries.with_siblings(connection, row.id, rows, self.writer)
            return receipt

        receipt = self._once(owner, request, do)
        if receipt.again:
            return Said(receipt=receipt)
        return Said(receipt=receipt, message=made[0], draft=made[1])

    def _append(
        self,
        connection: Connection,
        owner: str,
        conversation: str,
        clean: str,
        after: str | EllipsisType | None,
        request: str | None,
    ) -> Receipt:
        row = self._idle(connection, owner, conversation)
        if not isinstance(after, EllipsisType) and after != row.leaf:
            raise Conflict("the conversation has moved on since; look at it and send again")
        id = self._insert_message(connection, row, row.leaf, USER, clean, COMPLETE, request=request)
        self._change(connection, row.id, leaf=id, opening=row.opening or clean[:OPENING])
        return Receipt(conversation=row.id, message=id)

    def edit(
        self, owner: str, conversation: str, message: str, text: str, *, request: str | None = None
    ) -> Receipt:
        """Write a message anew: a sibling of the old one, and the end of the current branch."""
        clean = check_text(text, "message")

        def do(connection: Connection) -> Receipt:
            row = self._idle(connection, owner, conversation)
            old = queries.message_row(connection, row.id, message, self.writer)
            id = self._insert_message(
                connection, row, old.parent, old.speaker, clean, COMPLETE, request=request
            )
            self._change(connection, row.id, leaf=id)
            return Receipt(conversation=row.id, message=id)

        return self._once(owner, request, do)

    # -- replies -----------------------------------------------------------------------------------

    def append_reply(
        self,
        owner: str,
        conversation: str,
        text: str,
        *,
        status: Literal["complete", "interrupted"] = COMPLETE,
        details: Mapping[str, Any] | None = None,
        request: str | None = None,
    ) -> Receipt:
        """A reply that is there at once, at the end of the current branch."""
        clean = check_text(text, "reply")

        def do(connection: Connection) -> Receipt:
            row = self._idle(connection, owner, conversation)
            id = self._insert_message(
                connection, row, row.leaf, AGENT, clean, status, details=details, request=request
            )
            self._change(connection, row.id, leaf=id)
            return Receipt(conversation=row.id, message=id)

        return self._once(owner, request, do)

    def begin_reply(self, owner: str, conversation: str, *, request: str | None = None) -> Receipt:
        """A draft behind the end of the current branch. Raises Conflict where that is a reply already."""

        def do(connection: Connection) -> Receipt:
            row = self._idle(connection, owner, conversation)
            if row.leaf is not None:
                last = queries.message_row(connection, row.id, row.leaf, self.writer)
                if last.speaker == AGENT:
                    raise Conflict("the last message is a reply; draw it again, or say something")
            return self._draft(connection, row, row.leaf, request)

        return self._once(owner, request, do)

    def regenerate(
        self, owner: str, conversation: str, message: str | None = None, *, request: str | None = None
    ) -> Receipt:
        """A draft beside a reply (None: the last one), or behind a user's message that has none."""

        def do(connection: Connection) -> Receipt:
            row = self._idle(connection, owner, conversation)
            id = message or row.leaf
            if id is None:
                raise Conflict("there is no reply to draw again; say something first")
            old = queries.message_row(connection, row.id, id, self.writer)
            return self._draft(connection, row, old.id if old.speaker == USER else old.parent, request)

        return self._once(owner, request, do)

    def continue_reply(
        self, owner: str, conversation: str, message: str | None = None, *, request: str | None = None
    ) -> Receipt:
        """Make a reply (None: the last message) a draft again, to go on from the text it has.

        Raises Conflict for a user's message, and for a reply that something follows.
        """

        def do(connection: Connection) -> Receipt:
            row = self._idle(connection, owner, conversation)
            id = message or row.leaf
            if id is None:
                raise Conflict("there is no reply to go on with; say something first")
            old = queries.message_row(connection, row.id, id, self.writer)
            if old.speaker != AGENT:
                raise Conflict("only a reply can be gone on with")
            follows = select(func.count()).where(
                messages.c.conversation == row.id, messages.c.parent == old.id
            )
            if connection.execute(follows).scalar_one():
                raise Conflict("something was said after this reply; draw another one instead")
            connection.execute(
                update(messages).where(messages.c.id == old.id).values(status=STREAMING, writer=self.writer)
            )
            self._change(connection, row.id, leaf=old.id)
            return Receipt(conversation=row.id, message=old.id)

        return self._once(owner, request, do)

    def save_draft(self, owner: str, conversation: str, message: str, text: str) -> None:
        """Keep as much of a reply as is there, should the process die. Blank text is not worth it.

        Raises Conflict where `message` is no draft of this store's; so do the next two.
        """
        if text.strip():
            self._settle(owner, conversation, message, text=check_text(text, "reply"))

    def save_drafts(self, drafts: Sequence[Draft]) -> None:
        """`save_draft` for many in one transaction; what is no draft any more stays as it is."""
        rows = [
            {
                "of_owner": draft.owner,
                "of_conversation": draft.conversation,
                "of_message": draft.message,
                "as_text": check_text(draft.text, "reply"),
            }
            for draft in drafts
            if draft.text.strip()
        ]
        if not rows:
            return
        being_written = (
            messages.c.id == bindparam("of_message"),
            messages.c.conversation == bindparam("of_conversation"),
            messages.c.status == STREAMING,
            messages.c.writer == self.writer,
        )
        owned = (
            conversations.c.id == bindparam("of_conversation"),
            conversations.c.owner == bindparam("of_owner"),
        )
        with self.database.write() as connection:
            connection.execute(
                update(messages)
                .where(*being_written, exists().where(*owned))
                .values(text=bindparam("as_text")),
                rows,
            )
            connection.execute(
                update(conversations)
                .where(
                    *owned,
                    conversations.c.leaf.is_distinct_from(bindparam("of_message")),
                    exists().where(*being_written),
                )
                .values(leaf=bindparam("of_message"), updated=now()),
                rows,
            )

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
        values: dict[str, object] = {"status": status, "writer": None, "text": check_text(text, "reply")}
        if details is not None:
            values["details"] = as_json(dict(details), "details")
        return self._settle(owner, conversation, message, **values)

    def drop_reply(self, owner: str, conversation: str, message: str) -> str | None:
        """Give a draft up: it is gone, or interrupted if some of it has been saved.

        Returns the end of the current branch.
        """
        with self.database.write() as connection:
            row = queries.owned(connection, owner, conversation, lock=True)
            draft = self._own_draft(connection, row, message)
            if draft.text:
                connection.execute(_where(draft.id, update(messages)).values(status=INTERRUPTED, writer=None))
            else:
                connection.execute(_where(draft.id, delete(messages)))
            return None if row.leaf is None else str(row.leaf)

    def _draft(
        self, connection: Connection, row: Row[Any], parent: str | None, request: str | None
    ) -> Receipt:
        id = self._insert_message(
            connection, row, parent, AGENT, "", STREAMING, writer=self.writer, request=request
        )
        return Receipt(conversation=row.id, message=id)

    def _settle(self, owner: str, conversation: str, message: str, **values: object) -> Message:
        with self.database.write() as connection:
            row = queries.owned(connection, owner, conversation, lock=True)
            draft = self._own_draft(connection, row, message)
            connection.execute(_where(draft.id, update(messages)).values(**values))
            self._change(connection, row.id, leaf=draft.id)
            settled = queries.message_row(connection, row.id, draft.id, self.writer)
            return queries.with_siblings(connection, row.id, [settled], self.writer)[0]

    def _own_draft(self, connection: Connection, row: Row[Any], message: str) -> Row[Any]:
        draft = queries.message_row(connection, row.id, message, self.writer)
        if draft.status != STREAMING or draft.writer != self.writer:
            raise Conflict("this reply is not being written here")
        return draft

    def _idle(self, connection: Connection, owner: str, conversation: str) -> Row[Any]:
        """The conversation's row, locked, when no reply is being written; drafts of the dead are settled."""
        row = queries.owned(connection, owner, conversation, lock=True)
        drafts = connection.execute(
            select(messages.c.id, messages.c.writer, messages.c.text).where(
                messages.c.conversation == row.id, messages.c.status == STREAMING
            )
        ).all()
        if any(draft.writer == self.writer for draft in drafts):
            raise Conflict("a reply is being written; stop it first")
        for draft in drafts:
            if draft.text:
                connection.execute(_where(draft.id, update(messages)).values(status=INTERRUPTED, writer=None))
            else:
                connection.execute(_where(draft.id, delete(messages)))
        return row

    def mark(self, owner: str, conversation: str, message: str, kind: str, found: Mapping[str, Any]) -> None:
        """Keep what was found in a message as `details["marks"][kind]`; a reply in the making has none.

        Nobody's order of conversations changes by it. Raises NotFound.
        """
        with self.database.write() as connection:
            row = queries.owned(connection, owner, conversation, lock=True)
            kept = queries.message_row(connection, row.id, message, self.writer)
            if kept.status == STREAMING:
                return
            details = json.loads(kept.details)
            marks = details.get("marks")
            details["marks"] = {**(marks if isinstance(marks, dict) else {}), kind: dict(found)}
            values = {"details": as_json(details, "details")}
            connection.execute(_where(kept.id, update(messages)).values(**values))

    # -- branches ----------------------------------------------------------------------------------

    def undo(self, owner: str, conversation: str, *, request: str | None = None) -> Receipt:
        """Go back to before the user's last message; `Receipt.message` is the end of the branch then.

        Nothing is deleted. Raises Conflict where the user said nothing.
        """

        def do(connection: Connection) -> Receipt:
            row = self._idle(connection, owner, conversation)
            path = queries.branch(connection, row.id, row.leaf, self.writer)
            said = [message for message in path if message.speaker == USER]
            if not said:
                raise Conflict("there is nothing to take back")
            self._change(connection, row.id, leaf=said[-1].parent)
            return Receipt(conversation=row.id, message=said[-1].parent)

        return self._once(owner, request, do)

    def switch(self, owner: str, conversation: str, message: str, *, request: str | None = None) -> Receipt:
        """Take the branch that `message` is on, to its newest end, which `Receipt.message` names."""

        def do(connection: Connection) -> Receipt:
            row = self._idle(connection, owner, conversation)
            chosen = queries.message_row(connection, row.id, message, self.writer)
            leaf = queries.newest_below(connection, row.id, chosen.id, self.writer)
            self._change(connection, row.id, leaf=leaf)
            return Receipt(conversation=row.id, message=leaf)

        return self._once(owner, request, do)


def _where(id: str, statement: Any) -> Any:
    return statement.where(messages.c.id == id)
