"""What a client sends: `hello` first, then requests, each with a `request` that its answer repeats."""

from __future__ import annotations

from typing import Annotated, Final, get_args

from msgspec import Meta

from convai.server.protocol.kinds import LIMITS, line, lines, raw, whole
from convai.server.protocol.schema import Event, sent, type_of
from convai.server.protocol.values import (
    Cards,
    Count,
    Id,
    Name,
    NoteCard,
    Order,
    PersonaCard,
    RequestId,
    Resume,
    SettingsGiven,
    Title,
)


class Hello(Event, tag="hello", frozen=True, kw_only=True):
    """The first frame. With `resume` the server goes on behind the number that the client read last."""

    version: Annotated[int, whole(1)]
    token: Annotated[str, raw(LIMITS.token_chars)] | None = None
    resume: Resume | None = None
    alternatives: Annotated[int, whole(0, LIMITS.alternatives)] = sent(0)
    """Alternatives wanted with every token. What one client of a conversation asks for, all of them get."""


class Asked(Event, frozen=True, kw_only=True):
    """What a client asks for, by a name that the answer repeats."""

    request: RequestId


class Ping(Asked, tag="ping", frozen=True, kw_only=True):
    """Is anybody there? A browser cannot send the socket's own pings."""


class New(Asked, tag="new", frozen=True, kw_only=True):
    """Begin a conversation and open it."""

    persona: PersonaCard | None = None
    """Without one the server draws one of its samples."""

    settings: SettingsGiven | None = None
    """Laid over the model's own."""
    title: Title = sent("")
    character: Id | None = None
    """One that was imported, in place of a persona; it greets where it has a greeting."""
    greeting: Count | None = sent(0)
    """Which of its greetings, counted from 0; null: none."""
    user: PersonaCard | None = None
    """Who the user is."""
    note: NoteCard | None = None
    characters: Annotated[tuple[Id, ...], Meta(max_length=LIMITS.members)] | None = None
    """Several that were imported, in place of one: a group, in this order; each greets."""


class Open(Asked, tag="open", frozen=True, kw_only=True):
    """Open a conversation in place of the one that is open."""

    conversation: Id


class ListConversations(Asked, tag="list", frozen=True, kw_only=True):
    """The client's conversations, the latest first."""

    search: Title = sent("")
    """Words in the title or in a message; blank: all."""

    after: Id | None = None
    """Go on behind this conversation."""
    limit: Annotated[int, whole(1, LIMITS.page_conversations)] = sent(50)


class Delete(Asked, tag="delete", frozen=True, kw_only=True):
    """Delete a conversation for good."""

    conversation: Id


class History(Asked, tag="history", frozen=True, kw_only=True):
    """Messages before the earliest that the client has."""

    before: Id
    limit: Annotated[int, whole(1, LIMITS.page_messages)] = sent(100)


class Send(Asked, tag="send", frozen=True, kw_only=True):
    """Say something; a reply follows."""

    text: Annotated[str, line(LIMITS.message_chars)]
    after: Id | None = None
    """The message that it follows. Where that is no longer the last one, the answer is `conflict`."""


class Stop(Asked, tag="stop", frozen=True, kw_only=True):
    """Stop the reply that is being written; what was shown of it stays."""

    message: Id | None = None
    """Only if it is this one."""


class Regenerate(Asked, tag="regenerate", frozen=True, kw_only=True):
    """Draw another reply beside the old one."""

    message: Id | None = None
    """The reply; without it the last one. A user's message without a reply gets one."""
    begun: Annotated[str, line(LIMITS.message_chars, blank=True)] = sent("")
    """What the new reply begins with, as when it is drawn anew from one of its tokens."""


class Edit(Asked, tag="edit", frozen=True, kw_only=True):
    """Write a message anew, as a branch beside the old one. After a user's message a reply follows."""

    message: Id
    text: Annotated[str, lines(LIMITS.message_chars)]
    """The lines of an agent's message are kept; a user's is one."""


class Undo(Asked, tag="undo", frozen=True, kw_only=True):
    """Go back to before the last thing that the user said. Nothing is deleted: `switch` leads there again."""


class Switch(Asked, tag="switch", frozen=True, kw_only=True):
    """Show the branch that this message is on: the conversation goes on from its latest end."""

    message: Id


class Continue(Asked, tag="continue", frozen=True, kw_only=True):
    """Go on writing a reply that was stopped, or was cut at its greatest length."""

    message: Id | None = None
    """The reply; without it the last one."""


class Suggest(Asked, tag="suggest", frozen=True, kw_only=True):
    """Suggest lines that the user might say next."""

    count: Annotated[int, whole(1, LIMITS.suggestions)] = sent(3)
    hint: Annotated[str, line(LIMITS.message_chars, blank=True)] = sent("")
    """What the lines begin with: what the user has written so far."""


class SetPersona(Asked, tag="set_persona", frozen=True, kw_only=True):
    """Make the agent somebody else, from the next reply on."""

    persona: PersonaCard


class SetScene(Asked, tag="set_scene", frozen=True, kw_only=True):
    """Change what is in the conversation, from the next reply on. What is not given stays."""

    character: Id | None = None
    """One that was imported: the agent is it from now on. `set_persona` makes it somebody else again."""
    user: PersonaCard | None = None
    """Without name and sentences: nobody in particular."""
    note: NoteCard | None = None
    books: Annotated[tuple[Id, ...], Meta(max_length=LIMITS.books)] | None = None
    """Lorebooks that were imported, all of them."""


class SetGroup(Asked, tag="set_group", frozen=True, kw_only=True):
    """Change the group: what is given is done, in this order. The first that comes in finds who was alone."""

    add: Id | None = None
    """A character that was imported comes in."""
    remove: Name | None = None
    """One of them leaves."""
    mute: Name | None = None
    """One of them speaks only when it is let by `speak`."""
    unmute: Name | None = None
    order: Order | None = None
    """Who answers: as talkative as they are, the next in turn, or nobody but whom the user chooses."""
    cards: Cards | None = None
    """Whose cards a prompt has: that of who speaks, or everybody's."""


class Speak(Asked, tag="speak", frozen=True, kw_only=True):
    """Let one of the group speak."""

    member: Name = sent("")
    """Its name; blank: whoever is next."""


class Greet(Asked, tag="greet", frozen=True, kw_only=True):
    """The character says one of its greetings, in a conversation in which nothing else was said."""

    greeting: Count = sent(0)


class SetDecoding(Asked, tag="set_decoding", frozen=True, kw_only=True):
    """Change some of the decoding settings, from the next reply on."""

    settings: SettingsGiven


class SetTitle(Asked, tag="set_title", frozen=True, kw_only=True):
    """Rename the conversation; blank gives the title back to the server."""

    title: Title


class Inspect(Asked, tag="inspect", frozen=True, kw_only=True):
    """The exact input of a reply, and what it was chosen from."""

    message: Id


class ListFacts(Event, tag="list_facts", frozen=True, kw_only=True):
    """What the server remembers of the user, the latest first. It needs no open conversation."""

    request: RequestId
    history: bool = sent(False)
    """Also those facts whose place others took."""
    after: Id | None = None
    """Go on behind this fact."""
    limit: Annotated[int, whole(1, LIMITS.page_facts)] = sent(50)


class Remember(Event, tag="remember", frozen=True, kw_only=True):
    """Keep a fact that the user writes down."""

    request: RequestId
    text: Annotated[str, line(LIMITS.fact_chars)]


class EditFact(Event, tag="edit_fact", frozen=True, kw_only=True):
    """Word a fact anew."""

    request: RequestId
    fact: Id
    text: Annotated[str, line(LIMITS.fact_chars)]


class Forget(Event, tag="forget", frozen=True, kw_only=True):
    """Forget a fact for good, and those whose place it took."""

    request: RequestId
    fact: Id | None = None
    """Without it: everything."""


class RestoreFact(Event, tag="restore_fact", frozen=True, kw_only=True):
    """Undo a correction: the fact holds again, and the one that took its place does not."""

    request: RequestId
    fact: Id


class SetMemory(Event, tag="set_memory", frozen=True, kw_only=True):
    """Whether the user is remembered. Off: nothing is learnt or recalled; what is kept stays as it is."""

    request: RequestId
    enabled: bool


MemoryRequest = ListFacts | Remember | EditFact | Forget | RestoreFact | SetMemory
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
    | SetScene
    | SetGroup
    | Speak
    | Greet
    | SetDecoding
    | SetTitle
    | Inspect
    | MemoryRequest
)
ClientEvent = Hello | Request

CLIENT_EVENTS: Final[dict[str, type[ClientEvent]]] = {type_of(cls): cls for cls in get_args(ClientEvent)}
"""`type` of a frame from the client → its class."""
