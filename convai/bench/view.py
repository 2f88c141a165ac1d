"""What a client knows: frames go in, the conversation as it is shown comes out. What the changes mean.

The page does the same in its own language; tests and benchmarks hold the server against this one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from convai.core.limits import ProtocolError
from convai.server.protocol.changes import (
    Change,
    DecodingSet,
    Deleted,
    Failed,
    FinishedReply,
    Marks,
    Path,
    PersonaSet,
    SceneSet,
    Started,
    State,
    Stopped,
    Suggestions,
    TitleSet,
    TokenDrawn,
)
from convai.server.protocol.kinds import SettingValue
from convai.server.protocol.server import ServerEvent
from convai.server.protocol.values import Message, PersonaCard, Resume, Scene, Suggestion


@dataclass(slots=True)
class View:
    """The open conversation, as far as the frames tell. `messages` end with a reply in the making."""

    conversation: str | None = None
    stream: str = ""
    last: int = 0
    title: str = ""
    persona: PersonaCard = field(default_factory=PersonaCard)
    settings: dict[str, SettingValue] = field(default_factory=dict)
    scene: Scene | None = None
    messages: list[Message] = field(default_factory=list)
    earlier: int = 0
    suggestions: tuple[Suggestion, ...] = ()
    marks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Message → kind → what was found."""

    @property
    def writing(self) -> str | None:
        """The reply that is being written."""
        return self.messages[-1].id if self.messages and self.messages[-1].status == "streaming" else None

    def resume(self) -> Resume | None:
        """What to say in `hello` after a lost connection."""
        if self.conversation is None:
            return None
        return Resume(conversation=self.conversation, stream=self.stream, last=self.last)

    def take(self, event: ServerEvent) -> bool:
        """Take a frame in. False for an answer, and for a change that was seen before.

        Raises ProtocolError when a number was left out, or the change does not fit what is known: then the
        connection is to be made again with `resume`, or the conversation opened again.
        """
        if isinstance(event, State):
            self._state(event)
            return True
        if not isinstance(event, Change):
            return False
        n = event.n
        if self.conversation is None:
            raise ProtocolError("order", f"{event.type} {n} before any state")
        if n <= self.last:
            return False
        if n > self.last + 1:
            raise ProtocolError("order", f"{event.type} {n} follows {self.last}: frames are missing")
        self._change(event)
        self.last = n
        return True

    def _state(self, state: State) -> None:
        self.conversation, self.stream, self.last = state.conversation, state.stream, state.n
        self.title, self.persona, self.settings = state.title, state.persona, dict(state.settings)
        self.scene = state.scene
        self.messages, self.earlier = list(state.messages), state.earlier
        self.suggestions = ()
        self.marks = {message.id: dict(message.marks) for message in state.messages if message.marks}

    def _change(self, change: Change) -> None:
        match change:
            case Path():
                self._cut(change.keep)
                self.messages += change.messages
                self.marks.update({one.id: dict(one.marks) for one in change.messages if one.marks})
            case Started():
                self._cut(change.message.parent)
                self.messages.append(change.message)
            case TokenDrawn():
                last = self._writing(change.message)
                self.messages[-1] = replace(last, text=last.text + change.text)
            case FinishedReply():
                self._writing(change.message.id)
                self.messages[-1] = change.message
            case Stopped() | Failed():
                self._writing(change.id)
                self.messages[-1:] = [change.message] if change.message else []
            case Suggestions():
                self.suggestions = change.lines
            case Marks():
                self.marks.setdefault(change.message, {})[change.kind] = change.data
            case SceneSet():
                self.scene = change.scene
            case PersonaSet():
                self.persona = change.persona
            case DecodingSet():
                self.settings = dict(change.settings)
            case TitleSet():
                self.title = change.title
            case Deleted():
                self.conversation, self.messages, self.earlier = None, [], 0

    def _cut(self, keep: str | None) -> None:
        """Leave the messages up to `keep`; suggestions were for what followed."""
        ids = [message.id for message in self.messages]
        if keep is not None and keep not in ids:
            raise ProtocolError("order", f"message {keep} is not on the branch that is shown")
        if keep is None:
            self.earlier = 0
        del self.messages[0 if keep is None else ids.index(keep) + 1 :]
        self.suggestions = ()

    def _writing(self, id: str) -> Message:
        if self.writing != id:
            raise ProtocolError("order", f"reply {id} is not being written")
        return self.messages[-1]
