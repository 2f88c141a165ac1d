"""What stands around a conversation in the prompt: who is in it, and what features add at a place of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from convai.conversation.conversation import Place
from convai.core.dialog import Persona, Turn
from convai.text.frames import Frame
from convai.text.insertions import NOTHING, Additions, Insertion

Summarise = Callable[[Sequence[Turn]], str]
"""Turns that have left the window → a line about them; nothing where there is nothing to say."""
Source = Callable[[Place], Sequence[Insertion]]
"""A feature that adds to prompts: what it adds to that of the reply at a place. Raises nothing.

The same place must give the same insertions, whatever was asked before, or doors would differ. What is to
cost nothing stays where it was (`convai.text.insertions`).
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is added to the prompts of a conversation; `sources` in the order in which they are shown."""

    sources: tuple[Source, ...] = ()
    summary: Summarise | None = None
    """What sums up the turns that are not shown any more; none: they are gone."""

    def persona(self, persona: Persona, frame: Frame) -> Persona:
        """What is shown of the agent's `persona` in its usual place."""
        return persona

    def fixed(self, frame: Frame) -> Additions:
        """What is added wherever the reply stands."""
        return NOTHING

    def called(self, place: Place, frame: Frame) -> tuple[Insertion, ...]:
        """What is added to the prompt of the reply at `place`, beside what is `fixed`."""
        return tuple(one for source in self.sources for one in source(place))

    def additions(self, place: Place, frame: Frame, called: Sequence[Insertion] | None = None) -> Additions:
        """All that is added there; `called`, where that is known already."""
        fixed = self.fixed(frame)
        found = self.called(place, frame) if called is None else tuple(called)
        return Additions((*fixed.insertions, *found), fixed.examples) if found else fixed


EMPTY: Final = Scene()
"""Persona and turns alone."""
