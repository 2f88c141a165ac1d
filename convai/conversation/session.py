"""One conversation in memory, synchronous: what was said goes in, events of a reply come out.

No printing, no sockets, no torch. What a conversation is stands in `convai.conversation.conversation`;
replies are drawn by `convai.conversation.reply`, as every other door's are.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

from convai.conversation.cast import another_greeting
from convai.conversation.conversation import Place
from convai.conversation.drawing import Drawing
from convai.conversation.group import due, next_one
from convai.conversation.hooks import Hooks, notify
from convai.conversation.reply import SILENCE, Reply
from convai.conversation.session_state import ReplyDraft, SessionState
from convai.conversation.suggestions import Suggesting
from convai.core.dialog import AGENT, USER, Turn, check_text
from convai.core.errors import ConvaiError, SettingsError
from convai.engine import Event, Finished, Token


class Session(SessionState):
    """A conversation with one agent. `persona`, `turns`, `dialog` and `seed` are for reading.

    `decoding`, `max_history` and `conversation`'s `partner`, `note` and `books` may be assigned at any time
    and hold from the next reply on. The same seed, persona and messages give the same conversation.

    A reply is part of the conversation when its iterator has come to its end. Closing the iterator (or
    Ctrl-C while it computes) stops the reply: what was shown of it stays, marked as interrupted; if nothing
    was shown, the conversation is what it was before the message. The same holds when the next message
    comes before the reply has ended. An error leaves the conversation as it was.
    """

    def say(self, text: str, where: str = "message") -> Generator[Event, None, None]:
        """The user says `text`; iterate to get the reply.

        With one candidate Token events come as they are drawn, then Finished; with several, or beam search,
        only Finished, for the reply that the next-sentence head likes best. Texts are clean: one line, no
        control characters, and those of the tokens are how Finished.text begins.

        Raises at once DataError, beginning with `where`, for text that is blank, too long or no text, and
        SettingsError when it does not fit into the model.
        """
        self.stop()
        talk = self.conversation
        clean = check_text(text, where)
        place = talk.after(clean)
        one = due(self.group, place.turns, place.number, self.seed) if self.group else None
        if self.group and one is None:
            talk.add(USER, clean, parent=talk.leaf)
            self._last, self._speaking = None, None
            running = _silence()
        else:
            running = self._start(clean, talk.leaf, place, None if one is None else one.version)
        notify(self.on_turn, Turn(USER, clean))
        return running

    def speak(self, name: str = "") -> Generator[Event, None, None]:
        """Let a member of the group speak, by its name or a part of it; without one, who is next.

        Raises SettingsError where there is no such member.
        """
        self.stop()
        if not self.group:
            raise SettingsError("there is no group; add somebody to the conversation first")
        place = self.conversation.behind()
        if name:
            one = self.group.one(name)
        else:
            one = next_one(self.group, place.turns, place.number, self.seed)
        return self._start(None, self.conversation.leaf, place, one.version)

    def regenerate(self, begun: str = "") -> Generator[Event, None, None]:
        """Draw another reply in place of the last one, as `say` does; `begun`: what it begins with.

        The new one is kept from repeating those it replaces (`no_repeat_own_ngram`), which stay with the turn
        as its distractors. Stopped before anything was shown, it leaves the old reply. A last message without
        a reply gets one. Raises ConvaiError when nothing was said.
        """
        self.stop()
        parent, place = self.conversation.again()
        last = self.conversation.message()
        version = None
        if self.group and last is not None and last.speaker == AGENT:
            version = last.persona
        elif self.group:
            version = next_one(self.group, place.turns, place.number, self.seed).version
        begin = all(one.speaker == AGENT for one in place.turns)  # greetings stand before all else
        begin &= not begun and last is not None and last.speaker == AGENT
        if last is not None and begin and (self.group or parent is None):
            shown = [one.text for one in self.conversation.replies(parent)]
            if another := another_greeting(self._scene(version).greetings(), last.text, shown):
                return self._greeted(another, len(shown), parent, version)
        return self._start(None, parent, replace(place, prefill=begun), version)

    def greet(self, number: int = 0) -> str:
        """Begin with a greeting of the character, counted from 0: the text; empty where it has none.

        Raises ConvaiError where something was said already, or there is no such greeting.
        """
        if self.conversation.messages:
            raise ConvaiError("something was said already; start over to be greeted")
        if self.group:
            return self._greet_all(number)
        found = self.greetings
        if not found:
            return ""
        if not 0 <= number < len(found):
            raise ConvaiError(f"there is no greeting {number + 1}; the character has {len(found)}")
        self.conversation.add(AGENT, found[number], parent=None)
        notify(self.on_turn, self.conversation.turns[-1])
        return found[number]

    def _greet_all(self, number: int) -> str:
        """Each of the group says a greeting, in the order of the list; the first of them."""
        talk = self.conversation
        for one in self.group.here:
            found = () if one.muted else self._scene(one.version).greetings()
            if found:
                text = found[number] if number < len(found) else found[0]
                talk.add(AGENT, text, parent=talk.leaf, persona=one.version)
                notify(self.on_turn, talk.turns[-1])
        return talk.turns[0].text if talk.messages else ""

    def _greeted(
        self, text: str, attempt: int, parent: str | None, version: int | None
    ) -> Generator[Event, None, None]:
        """Another greeting, beside those that were shown."""
        self.conversation.add(AGENT, text, parent=parent, attempt=attempt, persona=version)
        self._last = None
        self._speaking = version
        yield Finished(0, (), text, 0.0, 0.0, "stop")

    def answer(self, text: str, where: str = "message") -> str:
        """`say`, all at once: the reply's text."""
        final = SILENCE
        for event in self.say(text, where):
            final = event.text
        return final

    def answers(self, text: str, where: str = "message") -> list[tuple[str, str]]:
        """What everybody says who answers, all at once: names and texts; without a group one, unnamed."""
        said, events = [], self.say(text, where)
        while last := [event.text for event in events]:
            said.append((self.speaker(), last[-1]))
            if not self.due:
                break
            events = self.speak(self.due)
        return said

    def suggest(self, count: int = 3, hint: str = "") -> tuple[str, ...]:
        """What the user might say next, at most `count` different texts, the likeliest answer first.

        `hint`: what they begin with.

        The model takes the user's chair in the same conversation, whose cached prefix it shares. The same
        conversation and seed give the same texts. Raises SettingsError where `count` is out of range or the
        conversation does not fit into the model.
        """
        self.stop()
        suggesting = Suggesting(
            self.agent,
            self.persona,
            Place.after(self.turns).onward(hint),
            self.decoding,
            seed=self.seed,
            max_history=self.max_history,
            count=count,
            scene=self._scene(),
        )
        for _ in Drawing(suggesting, self.engine.stream).draw():
            pass
        return tuple(text for text, _ in suggesting.lines())

    def _start(
        self, said: str | None, parent: str | None, place: Place, version: int | None = None
    ) -> Generator[Event, None, None]:
        talk = self.conversation
        speaks = talk.version if version is None else version
        reply = Reply(
            self.agent,
            talk.personas[speaks],
            place,
            self.decoding,
            seed=self.seed,
            max_history=self.max_history,
            hooks=Hooks(self.preference, self.history),
            scene=self._scene(version),
        )
        self._speaking = version
        self._running = self._draw(ReplyDraft(said, parent, place, reply, speaks))
        return self._running

    def _draw(self, draft: ReplyDraft) -> Generator[Event, None, None]:
        reply = draft.reply
        try:
            with closing(Drawing(reply, self.engine.stream)) as drawing:
                for event in drawing.draw():
                    if reply.live and isinstance(event, Token):
                        yield event
        except (GeneratorExit, KeyboardInterrupt):
            if reply.shown:
                self._commit(draft, reply.shown, interrupted=True)
            raise
        assert reply.chosen is not None
        end = reply.finished[reply.chosen]
        self._commit(draft, end.text)
        yield end

    def _commit(self, draft: ReplyDraft, text: str, interrupted: bool = False) -> None:
        talk, parent = self.conversation, draft.parent
        if draft.said is not None:
            parent = talk.add(USER, draft.said, parent=parent).id
        kept = talk.add(
            AGENT,
            text,
            parent=parent,
            attempt=draft.place.attempt,
            interrupted=interrupted,
            persona=draft.version,
        )
        self._last = draft
        self._running = None
        if not interrupted:
            notify(self.on_turn, talk.turn(kept))


def _silence() -> Generator[Event, None, None]:
    """The events of nobody's reply."""
    yield from ()
