"""What a server sends to the one who asked: answers, without a number.

One that got lost is had again by sending its request again.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from msgspec import Meta

from convai.core.limits import ErrorCode
from convai.server.protocol.kinds import LIMITS, raw, whole
from convai.server.protocol.schema import Event, sent, type_of
from convai.server.protocol.values import (
    MOST_ADDED,
    MOST_CANDIDATES,
    Account,
    Added,
    Candidate,
    Count,
    Data,
    Id,
    InputRow,
    MemoryFact,
    Name,
    Page,
    RequestId,
    Seconds,
    SettingsGiven,
    Summary,
    Words,
)


class Ready(Event, tag="ready", frozen=True, kw_only=True):
    """`hello` is accepted. `resumed`: the changes after the client's last number follow; else a `state`."""

    version: Annotated[int, whole(1)]
    server: Name
    model: Name
    resumed: bool = sent(False)
    limits: Data
    """Name → number: the server's `Limits`."""

    settings: SettingsGiven
    """The model's own decoding settings, all of them."""


class Accepted(Event, tag="accepted", frozen=True, kw_only=True):
    """The request is done, or begun, and what it changed is on the disk.

    `conversation` is the one that `new` made or `open` opened; `message` is what `send` or `edit` made.
    A request that was sent again is answered again and not done again (`again`).
    """

    request: RequestId
    conversation: Id | None = None
    message: Id | None = None
    again: bool = sent(False)


class Error(Event, tag="error", frozen=True, kw_only=True):
    """The request, or a frame that was none, changed nothing."""

    code: ErrorCode
    message: Words
    field: Annotated[str, raw(200)] | None = None
    request: RequestId | None = None


class Overloaded(Event, tag="overloaded", frozen=True, kw_only=True):
    """Not now: ask again after `retry` seconds. The request changed nothing."""

    reason: Literal["queue", "rate", "connections", "draining"]
    retry: Seconds
    request: RequestId | None = None


class Pong(Event, tag="pong", frozen=True, kw_only=True):
    """The answer to `ping`."""

    request: RequestId


class Conversations(Event, tag="conversations", frozen=True, kw_only=True):
    """The answer to `list`; `more`: there are others behind the last one."""

    request: RequestId
    items: Annotated[tuple[Summary, ...], Meta(max_length=LIMITS.page_conversations)]
    more: bool = sent(False)


class Earlier(Event, tag="earlier", frozen=True, kw_only=True):
    """The answer to `history`: messages in order, the last one just before the one that was named."""

    request: RequestId
    messages: Page
    more: bool = sent(False)


class Inspected(Event, tag="inspected", frozen=True, kw_only=True):
    """The answer to `inspect`. `left_out` older turns were not part of the input."""

    request: RequestId
    message: Id
    rows: Annotated[tuple[InputRow, ...], Meta(max_length=LIMITS.rows)]
    candidates: Annotated[tuple[Candidate, ...], Meta(max_length=MOST_CANDIDATES)] = sent(())
    chosen: Count | None = None
    left_out: Count = sent(0)
    settings: SettingsGiven | None = None
    """The decoding settings that the reply was drawn with, its seed included."""
    account: Account | None = None
    """What the context went to."""
    added: Annotated[tuple[Added, ...], Meta(max_length=MOST_ADDED)] = sent(())
    """What was added to persona and turns, and what had no room."""


class Facts(Event, tag="facts", frozen=True, kw_only=True):
    """The answer to `list_facts`; `more`: there are others behind the last one. `enabled`: the switch."""

    request: RequestId
    items: Annotated[tuple[MemoryFact, ...], Meta(max_length=LIMITS.page_facts)]
    enabled: bool
    more: bool = sent(False)


class GoingAway(Event, tag="going_away", frozen=True, kw_only=True):
    """The server closes the socket (1001) after this frame; come again after `retry` seconds, to another door
    where there is one: this one is about to stop, or is cut off from its database.
    """

    reason: Literal["shutdown", "idle", "database"]
    retry: Seconds


Answer = (
    Ready | Accepted | Error | Overloaded | Pong | Conversations | Earlier | Inspected | Facts | GoingAway
)

ANSWERS: Final[dict[str, type[Answer]]] = {type_of(cls): cls for cls in get_args(Answer)}
"""`type` of an answer → its class."""
