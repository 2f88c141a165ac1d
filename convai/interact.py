"""The terminal: a chat with prompts and commands, or one line in, one line out where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from typing import Final, Protocol, TextIO

import convai
from convai.dialog import AGENT, MAX_UTTERANCE_CHARS, Turn
from convai.engine import Event, Finished
from convai.errors import ConvaiError, DataError, SettingsError
from convai.links import LinkReader
from convai.mood import MoodReader, tell
from convai.persona_choice import PersonaDeck
from convai.safe_text import one_line, visible
from convai.session import Session
from convai.terminal import slash
from convai.terminal.screen import Keyboard, Screen, has_colour, history_path, quiet_interrupts
from convai.transcript import ReplyTurn

_USER: Final = "you"
_AGENT: Final = "bot"
_RECAP: Final = 4
"""Turns shown of a conversation that was loaded."""


class LineReader(Protocol):
    """What a chat needs of a keyboard."""

    typed: str

    def read(self, prompt: str) -> str: ...


def interact(
    session: Session,
    deck: PersonaDeck,
    source: TextIO,
    out: TextIO,
    mood: MoodReader | None = None,
    links: LinkReader | None = None,
) -> None:
    """Talk until the user leaves: with prompts where both ends are a terminal, else line by line.

    `mood` and `links` read along, for /mood and /coref. Raises ConvaiError as `answer_lines` does.
    """
    if not (source.isatty() and out.isatty()):
        answer_lines(session, source, out)
        return
    screen = Screen(out, colour=has_colour(out))
    keyboard = Keyboard(screen, slash.complete, history_path())
    try:
        with quiet_interrupts(source):
            session.on_turn = partial(_tell_all, [mood, links])
            Chat(session, deck, screen, keyboard, mood, links).run()
    finally:
        keyboard.close()
        for reader in (mood, links):
            if reader is not None:
                reader.close()


def _tell_all(listeners: Sequence[Callable[[Turn], None] | None], turn: Turn) -> None:
    """Every listener hears of the turn, also when another fails."""
    for listener in listeners:
        tell(listener, turn)


def answer_lines(session: Session, source: TextIO, out: TextIO) -> None:
    """A reply on a line of `out` for every line of `source`, each written before the next line is read.

    Every line is a message, also one that begins with a slash: what is piped in may be anybody's words, and
    must not be able to write files. Raises DataError or SettingsError beginning with `stdin:N` for a line
    that is blank, no text, or too long; the lines before it have been answered.
    """
    number = 0
    while line := source.readline(MAX_UTTERANCE_CHARS + 2):
        number += 1
        where = f"stdin:{number}"
        line = line.removesuffix("\n")
        if len(line) > MAX_UTTERANCE_CHARS:
            raise DataError(
                f"{where}: a line of over {MAX_UTTERANCE_CHARS:,} characters; split it into messages"
            )
        if number == 1:
            line = line.removeprefix("\ufeff")  # a byte order mark
        try:
            reply = session.answer(line, where)
        except SettingsError as error:
            raise SettingsError(f"{where}: {error}") from None
        out.write(visible(reply) + "\n")
        out.flush()


class Chat:
    """A chat on a screen. `slash` commands work on `session`, `deck` and `screen`; `over` ends it."""

    def __init__(
        self,
        session: Session,
        deck: PersonaDeck,
        screen: Screen,
        keyboard: LineReader,
        mood: MoodReader | None = None,
        links: LinkReader | None = None,
    ) -> None:
        self.session = session
        self.mood = mood
        self.links = links
        self.deck = deck
        self.screen = screen
        self.over = False
        self._keyboard = keyboard

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
                slash.execute(self, text)
            else:
                self.show_reply(self.session.say(text.removeprefix("/") if text.startswith("//") else text))
        except (ConvaiError, OSError) as error:
            self.screen.problem(_told(error))
        except KeyboardInterrupt:
            self.screen.line()

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
            name, style = (_AGENT, "agent") if turn.speaker == AGENT else (_USER, "user")
            mark = " [stopped]" if isinstance(turn, ReplyTurn) and turn.interrupted else ""
            self.screen.said(name, style, turn.text + mark)

    def show_reply(self, events: Generator[Event, None, None]) -> None:
        """Show a reply as it is drawn; Ctrl-C stops it."""
        before = self.session.turns
        with closing(events):
            speech = self.screen.speech(_AGENT)
            try:
                for event in events:
                    if isinstance(event, Finished):
                        speech.end(event.text)
                    else:
                        speech.push(event.text)
                return
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


def _told(error: ConvaiError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
