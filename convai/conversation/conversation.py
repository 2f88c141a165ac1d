"""What a conversation is: a tree of messages, which branch is shown, and what may be done to it. No I/O.

Every door stands on this: the terminal and self-chat keep a `Conversation` in memory, the server's is in the
store, which goes by the same rules (`tree`). Where a reply stands (`Place`) says all that sets it apart
from other replies of the conversation: its seed, which turns it can depend on, what it is not to say again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final, Self

from convai.conversation.cast import NO_NOTE
from convai.conversation.group import NO_GROUP, Group
from convai.conversation.tree import Conflict, answered_by_another, check_goes_on, last_said, newest_below
from convai.core.character import Character, Lorebook
from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.core.safe_text import one_line

LOOK_BACK: Final = 400
"""Turns before a reply that it can depend on."""
MOST_REJECTED: Final = 16
"""Replies in the same place, the latest ones, that a new one is kept from repeating."""
NOBODY: Final = Persona()
"""Somebody of whom nothing is known."""


def reply_seed(seed: int, turn: int, attempt: int = 0, retry: int = 0) -> int:
    """The sampler's seed of one reply of a conversation with `seed`.

    `turn`: how many turns come before it; `attempt`: how many replies were drawn in its place before;
    `retry`: how many draws of this one came to nothing.
    """
    digest = hashlib.blake2b(f"{seed}/{turn}/{attempt}/{retry}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reply stands.

    `turns`: those before it that it can depend on, at most LOOK_BACK; `number`: all that come before it;
    `attempt` replies were drawn here before, of which it is not to repeat the `rejected` ones; `prefill`: the
    text that it goes on from. A message may have several lines (a greeting); here each is a turn of one, as
    the model reads it.
    """

    turns: tuple[Turn, ...] = ()
    number: int = 0
    attempt: int = 0
    rejected: tuple[str, ...] = ()
    prefill: str = ""

    @classmethod
    def after(cls, turns: Sequence[Turn], *, earlier: int = 0) -> Self:
        """The first reply after `turns`, before which there are `earlier` ones."""
        return cls(tuple(map(_on_one_line, turns[-LOOK_BACK:])), earlier + len(turns))

    def beside(self, replies: Sequence[str], attempt: int) -> Self:
        """Another reply beside `replies`, the latest of the `attempt` that were drawn there."""
        rejected = tuple(dict.fromkeys(map(one_line, replies[-MOST_REJECTED:])))
        return replace(self, attempt=attempt, rejected=rejected)

    def onward(self, text: str, attempt: int = 0) -> Self:
        """The reply that was drawn here as number `attempt`, gone on with from the `text` that it has."""
        return replace(self, attempt=attempt, prefill=text)

    def seed(self, conversation: int, retry: int = 0) -> int:
        """The sampler's seed here, in a conversation with that seed."""
        return reply_seed(conversation, self.number, self.attempt, retry)


def _on_one_line(turn: Turn) -> Turn:
    return replace(turn, text=one_line(turn.text)) if "\n" in turn.text else turn


@dataclass(frozen=True, slots=True)
class ReplyTurn(Turn):
    """A reply that was drawn in a conversation. `distractors` are the others in its place."""

    attempt: int = 0
    """How many were drawn in its place before."""
    interrupted: bool = False
    """It was stopped: the text is as much as was shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. `persona`: the version it was said with; `created`: ms since 1970 UTC, 0 where unknown.

    `details`: what a store keeps beside a reply, untouched here.
    """

    id: str
    parent: str | None
    speaker: int
    text: str
    attempt: int = 0
    interrupted: bool = False
    persona: int = 1
    created: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)


class Conversation:
    """A tree of messages, its personas, and the last message of the branch that is shown (`leaf`)."""

    def __init__(self, persona: Persona, partner: Persona = NOBODY) -> None:
        self.personas = {1: persona}
        """Everybody that the agent has been, by version."""
        self.characters: dict[int, Character] = {}
        """All that a card says of those of them that came from one, by version."""
        self.version = 1
        self.partner = partner
        """Who the user is, as they want to be known."""
        self.note = NO_NOTE
        """The author's note."""
        self.books: tuple[Lorebook, ...] = ()
        """Lorebooks beside the character's own."""
        self.group: Group = NO_GROUP
        """Who is in it, where that is more than one."""
        self.leaf: str | None = None
        self.title = ""
        self.created = self.updated = 0
        """Milliseconds since 1970 UTC; 0 where unknown."""
        self.about = Dialog()
        """The id, source and labels that a dialogue came with."""
        self._messages: dict[str, Message] = {}
        self._below: dict[str | None, list[Message]] = {}

    @classmethod
    def of_dialog(cls, dialog: Dialog) -> Self:
        """The conversation that `dialog` is; what a turn has as distractors stands beside it."""
        made = cls(dialog.persona, dialog.personas[USER])
        made.about = replace(dialog, turns=())
        for turn in dialog.turns:
            parent = made.leaf
            attempt, stopped = (turn.attempt, turn.interrupted) if isinstance(turn, ReplyTurn) else (0, False)
            others = [text for text in dict.fromkeys(turn.distractors) if text != turn.text]
            if turn.speaker == AGENT:
                for number, text in enumerate(others):
                    made.add(AGENT, text, parent=parent, attempt=max(attempt - len(others) + number, 0))
            made.add(turn.speaker, turn.text, parent=parent, attempt=attempt, interrupted=stopped)
        return made

    def anew(self) -> Conversation:
        """Nothing said yet, between the same two, with the same note and books."""
        made = Conversation(self.persona, self.partner)
        made.note, made.books = self.note, self.books
        if self.group:
            made.group, made.version = self.group, self.version
            made.personas, made.characters = dict(self.personas), dict(self.characters)
        elif self.character is not None:
            made.characters[made.version] = self.character
        return made

    # -- reading -----------------------------------------------------------------------------------

    @property
    def persona(self) -> Persona:
        """Who the agent is now."""
        return self.personas[self.version]

    @property
    def character(self) -> Character | None:
        """All that a card says of who the agent is now; None where it is a persona alone."""
        return self.characters.get(self.version)

    @property
    def messages(self) -> tuple[Message, ...]:
        """All of them, oldest first, so that a parent comes before its children."""
        return tuple(self._messages.values())

    def message(self, id: str | None = None) -> Message | None:
        """The message `id`, or the last one that is shown, if any. Raises Conflict where `id` is none."""
        if id is None:
            return None if self.leaf is None else self._messages[self.leaf]
        if id not in self._messages:
            raise Conflict(f"there is no message {id[:64]!r} in this conversation")
        return self._messages[id]

    def branch(self, until: str | None = None) -> list[Message]:
        """The messages from the first one to `until`, or to the last one that is shown."""
        path: list[Message] = []
        message = self.message(until)
        while message is not None:
            path.append(message)
            message = None if message.parent is None else self._messages[message.parent]
        return path[::-1]

    def replies(self, parent: str | None) -> list[Message]:
        """The agent's messages behind `parent`, in the order in which they were drawn."""
        return [message for message in self._below.get(parent, []) if message.speaker == AGENT]

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The branch that is shown; replies are ReplyTurns."""
        return tuple(self.turn(message) for message in self.branch())

    def turn(self, message: Message) -> Turn:
        """A message as a turn."""
        if message.speaker == USER:
            return Turn(USER, message.text)
        beside = self.replies(message.parent)
        texts = dict.fromkeys(one.text for one in beside if one.text != message.text)
        name = self.group.names.get(message.persona, "")
        return ReplyTurn(AGENT, message.text, tuple(texts), message.attempt, message.interrupted, name=name)

    @property
    def dialog(self) -> Dialog:
        """The branch that is shown, as a dialogue."""
        return replace(self.about, turns=self.turns, personas=(self.partner, self.persona))

    # -- where a reply would stand -------------------------------------------------------------------

    def after(self, text: str) -> Place:
        """That to the `text` which the user says now."""
        return Place.after([*self._plain(self.branch()), Turn(USER, text)])

    def behind(self) -> Place:
        """One behind the last message, whoever said that: another member of a group speaks."""
        place = Place.after(self._plain(self.branch()))
        there = self.replies(self.leaf)
        if not there:
            return place
        return place.beside([one.text for one in there], 1 + max(one.attempt for one in there))

    def again(self, id: str | None = None) -> tuple[str | None, Place]:
        """Another one in the place of a reply (None: the last), or to a user's message, and what it answers.

        Raises Conflict where there is none.
        """
        message = self.message(id)
        if message is None:
            raise Conflict("there is no reply to draw again; say something first")
        parent = answered_by_another(message)
        there = self.replies(parent)
        place = Place.after([] if parent is None else self._plain(self.branch(parent)))
        if not there:
            return parent, place
        return parent, place.beside([one.text for one in there], 1 + max(one.attempt for one in there))

    def onward(self, id: str | None = None) -> tuple[Message, Place]:
        """A reply (None: the last message) that is gone on with. Raises Conflict where that cannot be."""
        message = self.message(id)
        if message is None:
            raise Conflict("there is no reply to go on with; say something first")
        check_goes_on(message, followed=bool(self._below.get(message.id)))
        above = [] if message.parent is None else self._plain(self.branch(message.parent))
        return message, Place.after(above).onward(message.text, message.attempt)

    def _plain(self, path: Sequence[Message]) -> list[Turn]:
        names = self.group.names
        return [
            Turn(one.speaker, one.text, name=names.get(one.persona, "") if one.speaker == AGENT else "")
            for one in path
        ]

    # -- changing ------------------------------------------------------------------------------------

    def add(
        self,
        speaker: int,
        text: str,
        *,
        parent: str | None,
        attempt: int = 0,
        interrupted: bool = False,
        persona: int | None = None,
    ) -> Message:
        """Somebody has said `text` behind `parent`; it is the end of the branch that is shown now.

        `persona`: the version that said it, None for the one in use.
        """
        id = next(name for n in count(len(self._messages) + 1) if (name := str(n)) not in self._messages)
        message = Message(
            id=id,
            parent=parent,
            speaker=speaker,
            text=text,
            attempt=attempt,
            interrupted=interrupted,
            persona=self.version if persona is None else persona,
        )
        self.keep(message)
        self.leaf = id
        return message

    def keep(self, message: Message) -> None:
        """Put a message, whose parent is there, into the tree; one of the same id gives way to it."""
        beside = self._below.setdefault(message.parent, [])
        if message.id in self._messages:
            beside[beside.index(self._messages[message.id])] = message
        else:
            beside.append(message)
        self._messages[message.id] = message

    def number(self, message: Message, attempt: int) -> None:
        """Say how many replies were drawn in the place of one before it."""
        self.keep(replace(message, attempt=attempt))

    def edit(self, id: str, text: str) -> Message:
        """A message written anew, beside the old one."""
        old = self._messages[id]
        attempt = len(self.replies(old.parent)) if old.speaker == AGENT else 0
        persona = old.persona if self.group else None
        return self.add(old.speaker, text, parent=old.parent, attempt=attempt, persona=persona)

    def undo(self) -> list[Message]:
        """Back to before the user's last message; what is not shown any more. Raises Conflict."""
        path = self.branch()
        said = last_said(path)
        self.leaf = said.parent
        return path[path.index(said) :]

    def switch(self, id: str) -> None:
        """To the branch that a message is on, and its newest end."""
        self.leaf = newest_below([(one.id, one.parent) for one in self._messages.values()], id)

    def set_persona(self, persona: Persona, character: Character | None = None) -> None:
        """The agent is somebody else from now on, and alone; `character`: all that their card says."""
        self.group = NO_GROUP
        if persona != self.persona or character != self.character:
            self.version = max(self.personas) + 1
            self.personas[self.version] = persona
            if character is not None:
                self.characters[self.version] = character
