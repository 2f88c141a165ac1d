"""`Character` and `Lorebook`: everything that a character card says, as plain data.

Sources: character-card-spec-v2 (spec_v2.md) and character-card-spec-v3 (SPEC_V3.md). Texts are as the card
has them, macros (`{{char}}`, `{{user}}`) included; they are replaced when a prompt is made, since who the
user is may change. A `Character` with nothing but persona sentences is a `Persona`, and is shown as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from convai.core.dialog import Persona, Turn

Position = Literal["before_char", "after_char"]
Role = Literal["system", "user", "assistant"]
"""In whose words a text at a depth stands: nobody's, the user's or the agent's."""


@dataclass(frozen=True, slots=True)
class LoreEntry:
    """One entry of a lorebook: `content` goes into the prompt when one of `keys` is said.

    With `selective` one of `secondary_keys` must be said as well; a `constant` entry is always there. With
    `use_regex` the keys are regular expressions. Entries of a lower `order` stand first; those of a lower
    `priority` are the first to go where the budget is short. `depth` puts the entry before the last so many
    turns, None where `position` says. `scan_depth` and `case_sensitive`: None is the book's. Conditions on
    turns: `after` so many turns of the agent, `every` so many of them (`@@activate_only_after`,
    `@@activate_only_every` of SPEC_V3.md); `exclude_keys` and `additional_keys` hold it back where one is
    (or none is) said.
    """

    content: str
    keys: tuple[str, ...] = ()
    secondary_keys: tuple[str, ...] = ()
    name: str = ""
    enabled: bool = True
    selective: bool = False
    constant: bool = False
    use_regex: bool = False
    order: float = 100.0
    priority: float = 10.0
    position: Position = "before_char"
    depth: int | None = None
    role: Role = "system"
    scan_depth: int | None = None
    case_sensitive: bool | None = None
    whole_words: bool | None = None
    probability: float = 100.0
    logic: Literal["any", "all", "not_any", "not_all"] = "any"
    """How many of the secondary keys are asked for (SillyTavern's `selectiveLogic`)."""
    prevent_recursion: bool = False
    """What it says calls no other entry."""
    exclude_recursion: bool = False
    """No other entry calls it."""
    after: int = 0
    every: int = 0
    exclude_keys: tuple[str, ...] = ()
    additional_keys: tuple[str, ...] = ()
    activate: bool | None = None
    """Always (`@@activate`) or never (`@@dont_activate`); None: as its keys say."""
    after_match: Literal["", "keep", "stop"] = ""
    """Once it was called it stays, or is never called again (`@@keep_activate_after_match`, ...)."""
    greeting: int | None = None
    """Only in conversations that began with this greeting, counted from 0 (`@@is_greeting`)."""


@dataclass(frozen=True, slots=True)
class Lorebook:
    """Entries, and what holds for those that say nothing else.

    `scan_depth`: turns in which keys are looked for; `budget`: tokens that entries may take; with `recursive`
    what an entry says may call others.
    """

    entries: tuple[LoreEntry, ...] = ()
    name: str = ""
    scan_depth: int = 4
    budget: int = 512
    recursive: bool = False
    case_sensitive: bool = False
    whole_words: bool = False
    unused: tuple[str, ...] = field(default=(), compare=False)
    """Names of what its file says and nothing uses, such as `entries.sticky`."""

    def __bool__(self) -> bool:
        return bool(self.entries)


@dataclass(frozen=True, slots=True)
class Character:
    """Who the agent is: a persona in sentences of the first person, and all else that a card says.

    `examples` are dialogues in the speakers' own roles; `greetings` what may be said first, the card's own
    and the alternate ones. `rest`: the card's other fields, kept for those who read them.
    """

    name: str = ""
    sentences: tuple[str, ...] = ()
    description: str = ""
    personality: str = ""
    scenario: str = ""
    system_prompt: str = ""
    post_history: str = ""
    examples: tuple[tuple[Turn, ...], ...] = ()
    greetings: tuple[str, ...] = ()
    group_greetings: tuple[str, ...] = ()
    book: Lorebook | None = None
    note: str = ""
    """The character's own note (SillyTavern's `depth_prompt`), before the last `note_depth` turns."""
    note_depth: int = 4
    note_role: Role = "system"
    talkativeness: float = 0.5
    nickname: str = ""
    creator_notes: str = ""
    rest: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_persona(cls, persona: Persona) -> Character:
        """Somebody of whom a persona is all that is known."""
        return cls(persona.name, persona.sentences)

    @property
    def persona(self) -> Persona:
        """The character as a persona alone."""
        return Persona(self.sentences, self.called)

    @property
    def called(self) -> str:
        """What `{{char}}` stands for."""
        return self.nickname or self.name

    @property
    def greeting(self) -> str:
        """What is said first; empty where nothing is."""
        return self.greetings[0] if self.greetings else ""

    @property
    def is_plain(self) -> bool:
        """Whether its sentences are all that is shown of it."""
        said = (self.description, self.personality, self.scenario, self.system_prompt, self.post_history)
        return not (any(said) or self.examples or self.book or self.note)
