"""Conversations that are never lost: every operation is on the disk when it returns.

Each names the owner, and nothing of another owner's is ever found. Operations that change something take a
`request`: a name, unique for the owner, under which it is done once, however often it is asked for. Safe to
use from any thread; a call blocks until the disk has it, so an event loop calls from a thread of its own.

A conversation's replies are written by one process at a time. If that dies, every later store shows what was
saved of a reply as interrupted.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from convai.store.conversations import Conversations
from convai.store.database import Database
from convai.store.memories import Memories
from convai.store.reading import ConversationReader
from convai.store.replies import Replies
from convai.store.scenes import Scenes
from convai.store.shared import Shared
from convai.store.turns import Turns
from convai.store.writer import Writer


class Store:
    """The conversations in one database; what can be done with them is put together here."""

    def __init__(self, where: str | os.PathLike[str]) -> None:
        """Open a file or URL; see `convai.store.database.Database`. Raises StoreError."""
        self.database = Database(where)
        writer = Writer(self.database)
        self.shared = None if self.database.sqlite else Shared(writer)
        """What several doors on one PostgreSQL have in common; None on SQLite, which has one."""
        reading, whole = ConversationReader(writer), Conversations(writer)
        turns, replies = Turns(writer), Replies(writer)
        self.find, self.load, self.personas = reading.find, reading.load, reading.personas
        self.branch, self.message, self.tree = reading.branch, reading.message, reading.tree
        self.replies = reading.replies
        self.create, self.delete = whole.create, whole.delete
        self.set_persona, self.set_settings = whole.set_persona, whole.set_settings
        self.rename, self.names = whole.rename, whole.names
        self.export_json, self.import_json = whole.export_json, whole.import_json
        self.export_text, self.import_text = whole.export_text, whole.import_text
        self.append_user, self.say, self.edit = turns.append_user, turns.say, turns.edit
        self.undo, self.switch, self.mark = turns.undo, turns.switch, turns.mark
        self.append_reply, self.begin_reply = replies.append_reply, replies.begin_reply
        self.regenerate, self.continue_reply = replies.regenerate, replies.continue_reply
        self.save_draft, self.save_drafts = replies.save_draft, replies.save_drafts
        self.memories = Memories(self.database)
        self.delete_person = self.memories.drop_person
        self.scenes = Scenes(writer)
        self.finish_reply, self.drop_reply = replies.finish_reply, replies.drop_reply

    def close(self) -> None:
        """Close the database. Replies that are still being written count as interrupted from then on."""
        if self.shared is not None:
            self.shared.changes.close()
        self.database.close()

    def together(self) -> AbstractContextManager[None]:
        """Put what this thread does in the block on the disk at its end, not operation by operation."""
        return self.database.together()

    def at_one_moment(self) -> AbstractContextManager[None]:
        """Read all that this thread reads in the block as it was at one moment, in one transaction."""
        return self.database.at_one_moment()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
