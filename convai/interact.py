"""The terminal: a chat with prompts and commands, or one line in, one line out where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TextIO

from convai.conversation.hooks import notify
from convai.conversation.links import LinkReader
from convai.conversation.memory.listening import MemoryLearner
from convai.conversation.mood import MoodReader
from convai.conversation.session import Session
from convai.conversation.yous import Yous
from convai.core.dialog import MAX_UTTERANCE_CHARS, Turn
from convai.core.errors import DataError, SettingsError
from convai.core.safe_text import visible
from convai.terminal import slash
from convai.terminal.chat import Chat
from convai.terminal.screen import Keyboard, Screen, has_colour, history_path, quiet_interrupts
from convai.text.personas import PersonaDeck


def interact(
    session: Session,
    deck: PersonaDeck,
    source: TextIO,
    out: TextIO,
    mood: MoodReader | None = None,
    links: LinkReader | None = None,
    memory: MemoryLearner | None = None,
    greeting: int = 1,
    yous: Yous | None = None,
) -> None:
    """Talk until the user leaves: with prompts where both ends are a terminal, else line by line.

    On a terminal a new conversation begins with the character's `greeting`, counted from 1, 0 for none;
    line by line what is said first is for the one who writes. `mood` and `links` read along, for /mood and
    /coref; `memory` learns what the user tells; `yous` are who they may want to be known as.

    Raises ConvaiError as `answer_lines` does.
    """
    if not (source.isatty() and out.isatty()):
        session.on_turn = memory
        try:
            answer_lines(session, source, out)
        finally:
            if memory is not None:
                memory.close()
        return
    screen = Screen(out, colour=has_colour(out))
    keyboard = Keyboard(screen, slash.complete, history_path())
    try:
        with quiet_interrupts(source):
            session.on_turn = partial(_notify_all, [mood, links, memory])
            if greeting and not session.turns:
                session.greet(greeting - 1)
            Chat(session, deck, screen, keyboard, slash.execute, mood, links, memory, yous).run()
    finally:
        keyboard.close()
        for reader in (mood, links, memory):
            if reader is not None:
                reader.close()


def _notify_all(listeners: Sequence[Callable[[Turn], None] | None], turn: Turn) -> None:
    """Every listener hears of the turn, also when another fails."""
    for listener in listeners:
        notify(listener, turn)


def _answered(session: Session, line: str, where: str) -> str:
    """The reply, on one line; in a group what each says, with their names, parted by tabs."""
    if not session.group:
        return session.answer(line, where)
    said = [f"{name}: {visible(text)}" for name, text in session.answers(line, where)]
    return "\t".join(said)


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
            reply = _answered(session, line, where)
        except SettingsError as error:
            raise SettingsError(f"{where}: {error}") from None
        out.write((reply if session.group else visible(reply)) + "\n")
        out.flush()
