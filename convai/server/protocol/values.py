"""The parts that frames share: personas, messages, candidates, input rows; and names for annotations."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from convai.server.protocol.kinds import (
    IDENTIFIER,
    LIMITS,
    SETTINGS,
    SettingValue,
    free,
    line,
    number,
    raw,
    whole,
)
from convai.server.protocol.schema import Part, sent

Id = Annotated[str, IDENTIFIER]
RequestId = Id
"""Chosen by the client, new for every request, and the same when a request is sent again."""
Count = Annotated[int, whole(0)]
Milliseconds = Count
"""Since 1970-01-01 UTC."""
LogProb = Annotated[float, number(-1e9, 0)]
"""Natural logarithm of a probability."""
Score = Annotated[float, number(-1e9, 1e9)]
"""Of the next-sentence head, a logit: higher is a better reply."""
Text = Annotated[str, raw(LIMITS.reply_chars)]
Name = Annotated[str, line(LIMITS.name_chars, blank=True)]
Title = Annotated[str, line(LIMITS.title_chars, blank=True)]
Seconds = Annotated[float, number(0, 86_400)]
SettingsGiven = Annotated[dict[str, SettingValue], SETTINGS]
Data = Annotated[dict[str, Any], free()]
Alternatives = Annotated[tuple[tuple[Text, LogProb], ...], Meta(max_length=LIMITS.alternatives)]

MOST_CANDIDATES = 64
MOST_ADDED = 1_000
Role = Literal["user", "agent"]
Order = Literal["talk", "turn", "chosen"]
Cards = Literal["swap", "join"]
Status = Literal["complete", "interrupted", "streaming"]
Piece = Annotated[str, line(LIMITS.name_chars)]
"""`persona`, `history`, `examples`, `reply`, or what a text was added as: `lore`, `note`, `memory`, ..."""


class PersonaCard(Part, frozen=True, kw_only=True):
    """Who the agent is. Without sentences it is nobody in particular."""

    sentences: Annotated[
        tuple[Annotated[str, line(LIMITS.sentence_chars)], ...], Meta(max_length=LIMITS.persona_sentences)
    ] = sent(())
    name: Name = sent("")


class Resume(Part, frozen=True, kw_only=True):
    """Where a client stopped reading: number `last` of the stream `stream`."""

    conversation: Id
    stream: Id
    last: Count


class Siblings(Part, frozen=True, kw_only=True):
    """The place of a message among those with the same parent, oldest first."""

    index: Count = sent(0)
    count: Annotated[int, whole(1)] = sent(1)
    previous: Id | None = None
    next: Id | None = None


class Candidate(Part, frozen=True, kw_only=True):
    """One of the replies that were ranked."""

    text: Text
    score: Score
    logprob: LogProb | None = None


class Message(Part, frozen=True, kw_only=True):
    """One message of the tree. `streaming`: still being written, only as a reply's first frame or in a state.

    `candidates` are the replies that this one was chosen from, `chosen` its index among them; `marks` are
    what emotion and coreference found in it. `persona`: the version of the agent's persona that it was said
    with, 1 where it is not there; in a group, who of `scene.group` said it.
    """

    id: Id
    parent: Id | None = None
    role: Role
    text: Text
    status: Status = sent("complete")
    time: Milliseconds
    siblings: Siblings = sent(Siblings())
    request: RequestId | None = None
    candidates: Annotated[tuple[Candidate, ...], Meta(max_length=MOST_CANDIDATES)] = sent(())
    chosen: Count | None = None
    marks: Data | None = None
    persona: Annotated[int, whole(1)] = 1


class Suggestion(Part, frozen=True, kw_only=True):
    """A line that the user might say next."""

    text: Annotated[str, line(LIMITS.message_chars)]
    score: Score


class InputRow(Part, frozen=True, kw_only=True):
    """One token of the model's input: word, position and segment, as in the blog post's figure.

    `item` counts the sentences, or turns, of its part from 0. `logprob` and `alternatives` are there for
    the tokens of the reply.
    """

    id: Count
    text: Text
    position: Count
    segment: Name
    part: Piece
    item: Count
    logprob: LogProb | None = None
    alternatives: Alternatives = sent(())


class Added(Part, frozen=True, kw_only=True):
    """A text that was added to the input: as what, what called it, and whether it had no room."""

    kind: Piece
    text: Text
    depth: Count | None = None
    why: Text = sent("")
    missing: bool = sent(False)


class Account(Part, frozen=True, kw_only=True):
    """What the context of `positions` tokens went to: `tokens` of each part, those kept for the `reply`.

    What neither takes is `free`. `examples_left_out` example dialogues had no room.
    """

    positions: Count
    tokens: Data
    reply: Count
    free: Count
    examples_left_out: Count = sent(0)


class NoteCard(Part, frozen=True, kw_only=True):
    """The author's note: a text that stands about `depth` turns before the end; blank: there is none."""

    text: Annotated[str, raw(LIMITS.note_chars)] = sent("")
    depth: Annotated[int, whole(0, 1000)] = sent(4)


class CharacterCard(Part, frozen=True, kw_only=True):
    """A character that somebody imported: what it says first, and notes for the one who talks with it."""

    id: Id | None = None
    name: Name = sent("")
    greetings: Annotated[tuple[Text, ...], Meta(max_length=LIMITS.greetings)] = sent(())
    notes: Text = sent("")
    entries: Count = sent(0)
    """Of its lorebook."""


class BookCard(Part, frozen=True, kw_only=True):
    """A lorebook, and how many entries it has."""

    id: Id | None = None
    name: Name = sent("")
    entries: Count = sent(0)


class MemberCard(Part, frozen=True, kw_only=True):
    """One of a group: the version of the persona that it is, and what it is called.

    One that is not `here` any more has left.
    """

    persona: Annotated[int, whole(1)]
    name: Name
    talkativeness: Annotated[float, number(0, 1)] = sent(0.5)
    muted: bool = sent(False)
    here: bool = sent(True)


class GroupCard(Part, frozen=True, kw_only=True):
    """Who is in a group, those who have left as well; who of them answers, and whose cards are shown."""

    members: Annotated[tuple[MemberCard, ...], Meta(max_length=LIMITS.members)]
    order: Order = sent("talk")
    cards: Cards = sent("swap")


class Scene(Part, frozen=True, kw_only=True):
    """What is in a conversation beside persona and messages. `user`: who the user is, as they say."""

    character: CharacterCard | None = None
    user: PersonaCard | None = None
    note: NoteCard | None = None
    books: Annotated[tuple[BookCard, ...], Meta(max_length=LIMITS.books)] = sent(())
    group: GroupCard | None = None


class Summary(Part, frozen=True, kw_only=True):
    """One conversation in a list."""

    id: Id
    title: Title
    persona: Name = sent("")
    preview: Title = sent("")
    messages: Count = sent(0)
    updated: Milliseconds


class MemoryFact(Part, frozen=True, kw_only=True):
    """A fact that the user told: `text` as it is recalled, `said` as it was told (its begin), blank where the
    user wrote it down. `message` of `conversation` is where. `instead`: the fact that took its place.
    `aside`: a remark, kept in the words it was made in.
    """

    id: Id
    text: Annotated[str, raw(LIMITS.fact_chars)]
    said: Annotated[str, raw(LIMITS.fact_chars)] = sent("")
    conversation: Id | None = None
    message: Id | None = None
    time: Milliseconds
    instead: Id | None = None
    aside: bool = sent(False)


Page = Annotated[tuple[Message, ...], Meta(max_length=LIMITS.page_messages)]
Words = Annotated[str, raw(2_000)]
"""A line for a person, from the server."""
