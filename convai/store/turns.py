"""The tree of a conversation: what is said, marked, and which branch is shown. Replies are in `Replies`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import EllipsisType
from typing import Any, Final

from sqlalchemy import Connection

from convai.conversation.tree import last_said, newest_below
from convai.core.dialog import USER, check_lines, check_text
from convai.core.safe_text import one_line
from convai.store import queries
from convai.store.errors import Conflict
from convai.store.prepared import Row
from convai.store.records import COMPLETE, STREAMING, NewTurn, Receipt
from convai.store.writer import CHANGE_MESSAGE, Writer, as_json

OPENING: Final = 80
"""Characters that a conversation without a title is called by."""


class Turns:
    """Everything that makes, marks or chooses messages.

    All raise NotFound for a conversation or message that is not the owner's, Conflict where a reply is being
    written, and DataError for text that is blank, too long or has control characters.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

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

        def do(connection: Connection) -> Receipt:
            row = self._writer.idle(connection, owner, conversation)
            said = self._said(row, clean, after, request)
            self._writer.insert(connection, said)
            self._lead_to(connection, row, said)
            return Receipt(conversation=row.id, message=said["id"])

        return self._writer.once(owner, request, do)

    def say(
        self,
        owner: str,
        conversation: str,
        text: str,
        *,
        after: str | EllipsisType | None = ...,
        request: str | None = None,
        persona: int | None = None,
    ) -> NewTurn:
        """`append_user`, then `begin_reply`, in one transaction."""
        clean = check_text(text, "message")
        made: list[NewTurn] = []

        def do(connection: Connection) -> Receipt:
            row = self._writer.idle(connection, owner, conversation)
            said = self._said(row, clean, after, request)
            draft = self._writer.draft(row, said["id"], None, place=2, persona=persona)
            self._writer.insert(connection, said, draft)
            self._lead_to(connection, row, said)
            receipt = Receipt(conversation=row.id, message=said["id"])
            alone = row.last_number is None if row.leaf is None else not row.followed
            beside = (
                [said["id"]] if alone else queries.children(connection, row.id, row.leaf, self._writer.id)
            )
            made.append(
                NewTurn(
                    receipt=receipt,
                    message=queries.message_of(said, beside, self._writer.id),
                    draft=queries.message_of(draft, [draft["id"]], self._writer.id),
                )
            )
            return receipt

        receipt = self._writer.once(owner, request, do)
        return NewTurn(receipt=receipt) if receipt.again else made[-1]

    def _said(
        self, row: Row, clean: str, after: str | EllipsisType | None, request: str | None
    ) -> dict[str, Any]:
        if not isinstance(after, EllipsisType) and after != row.leaf:
            raise Conflict("the conversation has moved on since; look at it and send again")
        return self._writer.new_message(row, row.leaf, USER, clean, COMPLETE, request=request)

    def _lead_to(self, connection: Connection, row: Row, said: dict[str, Any]) -> None:
        self._writer.change(
            connection, row.id, leaf=said["id"], opening=row.opening or said["text"][:OPENING]
        )

    def edit(
        self,
        owner: str,
        conversation: str,
        message: str,
        text: str,
        *,
        request: str | None = None,
        persona: int | None = None,
    ) -> Receipt:
        """Write a message anew: a sibling of the old one, and the end of the current branch.

        The agent's keep their lines, as the greetings of cards do. `persona`: the version of it that says
        so, None for the one in use.
        """
        clean = check_lines(text, "message")

        def do(connection: Connection) -> Receipt:
            row = self._writer.idle(connection, owner, conversation)
            old = queries.message_row(connection, row.id, message, self._writer.id)
            said = one_line(clean) if old.speaker == USER else clean
            anew = self._writer.new_message(
                row, old.parent, old.speaker, said, COMPLETE, request=request, persona=persona
            )
            self._writer.insert(connection, anew)
            self._writer.change(connection, row.id, leaf=anew["id"])
            return Receipt(conversation=row.id, message=anew["id"])

        return self._writer.once(owner, request, do)

    # -- marks -------------------------------------------------------------------------------------

    def mark(self, owner: str, conversation: str, message: str, kind: str, found: Mapping[str, Any]) -> None:
        """Keep what was found in a message as `details["marks"][kind]`; a reply in the making has none.

        Nobody's order of conversations changes by it. Raises NotFound.
        """
        with self._writer.database.write() as connection:
            row = queries.owned(connection, owner, conversation, lock=True)
            kept = queries.message_row(connection, row.id, message, self._writer.id)
            if kept.status == STREAMING:
                return
            details = json.loads(kept.details)
            marks = details.get("marks")
            details["marks"] = {**(marks if isinstance(marks, dict) else {}), kind: dict(found)}
            values = {"details": as_json(details, "details")}
            CHANGE_MESSAGE.run(connection, {"of_message": kept.id, **values})

    # -- branches ----------------------------------------------------------------------------------

    def undo(self, owner: str, conversation: str, *, request: str | None = None) -> Receipt:
        """Go back to before the user's last message; `Receipt.message` is the end of the branch then.

        Nothing is deleted. Raises Conflict where the user said nothing.
        """

        def do(connection: Connection) -> Receipt:
            row = self._writer.idle(connection, owner, conversation)
            path = queries.branch(connection, row.id, row.leaf, self._writer.id)
            said = last_said(path)
            self._writer.change(connection, row.id, leaf=said.parent)
            return Receipt(conversation=row.id, message=said.parent)

        return self._writer.once(owner, request, do)

    def switch(self, owner: str, conversation: str, message: str, *, request: str | None = None) -> Receipt:
        """Take the branch that `message` is on, to its newest end, which `Receipt.message` names."""

        def do(connection: Connection) -> Receipt:
            row = self._writer.idle(connection, owner, conversation)
            chosen = queries.message_row(connection, row.id, message, self._writer.id)
            leaf = newest_below(queries.links(connection, row.id, self._writer.id), chosen.id)
            self._writer.change(connection, row.id, leaf=leaf)
            return Receipt(conversation=row.id, message=leaf)

        return self._writer.once(owner, request, do)
