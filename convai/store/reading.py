"""Looking at conversations: lists, branches, messages, personas. Nothing of another owner's is ever found."""

from __future__ import annotations

from typing import Final

from convai.conversation.conversation import MOST_REJECTED
from convai.core.dialog import Persona
from convai.core.safe_text import one_line
from convai.store import listing, queries
from convai.store.errors import StoreError
from convai.store.records import Branch, Conversation, DrawnBefore, Message, Page
from convai.store.writer import Writer

MAX_PAGE: Final = 1000


class ConversationReader:
    """What is there. A reply that is being written is shown to its own writer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def find(self, owner: str, *, search: str = "", after: str | None = None, limit: int = 50) -> Page:
        """The owner's conversations, the latest first, behind the one called `after`.

        `search`: only those that have each of these words in their title or in a message, in any case.
        Raises NotFound where `after` is none of the owner's, StoreError for a limit outside 1 to 1000.
        """
        self._writer.check_owner(owner)
        if not 1 <= limit <= MAX_PAGE:
            raise StoreError(f"limit={limit}: use 1 to {MAX_PAGE}")
        with self._writer.database.read() as connection:
            return listing.page(connection, owner, self._writer.id, one_line(search), after, limit)

    def load(self, owner: str, conversation: str) -> Conversation:
        """A conversation without its messages. Raises NotFound."""
        with self._writer.database.read() as connection:
            return queries.conversation(connection, owner, conversation)

    def branch(
        self, owner: str, conversation: str, *, until: str | None = None, limit: int | None = None
    ) -> Branch:
        """The current branch (or that up to the message `until`), and how many earlier ones it has.

        With `limit` only that many of its last messages. Raises NotFound.
        """
        with self._writer.database.read() as connection:
            row = queries.owned(connection, owner, conversation)
            leaf = row.leaf
            if until is not None:
                leaf = queries.message_row(connection, row.id, until, self._writer.id).id
            path = queries.branch(connection, row.id, leaf, self._writer.id, limit)
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
    ) -> DrawnBefore:
        """The replies to `parent` (those that came `before` one of them), and the `latest` texts."""
        with self._writer.database.read() as connection:
            id = queries.owned(connection, owner, conversation).id
            number = None if before is None else before.number
            return queries.replies(connection, id, parent, self._writer.id, number, latest)

    def message(self, owner: str, conversation: str, message: str) -> Message:
        """One message. Raises NotFound."""
        with self._writer.database.read() as connection:
            id = queries.owned(connection, owner, conversation).id
            row = queries.message_row(connection, id, message, self._writer.id)
            return queries.with_siblings(connection, id, [row], self._writer.id)[0]

    def tree(self, owner: str, conversation: str) -> list[Message]:
        """All messages of all branches, parents before children. Raises NotFound."""
        with self._writer.database.read() as connection:
            row = queries.owned(connection, owner, conversation)
            return queries.tree(connection, row.id, self._writer.id)

    def personas(self, owner: str, conversation: str) -> dict[int, Persona]:
        """Every persona that a conversation has had, by its version. Raises NotFound."""
        with self._writer.database.read() as connection:
            return queries.personas_of(connection, queries.owned(connection, owner, conversation).id)
