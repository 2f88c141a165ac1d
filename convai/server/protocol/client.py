"""What a client sends: `hello` first, then requests, each with a `request` that its answer repeats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from convai.server.protocol.kinds import Line, Raw, Whole
from convai.server.protocol.values import Id, PersonaCard, RequestId, Resume, SettingsGiven, Title


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first frame. With `resume` the server goes on behind the number that the client read last."""

    type: ClassVar[str] = "hello"
    version: Annotated[int, Whole(1)]
    token: Annotated[str, Raw("token_chars")] | None = None
    resume: Resume | None = None
    alternatives: Annotated[int, Whole(0, "alternatives")] = 0
    """Alternatives wanted with every token. What one client of a conversation asks for, all of them get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Is anybody there? A browser cannot send the socket's own pings."""

    type: ClassVar[str] = "ping"
    request: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class New:
    """Begin a conversation and open it."""

    type: ClassVar[str] = "new"
    request: RequestId
    persona: PersonaCard | None = None
    """Without one the server draws one of its samples."""
    settings: SettingsGiven | None = None
    """Laid over the model's own."""
    title: Title = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Open a conversation in place of the one that is open."""

    type: ClassVar[str] = "open"
    request: RequestId
    conversation: Id


@dataclass(frozen=True, slots=True, kw_only=True)
class ListConversations:
    """The client's conversations, the latest first."""

    type: ClassVar[str] = "list"
    request: RequestId
    search: Title = ""
    """Words in the title or in a message; blank: all."""
    after: Id | None = None
    """Go on behind this conversation."""
    limit: Annotated[int, Whole(1, "page_conversations")] = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete a conversation for good."""

    type: ClassVar[str] = "delete"
    request: RequestId
    conversation: Id


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Messages before the earliest that the client has."""

    type: ClassVar[str] = "history"
    request: RequestId
    before: Id
    limit: Annotated[int, Whole(1, "page_messages")] = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Say something; a reply follows."""

    type: ClassVar[str] = "send"
    request: RequestId
    text: Annotated[str, Line("message_chars")]
    after: Id | None = None
    """The message that it follows. Where that is no longer the last one, the answer is `conflict`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Stop the reply that is being written; what was shown of it stays."""

    type: ClassVar[str] = "stop"
    request: RequestId
    message: Id | None = None
    """Only if it is this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regenerate:
    """Draw another reply beside the old one."""

    type: ClassVar[str] = "regenerate"
    request: RequestId
    message: Id | None = None
    """The reply; without it the last one. A user's message without a reply gets one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Write a message anew, as a branch beside the old one. After a user's message a reply follows."""

    type: ClassVar[str] = "edit"
    request: RequestId
    message: Id
    text: Annotated[str, Line("message_chars")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """Go back to before the last thing that the user said. Nothing is deleted: `switch` leads there again."""

    type: ClassVar[str] = "undo"
    request: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Show the branch that this message is on: the conversation goes on from its latest end."""

    type: ClassVar[str] = "switch"
    request: RequestId
    message: Id


@dataclass(frozen=True, slots=True, kw_only=True)
class Continue:
    """Go on writing a reply that was stopped, or was cut at its greatest length."""

    type: ClassVar[str] = "continue"
    request: RequestId
    message: Id | None = None
    """The reply; without it the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggest:
    """Suggest lines that the user might say next."""

    type: ClassVar[str] = "suggest"
    request: RequestId
    count: Annotated[int, Whole(1, "suggestions")] = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPersona:
    """Make the agent somebody else, from the next reply on."""

    type: ClassVar[str] = "set_persona"
    request: RequestId
    persona: PersonaCard


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDecoding:
    """Change some of the decoding settings, from the next reply on."""

    type: ClassVar[str] = "set_decoding"
    request: RequestId
    settings: SettingsGiven


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTitle:
    """Rename the conversation; blank gives the title back to the server."""

    type: ClassVar[str] = "set_title"
    request: RequestId
    title: Title


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspect:
    """The exact input of a reply, and what it was chosen from."""

    type: ClassVar[str] = "inspect"
    request: RequestId
    message: Id


Request = (
    Ping
    | New
    | Open
    | ListConversations
    | Delete
    | History
    | Send
    | Stop
    | Regenerate
    | Edit
    | Undo
    | Switch
    | Continue
    | Suggest
    | SetPersona
    | SetDecoding
    | SetTitle
    | Inspect
)
ClientEvent = Hello | Request

CLIENT_EVENTS: Final[dict[str, type[ClientEvent]]] = {
    cls.type: cls
    for cls in (
        Hello,
        Ping,
        New,
        Open,
        ListConversations,
        Delete,
        History,
        Send,
        Stop,
        Regenerate,
        Edit,
        Undo,
        Switch,
        Continue,
        Suggest,
        SetPersona,
        SetDecoding,
        SetTitle,
        Inspect,
    )
}
"""`type` of a frame from the client → its class."""
