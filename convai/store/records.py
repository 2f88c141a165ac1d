"""What the store gives back: conversations, messages, summaries, receipts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Self

from convai.core.dialog import Persona

Status = Literal["complete", "interrupted", "streaming"]
COMPLETE: Final = "complete"
INTERRUPTED: Final = "interrupted"
STREAMING: Final = "streaming"


class RequestName(str):
    """A request's name, as the client chose it, with what it is known by: names alone are soon used twice."""

    key: str
    """The conversation that it is about, the name, and a digest of what is asked for."""
    anew: bool
    """What was done under this name before was another client's: do it."""
    repeated: bool
    """The same client has sent it before."""

    def __new__(cls, name: str, *, within: str, what: bytes) -> Self:
        """`within`: the conversation, or nothing; `what`: all that is asked for."""
        made = super().__new__(cls, name)
        digest = hashlib.blake2b(what, digest_size=8).hexdigest()
        made.key, made.anew, made.repeated = f"{within}/{name}/{digest}", False, False
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a tree. Times are milliseconds since 1970 UTC.

    `status`: "streaming" only while this very store is writing it; a reply whose writer died is
    "interrupted". `index` of `siblings` (all messages with the same parent, oldest first), and the ids of
    its neighbours. `details` is a JSON object that came with the reply: candidates, scores, settings.
    """

    id: str
    parent: str | None
    speaker: int
    text: str
    status: Status
    persona: int
    created: int
    number: int
    request: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    index: int = 0
    siblings: int = 1
    previous: str | None = None
    next: str | None = None


class Branch(NamedTuple):
    """Messages that follow one another, and how many `earlier` ones come before the first of them."""

    messages: list[Message]
    earlier: int = 0

    @property
    def leaf(self) -> str | None:
        """The last message's id."""
        return self.messages[-1].id if self.messages else None

    def then(self, message: Message) -> Branch:
        """The branch with one more message."""
        return Branch([*self.messages, message], self.earlier)

    def above(self) -> Branch:
        """The branch without its last message."""
        return Branch(self.messages[:-1], self.earlier)


class DrawnBefore(NamedTuple):
    """Replies to one message: how many were drawn, and the texts of the latest, oldest first."""

    attempts: int
    texts: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One conversation without its messages. `leaf` is the last message of the current branch."""

    id: str
    title: str
    opening: str
    persona: Persona
    persona_version: int
    settings: Mapping[str, Any]
    leaf: str | None
    created: int
    updated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One conversation in a list. `title`: how it begins, if nobody named it; `preview`: its last words."""

    id: str
    title: str
    persona: str
    preview: str
    messages: int
    created: int
    updated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of the list; `more`: others follow."""

    items: tuple[Summary, ...]
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A reply in the making, as far as it has come."""

    owner: str
    conversation: str
    message: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTurn:
    """What somebody said, and the draft of the reply to it; neither, where it had been said before."""

    receipt: Receipt
    message: Message | None = None
    draft: Message | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What an operation did. It is on the disk.

    `again`: the request had been done before, and was not done again.
    """

    conversation: str
    message: str | None = None
    again: bool = False
