"""A chat on a screen: what is typed is answered or carried out, and what comes back is shown."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Final, Protocol

import convai
from convai.conversation.conversation import ReplyTurn
from convai.conversation.links import LinkReader
from convai.conversation.memory.listening import MemoryLearner
from convai.conversation.mood import MoodReader
from convai.conversation.session import Session
from convai.conversation.yous import Yous
from convai.core.dialog import AGENT, USER
from convai.core.errors import ConvaiError
from convai.core.safe_text import one_line
from convai.engine import Event, Finished
from convai.terminal.screen import Screen
from convai.text.personas import PersonaDeck

_USER: Final = "you"
_AGENT: Final = "bot"
_RECAP: Final = 4
"""Turns shown of a conversation that was loaded."""


class LineReader(Protocol):
    """What a chat needs of a keyboard."""

    typed: str

    def read(self, prompt: str) -> str: ...


class Chat:
    """A chat on a screen. Slash commands work on `session`, `deck` and `screen`; `over` ends it.

    `execute` carries out a line that begins with a slash.
    """

    def __init__(
        self,
        session: Session,
        deck: PersonaDeck,
        screen: Screen,
        keyboard: LineReader,
        execute: Callable[[Chat, str], None],
        mood: MoodReader | None = None,
        links: LinkReader | None = None,
        memory: MemoryLearner | None = None,
        yous: Yous | None = None,
    ) -> None:
        self.session = session
        self.mood = mood
        self.links = links
        self.memory = memory
        self.yous = yous
        self.deck = deck
        self.screen = screen
        self.over = False
        self._keyboard = keyboard
        self._execute = execute

    def run(self) -> None:
        """Greet, then answer until the user leaves."""
        self.greet()
        interrupts = 0
        while not self.over:
            try:
                line = self._keyboard.read(f"{_USER}> ")
            except EOFError:
                self.screen.line()
                return
            except KeyboardInterrupt:
                self.screen.line()
                # with something typed Ctrl-C takes that back; at an empty prompt twice it is meant for us
                interrupts = 0 if self._keyboard.typed else interrupts + 1
                if interrupts == 2:
                    return
                if interrupts:
                    self.screen.note("Ctrl-C again, or Ctrl-D, leaves")
                continue
            interrupts = 0
            self.handle(line)

    def handle(self, line: str) -> None:
        """Do what one typed line asks for; what cannot be done is said in a line."""
        text = one_line(line)  # what a paste may bring along is no part of the message
        if not text:
            return
        try:
            if text.startswith("/") and not text.startswith("//"):
                self._execute(self, text)
            else:
                said = text.removeprefix("/") if text.startswith("//") else text
                if self.show_reply(self.session.say(said)):
                    self.show_others()
                self.show_news()
        except (ConvaiError, OSError) as error:
            self.screen.problem(_line_of(error))
        except KeyboardInterrupt:
            self.screen.line()

    def begin(self) -> None:
        """Start over with the same persona."""
        self.session.reset()
        if self.memory is not None:
            self.memory.begin()

    # -- showing -----------------------------------------------------------------------------------

    def greet(self) -> None:
        """The first lines: who is there, and how to get help."""
        name = f", {self.session.agent.name}" if self.session.agent.name else ""
        self.screen.line(
            f"convai {convai.__version__}{name}. /help lists the commands, Ctrl-D leaves.", "dim"
        )
        self.show_persona()
        self.show_turns()
        self.screen.line()

    def show_persona(self) -> None:
        """Who is talked with."""
        if self.session.group:
            names = ", ".join(one.name for one in self.session.group.here)
            self.screen.line(f"You are talking with {names}. /group is about them.")
            return
        persona = self.session.persona
        if not persona:
            self.screen.line("You are talking with somebody who has no persona.")
            return
        self.screen.line(f"You are talking with {persona.name or 'somebody'} who says:")
        for sentence in persona.sentences:
            self.screen.line(sentence, "bold", prefix="  ")

    def show_turns(self) -> None:
        """The last turns of a conversation that was loaded."""
        turns = self.session.turns
        if len(turns) > _RECAP:
            self.screen.note(f"{len(turns) - _RECAP} earlier turns")
        for turn in turns[-_RECAP:]:
            name, style = (turn.name or _AGENT, "agent") if turn.speaker == AGENT else (_USER, "user")
            mark = " [stopped]" if isinstance(turn, ReplyTurn) and turn.interrupted else ""
            self.screen.said(name, style, turn.text + mark)

    def show_others(self) -> None:
        """Let the others of a group speak who are to answer as well, until one is stopped."""
        while (name := self.session.due) and self.show_reply(self.session.speak(name)):
            pass

    def show_news(self) -> None:
        """What was kept of what the user told; `/memory` has the remarks, too."""
        for learnt in self.memory.news() if self.memory is not None else ():
            gone = " ".join(fact.text for fact in learnt.replaced)
            kept = " ".join(fact.text for fact in learnt.kept if gone or not fact.aside)
            if not kept:
                continue
            self.screen.note(f"remembered: {kept}" + (f" (no longer: {gone})" if gone else ""))

    def show_reply(self, events: Generator[Event, None, None], prefill: str = "") -> bool:
        """Show a reply as it is drawn, behind its `prefill`; Ctrl-C stops it.

        Whether it came to its end.
        """
        session = self.session
        if session.group and (last := session.turns) and last[-1].speaker == USER and not session.speaker():
            self.screen.note("nobody answers; /speak NAME lets one speak")
            return False
        before = session.turns
        with closing(events):
            speech = self.screen.speech(session.speaker() or _AGENT)
            if prefill:
                speech.push(prefill)
            try:
                for event in events:
                    if isinstance(event, Finished):
                        speech.end(event.text)
                    else:
                        speech.push(event.text)
                return True
            except KeyboardInterrupt:
                pass
            except BaseException:
                speech.end()
                raise
        if self.session.turns == before:
            speech.end(mark="[stopped]")
            self.screen.note("nothing was said yet; the conversation is what it was before")
        else:
            speech.end(self.session.turns[-1].text, mark="[stopped]")
        return False


def _line_of(error: ConvaiError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
