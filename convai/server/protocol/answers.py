"""What a server sends to the one who asked: answers, without a number.

One that got lost is had again by sending its request again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from convai.core.limits import ErrorCode
from convai.server.protocol.kinds import Many, Raw, Whole
from convai.server.protocol.values import (
    MOST_CANDIDATES,
    Candidate,
    Count,
    Data,
    Id,
    InputRow,
    Name,
    Page,
    RequestId,
    Seconds,
    SettingsGiven,
    Summary,
    Words,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """`hello` is accepted. `resumed`: the changes after the client's last number follow; else a `state`."""

    type: ClassVar[str] = "ready"
    version: Annotated[int, Whole(1)]
    server: Name
    model: Name
    resumed: bool = False
    limits: Data
    """Name → number: the server's `Limits`."""
    settings: SettingsGiven
    """The model's own decoding settings, all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The request is done, or begun, and what it changed is on the disk.

    `conversation` is the one that `new` made or `open` opened; `message` is what `send` or `edit` made.
    A request that was sent again is answered again and not done again (`again`).
    """

    type: ClassVar[str] = "accepted"
    request: RequestId
    conversation: Id | None = None
    message: Id | None = None
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """The request, or a frame that was none, changed nothing."""

    type: ClassVar[str] = "error"
    code: ErrorCode
    message: Words
    field: Annotated[str, Raw(200)] | None = None
    request: RequestId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overloaded:
    """Not now: ask again after `retry` seconds. The request changed nothing."""

    type: ClassVar[str] = "overloaded"
    reason: Literal["queue", "rate", "connections", "draining"]
    retry: Seconds
    request: RequestId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """The answer to `ping`."""

    type: ClassVar[str] = "pong"
    request: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversations:
    """The answer to `list`; `more`: there are others behind the last one."""

    type: ClassVar[str] = "conversations"
    request: RequestId
    items: Annotated[tuple[Summary, ...], Many("page_conversations")]
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The answer to `history`: messages in order, the last one just before the one that was named."""

    type: ClassVar[str] = "earlier"
    request: RequestId
    messages: Page
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """The answer to `inspect`. `left_out` older turns were not part of the input."""

    type: ClassVar[str] = "inspected"
    request: RequestId
    message: Id
    rows: Annotated[tuple[InputRow, ...], Many("rows")]
    candidates: Annotated[tuple[Candidate, ...], Many(MOST_CANDIDATES)] = ()
    chosen: Count | None = None
    left_out: Count = 0
    settings: SettingsGiven | None = None
    """The decoding settings that the reply was drawn with, its seed included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoingAway:
    """The server closes the socket (1001) after this frame; come again after `retry` seconds."""

    type: ClassVar[str] = "going_away"
    reason: Literal["shutdown", "idle"]
    retry: Seconds


Answer = Ready | Accepted | Error | Overloaded | Pong | Conversations | Earlier | Inspected | GoingAway

ANSWERS: Final[dict[str, type[Answer]]] = {
    cls.type: cls
    for cls in (
        Ready,
        Accepted,
        Error,
        Overloaded,
        Pong,
        Conversations,
        Earlier,
        Inspected,
        GoingAway,
    )
}
"""`type` of an answer → its class."""
