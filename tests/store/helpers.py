"""Short ways to say what the tests of the store say often."""

from __future__ import annotations

from convai.core.dialog import AGENT
from convai.store import Store

ANN = "ann"
BOB = "bob"


def made(receipt_message: str | None) -> str:
    assert receipt_message is not None
    return receipt_message


class Chat:
    """One conversation of Ann's."""

    def __init__(self, store: Store, owner: str = ANN, id: str = "") -> None:
        self.store, self.owner = store, owner
        self.id = id or store.create(owner).conversation

    def say(self, text: str) -> str:
        return made(self.store.append_user(self.owner, self.id, text).message)

    def reply(self, text: str) -> str:
        return made(self.store.append_reply(self.owner, self.id, text).message)

    def draft(self) -> str:
        return made(self.store.begin_reply(self.owner, self.id).message)

    def shown(self) -> list[str]:
        """The branch: users' lines as they are, replies behind a dash, interrupted ones with dots."""
        path, earlier = self.store.branch(self.owner, self.id)
        assert earlier == 0
        end = {"complete": "", "interrupted": "...", "streaming": "_"}
        return [("-" if m.speaker == AGENT else "") + m.text + end[m.status] for m in path]
