"""What a session knows, and what may be changed in it between two replies: who is there, what was said."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import EllipsisType

from convai.conversation.agent import Talker
from convai.conversation.company import Members, check_group, company_of
from convai.conversation.conversation import NOBODY, Conversation, Place
from convai.conversation.explain import Explanation
from convai.conversation.group import Group, due
from convai.conversation.prompt_input import check_persona
from convai.conversation.reply import Reply
from convai.conversation.saved import ChatSettings, load_conversation, save_conversation
from convai.conversation.scene import EMPTY, Scene
from convai.core.character import Character
from convai.core.dialog import Dialog, Persona, Turn
from convai.core.errors import ConvaiError
from convai.core.settings import DecodingConfig
from convai.core.settings_values import laid_over
from convai.engine import Event, Port


def now() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class ReplyDraft:
    """A reply in the making: what is said before it, if anything, behind `parent`, and where it stands."""

    said: str | None
    parent: str | None
    place: Place
    reply: Reply
    version: int
    """Of the persona that speaks."""


class SessionState:
    """A conversation in memory with the agent who talks in it, and how its replies are drawn.

    Whatever changes it stops the reply that is being read.
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
        clock: Callable[[], int] = now,
    ) -> None:
        """`decoding` and `max_history` (exchanges; None: all that fits) default to what the model ships with.

        `decoding.seed` is the conversation's seed; None draws one. Raises SettingsError when the persona
        leaves the model no room.

        `on_turn` is called with every message before it is answered and every reply once it is whole;
        `preference` gives the texts of several candidates a bonus each, added to their scores. Both may be
        assigned later; what they raise is logged, and the conversation goes on. `history` gives the turns,
        each in its place, in the words that the model is to read; it raises nothing. `scene` is what is
        added to the prompts beside what character, user and note add; it may be assigned later, too. `clock`
        tells when a conversation is begun, in ms since 1970 UTC.
        """
        self.agent = agent
        self.scene = scene
        self.on_turn = on_turn
        self.preference = preference
        self.history = history
        self.engine = engine
        self.decoding = decoding or agent.decoding
        self.max_history = agent.max_history if isinstance(max_history, EllipsisType) else max_history
        self._clock = clock
        self._drawn_seed = secrets.randbits(32)
        self.conversation = Conversation(persona)
        self.conversation.created = clock()
        self._running: Generator[Event, None, None] | None = None
        self._last: ReplyDraft | None = None
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

    def speaker(self) -> str:
        """Who speaks in the reply that is being read, or was last; empty outside of groups."""
        return "" if self._speaking is None else self.group.names.get(self._speaking, "")

    # -- changing ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop the reply that is being read, if any."""
        if self._running is not None:
            self._running.close()
            self._running = None

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
        self.conversation.created = self._clock()
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
            began=talk.created,
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
