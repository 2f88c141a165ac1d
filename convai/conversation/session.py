"""One conversation: persona, turns, settings; what was said goes in, events of a reply come out.

No printing, no sockets, no torch. Replies are drawn by `convai.conversation.reply`, as every other
door's are.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import EllipsisType
from typing import Final

from convai.conversation.agent import Agent
from convai.conversation.explain import Explanation
from convai.conversation.mood import tell
from convai.conversation.reply import SILENCE, TRIES, Reply, Suggesting, check_persona, reply_seed
from convai.conversation.saved import ChatSettings, ReplyTurn, load_conversation, save_conversation
from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import ConvaiError
from convai.core.settings import DecodingConfig
from convai.engine import Engine, Event, Token

NOBODY: Final = Persona()

__all__ = ["NOBODY", "SILENCE", "TRIES", "Session", "reply_seed"]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A reply in the making, and what it answers or replaces."""

    before: tuple[Turn, ...]
    rejected: tuple[str, ...]
    attempt: int
    reply: Reply


class Session:
    """A conversation with one agent. `persona`, `turns`, `dialog` and `seed` are for reading.

    `decoding` and `max_history` may be assigned at any time and hold from the next reply on. The same seed,
    persona and messages give the same conversation.

    A reply is part of the conversation when its iterator has come to its end. Closing the iterator (or
    Ctrl-C while it computes) stops the reply: what was shown of it stays, marked as interrupted; if nothing
    was shown, the conversation is what it was before the message. The same holds when the next message
    comes before the reply has ended. An error leaves the conversation as it was.
    """

    def __init__(
        self,
        agent: Agent,
        engine: Engine,
        persona: Persona = NOBODY,
        *,
        decoding: DecodingConfig | None = None,
        max_history: int | EllipsisType | None = ...,
        on_turn: Callable[[Turn], None] | None = None,
        preference: Callable[[Sequence[str]], Sequence[float]] | None = None,
        history: Callable[[Sequence[Turn]], Sequence[Turn]] | None = None,
    ) -> None:
        """`decoding` and `max_history` (exchanges; None: all that fits) default to what the model ships with.

        `decoding.seed` is the conversation's seed; None draws one. Raises SettingsError when the persona
        leaves the model no room.

        `on_turn` is called with every message before it is answered and every reply once it is whole;
        `preference` gives the texts of several candidates a bonus each, added to their scores. Both may be
        assigned later; what they raise is logged, and the conversation goes on. `history` gives the turns,
        each in its place, in the words that the model is to read; it raises nothing.
        """
        self.agent = agent
        self.on_turn = on_turn
        self.preference = preference
        self.history = history
        self.engine = engine
        self.decoding = decoding or agent.decoding
        self.max_history = agent.max_history if isinstance(max_history, EllipsisType) else max_history
        self._drawn_seed = secrets.randbits(32)
        self._dialog = Dialog()
        self._running: Generator[Event, None, None] | None = None
        self._last: _Draft | None = None
        self.set_persona(persona)

    # -- reading -----------------------------------------------------------------------------------

    @property
    def persona(self) -> Persona:
        """Who the agent is."""
        return self._dialog.persona

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What was said, oldest first; replies drawn here are ReplyTurns."""
        return self._dialog.turns

    @property
    def dialog(self) -> Dialog:
        """The conversation as a dialogue."""
        return self._dialog

    @property
    def seed(self) -> int:
        """The seed of this conversation."""
        return self._drawn_seed if self.decoding.seed is None else self.decoding.seed

    def explain(self) -> Explanation:
        """The exact input of the last reply, and what it was chosen from.

        Raises ConvaiError where the last reply was not drawn here (it was loaded, or taken back).
        """
        if self._last is None:
            raise ConvaiError("no reply to explain: the last one must have been drawn in this session")
        return self._last.reply.explain()

    # -- talking -----------------------------------------------------------------------------------

    def say(self, text: str, where: str = "message") -> Generator[Event, None, None]:
        """The user says `text`; iterate to get the reply.

        With one candidate Token events come as they are drawn, then Finished; with several, or beam search,
        only Finished, for the reply that the next-sentence head likes best. Texts are clean: one line, no
        control characters, and those of the tokens are how Finished.text begins.

        Raises at once DataError, beginning with `where`, for text that is blank, too long or no text, and
        SettingsError when it does not fit into the model.
        """
        self.stop()
        message = Turn(USER, check_text(text, where))
        running = self._start((*self.turns, message))
        tell(self.on_turn, message)
        return running

    def regenerate(self) -> Generator[Event, None, None]:
        """Draw another reply in place of the last one, as `say` does.

        The new one is kept from repeating those it replaces (`no_repeat_own_ngram`), which stay with the turn
        as its distractors. Stopped before anything was shown, it leaves the old reply. A last message without
        a reply gets one. Raises ConvaiError when nothing was said.
        """
        self.stop()
        if not self.turns:
            raise ConvaiError("there is no reply to draw again; say something first")
        if self.turns[-1].speaker == USER:  # of a dialogue that was loaded
            return self._start(self.turns)
        *before, last = self.turns
        attempt = last.attempt if isinstance(last, ReplyTurn) else 0
        rejected = dict.fromkeys((*last.distractors, last.text))
        return self._start(tuple(before), attempt + 1, tuple(rejected))

    def answer(self, text: str, where: str = "message") -> str:
        """`say`, all at once: the reply's text."""
        final = SILENCE
        for event in self.say(text, where):
            final = event.text
        return final

    def suggest(self, count: int = 3) -> tuple[str, ...]:
        """What the user might say next, at most `count` different texts, the likeliest answer first.

        The model takes the user's chair in the same conversation, whose cached prefix it shares. The same
        conversation and seed give the same texts. Raises SettingsError where `count` is out of range or the
        conversation does not fit into the model.
        """
        self.stop()
        suggesting = Suggesting(
            self.agent,
            self.persona,
            self.turns,
            self.decoding,
            seed=self.seed,
            max_history=self.max_history,
            count=count,
        )
        for request in suggesting.requests():
            with closing(self.engine.stream(request)) as events:
                for event in events:
                    suggesting.take(event)
        return tuple(text for text, _ in suggesting.lines())

    def stop(self) -> None:
        """Stop the reply that is being read, if any."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def _start(
        self, before: tuple[Turn, ...], attempt: int = 0, rejected: tuple[str, ...] = ()
    ) -> Generator[Event, None, None]:
        told = None if self.history is None else self.history(before)
        reply = Reply(
            self.agent,
            self.persona,
            before,
            self.decoding,
            seed=self.seed,
            max_history=self.max_history,
            rejected=rejected,
            attempt=attempt,
            preference=self.preference,
            told=told,
        )
        self._running = self._draw(_Draft(before, rejected, attempt, reply))
        return self._running

    def _draw(self, draft: _Draft) -> Generator[Event, None, None]:
        reply = draft.reply
        try:
            for request in reply.requests():
                with closing(self.engine.stream(request)) as events:
                    for event in events:
                        shown = reply.take(event)
                        if reply.live and isinstance(shown, Token):
                            yield shown
        except (GeneratorExit, KeyboardInterrupt):
            if reply.shown:
                self._commit(draft, reply.shown, interrupted=True)
            raise
        assert reply.chosen is not None
        end = reply.finished[reply.chosen]
        self._commit(draft, end.text)
        yield end

    def _commit(self, draft: _Draft, text: str, interrupted: bool = False) -> None:
        turn = ReplyTurn(
            AGENT,
            text,
            tuple(wrong for wrong in draft.rejected if wrong != text),
            draft.attempt,
            interrupted,
        )
        self._dialog = replace(self._dialog, turns=(*draft.before, turn))
        self._last = draft
        self._running = None
        if not interrupted:
            tell(self.on_turn, turn)

    # -- changing ----------------------------------------------------------------------------------

    def undo(self) -> tuple[Turn, ...]:
        """Take back the last message and its reply; return them. Raises ConvaiError without any."""
        self.stop()
        said = [i for i, turn in enumerate(self.turns) if turn.speaker == USER]
        if not said:
            raise ConvaiError("there is nothing to take back")
        taken = self.turns[said[-1] :]
        self._dialog = replace(self._dialog, turns=self.turns[: said[-1]])
        self._last = None
        return taken

    def reset(self) -> None:
        """Start over with the same persona. The seed stays if it was given; else a fresh one is drawn."""
        self.stop()
        self._dialog = Dialog(personas=self._dialog.personas)
        self._drawn_seed = secrets.randbits(32)
        self._last = None

    def set_persona(self, persona: Persona) -> None:
        """Make the agent somebody else; the turns stay (`reset` is for starting over).

        Raises SettingsError, and changes nothing, when the persona leaves the model no room.
        """
        self.stop()
        check_persona(self.agent, persona, self.decoding.max_length)
        self._dialog = replace(self._dialog, personas=(self._dialog.personas[USER], persona))

    def save(self, path: Path) -> None:
        """Write the conversation and its settings to a file. Raises DataError; see `saved`."""
        self.stop()
        settings = ChatSettings(
            decoding=self.decoding, max_history=self.max_history, seed=self.seed, model=self.agent.name
        )
        save_conversation(path, self._dialog, settings)

    def load(self, path: Path) -> None:
        """Go on with a saved conversation, as it would have gone on: persona, turns, settings, seed.

        A dialogue that was not saved by a chat leaves the settings as they are. Raises DataError for a file
        that cannot be read, SettingsError when its persona leaves this model no room; nothing changes then.
        """
        self.stop()
        dialog, settings = load_conversation(path)
        self.set_persona(dialog.persona)
        self._dialog = dialog
        self._last = None
        if settings is not None:
            self.decoding, self.max_history = settings.decoding, settings.max_history
            self._drawn_seed = settings.seed
