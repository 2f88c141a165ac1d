"""What a server sends to everybody in a conversation: the state, and its numbered changes.

Changes are what `convai.server.protocol.replay` keeps and sends again after a lost connection.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from convai.core.limits import ErrorCode
from convai.server.protocol.kinds import LIMITS, whole
from convai.server.protocol.schema import Event, sent, type_of
from convai.server.protocol.values import (
    Alternatives,
    Count,
    Data,
    Id,
    LogProb,
    MemoryFact,
    Message,
    Page,
    PersonaCard,
    Scene,
    SettingsGiven,
    Suggestion,
    Text,
    Title,
    Words,
)


class State(Event, tag="state", frozen=True, kw_only=True):
    """The whole conversation as it is at number `n` of the stream: it replaces what the client knew.

    Changes go on with `n + 1`. `messages` are the end of the current branch, `earlier` the number of those
    before them.
    """

    n: Count
    stream: Id
    conversation: Id
    title: Title
    persona: PersonaCard
    settings: SettingsGiven
    messages: Page
    earlier: Count = sent(0)
    scene: Scene | None = None
    """Null: persona and messages are all that there is."""


class Change(Event, frozen=True, kw_only=True):
    """Something new in the conversation: number `n` of its stream, 0 until the replay buffer numbers it."""

    n: Annotated[int, whole(1)] = sent(0)


class Path(Change, tag="path", frozen=True, kw_only=True):
    """The current branch is what it was up to `keep` (null: nothing of it), then `messages`."""

    keep: Id | None = None
    messages: Page


class Started(Change, tag="started", frozen=True, kw_only=True):
    """A reply begins, behind its parent, in place of what stood there. It goes on from the text it has."""

    message: Message


class TokenDrawn(Change, tag="token", frozen=True, kw_only=True):
    """`text` is what one more token adds to the reply; often with a blank in front, sometimes nothing."""

    message: Id
    text: Text
    logprob: LogProb | None = None
    """What the model itself gave it, before temperature and the rest."""

    alternatives: Alternatives = sent(())


class FinishedReply(Change, tag="finished", frozen=True, kw_only=True):
    """The reply is whole, and on the disk. `length`: it was cut where its settings end it."""

    message: Message
    reason: Literal["stop", "length"]


class Stopped(Change, tag="stopped", frozen=True, kw_only=True):
    """The reply was stopped. `message` is what stays of it, on the disk, or null where nothing was shown."""

    id: Id
    by: Literal["client", "left", "shutdown"]
    message: Message | None = None


class Failed(Change, tag="failed", frozen=True, kw_only=True):
    """The reply ended with an error. `message` is what stays of it, or null."""

    id: Id
    code: ErrorCode
    error: Words
    message: Message | None = None


class Suggestions(Change, tag="suggestions", frozen=True, kw_only=True):
    """Lines that the user might say after `message` (null: at the begin), the best first."""

    message: Id | None = None
    lines: Annotated[tuple[Suggestion, ...], Meta(max_length=LIMITS.suggestions)]


class Marks(Change, tag="marks", frozen=True, kw_only=True):
    """What emotion or coreference found in a message, or in the branch that ends with it."""

    message: Id
    kind: Literal["emotion", "coref"]
    data: Data


class MemoryChanged(Change, tag="memory", frozen=True, kw_only=True):
    """What the server remembers of the user has changed: facts that were kept or worded anew, those whose
    place they took, the names of those that were forgotten (`all`: every one), or the switch.
    """

    kept: Annotated[tuple[MemoryFact, ...], Meta(max_length=LIMITS.page_facts)] = sent(())
    replaced: Annotated[tuple[MemoryFact, ...], Meta(max_length=LIMITS.page_facts)] = sent(())
    forgotten: Annotated[tuple[Id, ...], Meta(max_length=LIMITS.page_facts)] = sent(())
    all: bool = sent(False)
    enabled: bool | None = None


class PersonaSet(Change, tag="persona", frozen=True, kw_only=True):
    """Who the agent is from now on."""

    persona: PersonaCard


class SceneSet(Change, tag="scene", frozen=True, kw_only=True):
    """What is in the conversation from now on, all of it."""

    scene: Scene


class DecodingSet(Change, tag="decoding", frozen=True, kw_only=True):
    """The decoding settings from now on, all of them."""

    settings: SettingsGiven


class TitleSet(Change, tag="title", frozen=True, kw_only=True):
    """The conversation's title from now on."""

    title: Title


class Deleted(Change, tag="deleted", frozen=True, kw_only=True):
    """The conversation is gone; nothing follows."""


CHANGES: Final[dict[str, type[Change]]] = {type_of(cls): cls for cls in Change.__subclasses__()}
"""`type` of a numbered change → its class."""
