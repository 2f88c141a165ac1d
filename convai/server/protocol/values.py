"""The parts that frames share: personas, messages, candidates, input rows; and names for annotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from convai.server.protocol.kinds import ASSIGNED, Free, Ident, Line, Many, Number, Raw, Settings, Whole

Id = Annotated[str, Ident()]
RequestId = Id
"""Chosen by the client, new for every request, and the same when a request is sent again."""
Count = Annotated[int, Whole(0)]
SequenceNumber = Annotated[int, Whole(1), ASSIGNED]
"""Of a change in its stream; 0 until the replay buffer numbers it."""
Milliseconds = Count
"""Since 1970-01-01 UTC."""
LogProb = Annotated[float, Number(-1e9, 0)]
"""Natural logarithm of a probability."""
Score = Annotated[float, Number(-1e9, 1e9)]
"""Of the next-sentence head, a logit: higher is a better reply."""
Text = Annotated[str, Raw("reply_chars")]
Name = Annotated[str, Line("name_chars", blank=True)]
Title = Annotated[str, Line("title_chars", blank=True)]
Seconds = Annotated[float, Number(0, 86_400)]
SettingsGiven = Annotated[dict[str, int | float | None], Settings()]
Data = Annotated[dict[str, Any], Free()]
Alternatives = Annotated[tuple[tuple[Text, LogProb], ...], Many("alternatives")]

MOST_CANDIDATES = 64
Role = Literal["user", "agent"]
Status = Literal["complete", "interrupted", "streaming"]
Part = Literal["persona", "history", "reply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonaCard:
    """Who the agent is. Without sentences it is nobody in particular."""

    sentences: Annotated[tuple[Annotated[str, Line("sentence_chars")], ...], Many("persona_sentences")] = ()
    name: Name = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Where a client stopped reading: number `last` of the stream `stream`."""

    conversation: Id
    stream: Id
    last: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Siblings:
    """The place of a message among those with the same parent, oldest first."""

    index: Count = 0
    count: Annotated[int, Whole(1)] = 1
    previous: Id | None = None
    next: Id | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One of the replies that were ranked."""

    text: Text
    score: Score
    logprob: LogProb | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of the tree. `streaming`: still being written, only as a reply's first frame or in a state.

    `candidates` are the replies that this one was chosen from, `chosen` its index among them; `marks` are
    what emotion and coreference found in it.
    """

    id: Id
    parent: Id | None = None
    role: Role
    text: Text
    status: Status = "complete"
    time: Milliseconds
    siblings: Siblings = Siblings()
    request: RequestId | None = None
    candidates: Annotated[tuple[Candidate, ...], Many(MOST_CANDIDATES)] = ()
    chosen: Count | None = None
    marks: Data | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A line that the user might say next."""

    text: Annotated[str, Line("message_chars")]
    score: Score


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRow:
    """One token of the model's input: word, position and segment, as in the blog post's figure.

    `item` counts the sentences, or turns, of its part from 0. `logprob` and `alternatives` are there for
    the tokens of the reply.
    """

    id: Count
    text: Text
    position: Count
    segment: Name
    part: Part
    item: Count
    logprob: LogProb | None = None
    alternatives: Alternatives = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One conversation in a list."""

    id: Id
    title: Title
    persona: Name = ""
    preview: Title = ""
    messages: Count = 0
    updated: Milliseconds


Page = Annotated[tuple[Message, ...], Many("page_messages")]
Words = Annotated[str, Raw(2_000)]
"""A line for a person, from the server."""
