"""One conversation in memory, synchronous: what was said goes in, events of a reply come out.

No printing, no sockets, no torch. What a conversation is stands in `convai.conversation.conversation`;
replies are drawn by `convai.conversation.reply`, as every other door's are.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import EllipsisType

from convai.conversation.agent import Talker
from convai.conversation.cast import another_greeting
from convai.conversation.company import Members, check_group, company_of
from convai.conversation.conversation import NOBODY, Conversation, Place
from convai.conversation.drawing import Drawing
from convai.conversation.explain import Explanation
from convai.conversation.group import Group, due, next_one
from convai.conversation.hooks import Hooks, notify
from convai.conversation.prompt_input import check_persona
from convai.conversation.reply import SILENCE, Reply
from convai.conversation.saved import ChatSettings, load_conversation, save_conversation
from convai.conversation.scene import EMPTY, Scene
from convai.conversation.suggestions import Suggesting
from convai.core.character import Character
from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import ConvaiError, SettingsError
from convai.core.settings import DecodingConfig
from convai.core.settings_values import laid_over
from convai.engine import Event, Finished, Port, Token


@dataclass(frozen=True, slots=True)
class _Draft:
    """A reply in the making: what is said before it, if anything, behind `parent`, and where it stands."""

    said: str | None
    parent: str | None
    place: Place
    reply: Reply
    version: int
    """Of the persona that speaks."""


class Session:
    """A conversation with one agent. `persona`, `turns`, `dialog` and `seed` are for reading.

    `decoding`, `max_history` and `conversation`'s `partner`, `note` and `books` may be assigned at any time
    and hold from the next reply on. The same seed, persona and messages give the same conversation.

    A reply is part of the conversation when its iterator has come to its end. Closing the iterator (or
    Ctrl-C while it computes) stops the reply: what was shown of it stays, marked as interrupted; if nothing
    was shown, the conversation is what it was before the message. The same holds when the next message
    comes before the reply has ended. An error leaves the conversation as it was.
    """

    def __init__(
        self,
        agent: Talker,
        engine: Port,
        persona: Persona = NOBODY,
        *,
        decoding: DecodingConfig | None = None,
        max_history: int | EllipsisType | None = ...,
        on_turn: Callable[[Turn], None] | None = None,
        preference: Callable[[Sequence[str]], Sequence[float]] | None = None,
        history: Callable[[Sequence[Turn]], Sequence[Turn]] | None = None,
        scene: Scene = EMPTY,
    ) -> None:
        """`decoding` and `max_history` (exchanges; None: all that fits) default to what the model ships with.

        `decoding.seed` is the conversation's seed; None draws one. Raises SettingsError when the persona
        leaves the model no room.

        `on_turn` is called with every message before it is answered and every reply once it is whole;
        `preference` gives the texts of several candidates a bonus each, added to their scores. Both may be
        assigned later; what they raise is logged, and the conversation goes on. `history` gives the turns,
        each in its place, in the words that the model is to read; it raises nothing. `scene` is what is
        added to the prompts beside what character, user and note add; it may be assigned later, too.
        """
        self.agent = agent
        self.scene = scene
        self.on_turn = on_turn
        self.preference = preference
        self.history = history
        self.engine = engine
        self.decoding = decoding or agent.decoding
        self.max_history = agent.max_history if isinstance(max_history, EllipsisType) else max_history
        self._drawn_seed = secrets.randbits(32)
        self.conversation = Conversation(persona)
        self._running: Generator[Event, None, None] | None = None
        self._last: _Draft | None = None
        self._speaking: int | None = None
        self.set_persona(persona)

    # -- reading -----------------------------------------------------------------------------------

    @property
    def persona(self) -> Persona:
        """Who the agent is."""
        return self.conversation.persona

    @property
    def character(self) -> Character | None:
        """All that a card says of who the agent is; None where it is a persona alone."""
        return self.conversation.character

    @property
    def greetings(self) -> tuple[str, ...]:
        """What the character may say first, the usual one first."""
        return self._scene().greetings()

    @property
    def group(self) -> Group:
        """Who is in the conversation, where that is more than one; `members` changes it."""
        return self.conversation.group

    @property
    def due(self) -> str:
        """The name of the member of the group who is to speak; empty where it is the user's turn."""
        if not self.group:
            return ""
        place = self.conversation.behind()
        one = due(self.group, place.turns, place.number, self.seed)
        return "" if one is None else one.name

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What was said, oldest first; replies drawn here are ReplyTurns."""
        return self.conversation.turns

    @property
    def dialog(self) -> Dialog:
        """The conversation as a dialogue."""
        return self.conversation.dialog

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

    def speaker(self) -> str:
        """Who speaks in the reply that is being read, or was last; empty outside of groups."""
        return "" if self._speaking is None else self.group.names.get(self._speaking, "")

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

    def stop(self) -> None:
        """Stop the reply that is being read, if any."""
        if self._running is not None:
            self._running.close()
            self._running = None

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
        self._running = self._draw(_Draft(said, parent, place, reply, speaks))
        return self._running

    def _draw(self, draft: _Draft) -> Generator[Event, None, None]:
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

    def _commit(self, draft: _Draft, text: str, interrupted: bool = False) -> None:
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

    # -- changing ----------------------------------------------------------------------------------

    def undo(self) -> tuple[Turn, ...]:
        """Take back the last message and its reply; return them. Raises ConvaiError without any."""
        self.stop()
        taken = self.conversation.undo()
        self._last = None
        return tuple(self.conversation.turn(message) for message in taken)

    def reset(self) -> None:
        """Start over with the same persona. The seed stays if it was given; else a fresh one is drawn."""
        self.stop()
        self.conversation = self.conversation.anew()
        self._drawn_seed = secrets.randbits(32)
        self._last = None

    def set_persona(self, persona: Persona) -> None:
        """Make the agent somebody else; the turns stay (`reset` is for starting over).

        Raises SettingsError, and changes nothing, when the persona leaves the model no room.
        """
        self.stop()
        check_persona(self.agent, persona, self.decoding.max_length)
        self.conversation.set_persona(persona)

    def set_character(self, character: Character) -> None:
        """Make the agent who a card describes; the turns stay, and `greet` is for a new conversation.

        Raises SettingsError, and changes nothing, when its persona leaves the model no room.
        """
        self.stop()
        persona = character.persona
        check_persona(self.agent, persona, self.decoding.max_length)
        self.conversation.set_persona(persona, None if character.is_plain else character)

    def members(self) -> Members:
        """What may be done to the group; the reply that is being read is stopped."""
        self.stop()
        return Members(self.conversation, self.agent, self.decoding.max_length)

    def _scene(self, version: int | None = None) -> Scene:
        """What is added to the prompts of who speaks: the agent, or a member of the group."""
        talk = self.conversation
        version = talk.version if version is None else version
        return replace(
            self.scene,
            character=talk.characters.get(version),
            company=company_of(talk.group, version, talk.personas, talk.characters),
            partner=talk.partner,
            note=talk.note,
            books=(*self.scene.books, *talk.books),
            seed=self.seed,
        )

    def save(self, path: Path) -> None:
        """Write the conversation and its settings to a file. Raises DataError; see `saved`."""
        self.stop()
        settings = ChatSettings(
            decoding=asdict(self.decoding),
            max_history=self.max_history,
            seed=self.seed,
            model=self.agent.name,
        )
        save_conversation(path, self.conversation, settings)

    def load(self, path: Path) -> None:
        """Go on with a saved conversation, as it would have gone on: persona, turns, settings, seed.

        One that the page exported is read as well. A dialogue that was not saved by a chat leaves the
        settings as they are. Raises DataError for a file that cannot be read, SettingsError when its persona
        leaves this model no room; nothing changes then.
        """
        self.stop()
        conversation, settings = load_conversation(path)
        decoding = self.decoding if settings is None else laid_over(self.agent.decoding, settings.decoding)
        check_persona(self.agent, conversation.persona, decoding.max_length)
        group, personas = conversation.group, conversation.personas
        check_group(self.agent, group, personas, conversation.characters, decoding.max_length)
        self.conversation, self.decoding = conversation, decoding
        self._speaking = None
        self._last = None
        if settings is not None:
            history = settings.max_history
            self.max_history = self.agent.max_history if isinstance(history, EllipsisType) else history
            self._drawn_seed = secrets.randbits(32) if settings.seed is None else settings.seed


def _silence() -> Generator[Event, None, None]:
    """The events of nobody's reply."""
    yield from ()
