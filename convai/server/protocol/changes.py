"""What a server sends to everybody in a conversation: the state, and its numbered changes.

Changes are what `convai.server.protocol.replay` keeps and sends again after a lost connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from convai.core.limits import ErrorCode
from convai.server.protocol.kinds import Many
from convai.server.protocol.values import (
    Alternatives,
    Count,
    Data,
    Id,
    LogProb,
    Message,
    Page,
    PersonaCard,
    SequenceNumber,
    SettingsGiven,
    Suggestion,
    Text,
    Title,
    Words,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The whole conversation as it is at number `n` of the stream: it replaces what the client knew.

    Changes go on with `n + 1`. `messages` are the end of the current branch, `earlier` the number of those
    before them.
    """

    type: ClassVar[str] = "state"
    n: Count
    stream: Id
    conversation: Id
    title: Title
    persona: PersonaCard
    settings: SettingsGiven
    messages: Page
    earlier: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """The current branch is what it was up to `keep` (null: nothing of it), then `messages`."""

    type: ClassVar[str] = "path"
    n: SequenceNumber = 0
    keep: Id | None = None
    messages: Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A reply begins, behind its parent, in place of what stood there. It goes on from the text it has."""

    type: ClassVar[str] = "started"
    n: SequenceNumber = 0
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDrawn:
    """`text` is what one more token adds to the reply; often with a blank in front, sometimes nothing."""

    type: ClassVar[str] = "token"
    n: SequenceNumber = 0
    message: Id
    text: Text
    logprob: LogProb | None = None
    """What the model itself gave it, before temperature and the rest."""
    alternatives: Alternatives = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedReply:
    """The reply is whole, and on the disk. `length`: it was cut where its settings end it."""

    type: ClassVar[str] = "finished"
    n: SequenceNumber = 0
    message: Message
    reason: Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The reply was stopped. `message` is what stays of it, on the disk, or null where nothing was shown."""

    type: ClassVar[str] = "stopped"
    n: SequenceNumber = 0
    id: Id
    by: Literal["client", "left", "shutdown"]
    message: Message | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The reply ended with an error. `message` is what stays of it, or null."""

    type: ClassVar[str] = "failed"
    n: SequenceNumber = 0
    id: Id
    code: ErrorCode
    error: Words
    message: Message | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestions:
    """Lines that the user might say after `message` (null: at the begin), the best first."""

    type: ClassVar[str] = "suggestions"
    n: SequenceNumber = 0
    message: Id | None = None
    lines: Annotated[tuple[Suggestion, ...], Many("suggestions")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What emotion or coreference found in a message, or in the branch that ends with it."""

    type: ClassVar[str] = "marks"
    n: SequenceNumber = 0
    message: Id
    kind: Literal["emotion", "coref"]
    data: Data


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonaSet:
    """Who the agent is from now on."""

    type: ClassVar[str] = "persona"
    n: SequenceNumber = 0
    persona: PersonaCard


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingSet:
    """The decoding settings from now on, all of them."""

    type: ClassVar[str] = "decoding"
    n: SequenceNumber = 0
    settings: SettingsGiven


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleSet:
    """The conversation's title from now on."""

    type: ClassVar[str] = "title"
    n: SequenceNumber = 0
    title: Title


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """The conversation is gone; nothing follows."""

    type: ClassVar[str] = "deleted"
    n: SequenceNumber = 0


Change = (
    Path
    | Started
    | TokenDrawn
    | FinishedReply
    | Stopped
    | Failed
    | Suggestions
    | Marks
    | PersonaSet
    | DecodingSet
    | TitleSet
    | Deleted
)

CHANGES: Final[dict[str, type[Change]]] = {
    cls.type: cls
    for cls in (
        Path,
        Started,
        TokenDrawn,
        FinishedReply,
        Stopped,
        Failed,
        Suggestions,
        Marks,
        PersonaSet,
        DecodingSet,
        TitleSet,
        Deleted,
    )
}
"""`type` of a numbered change → its class."""
