"""What stands around a conversation in the prompt: who is in it, and what features add at a place of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from convai.conversation import cast, lore
from convai.conversation.agent import Talker
from convai.conversation.cast import NO_NOTE, Company, Note
from convai.conversation.conversation import NOBODY, Place
from convai.conversation.group import seen_by
from convai.conversation.own_words import stops_of
from convai.core.character import Character, Lorebook
from convai.core.dialog import Persona, Turn
from convai.text.cards.macros import Macros
from convai.text.insertions import NOTHING, Additions, Insertion, repeated

Summarise = Callable[[Sequence[Turn]], str]
"""Turns that have left the window → a line about them; nothing where there is nothing to say."""
Source = Callable[[Place], Sequence[Insertion]]
"""A feature that adds to prompts: what it adds to that of the reply at a place. Raises nothing.

The same place must give the same insertions, whatever was asked before, or doors would differ. What is to
cost nothing stays where it was (`convai.text.insertions`).
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is added to the prompts of a conversation.

    `character`: all that its card says, None for somebody who is a persona alone; `partner`: the user, as
    they want to be known; `note`: the author's, and `books`: lorebooks beside the character's own. `sources`
    are other features, in the order in which they are shown. `seed`: of what macros and lorebooks draw.
    `began`: when the conversation was begun, in ms since 1970 UTC, 0 where nobody knows: the time that macros
    tell, the same in every prompt.
    `company`: in a group, who speaks and who else is there; `character` is the one who speaks.
    """

    sources: tuple[Source, ...] = ()
    summary: Summarise | None = None
    """What sums up the turns that are not shown any more; none: they are gone."""
    character: Character | None = None
    partner: Persona = NOBODY
    note: Note = NO_NOTE
    books: tuple[Lorebook, ...] = ()
    seed: int = 0
    company: Company | None = None
    began: int = 0

    def seen(self, place: Place) -> Place:
        """The place as the one who speaks sees it: in a group the others' turns are named."""
        if self.company is None:
            return place
        return replace(place, turns=seen_by(place.turns, self.company.speaker))

    def stops(self) -> tuple[str, ...]:
        """The texts at which a reply would speak for another; none but in a group."""
        if self.company is None:
            return ()
        return stops_of(self.company.others, self.partner.name)

    def persona(self, persona: Persona, agent: Talker) -> Persona:
        """What is shown of the agent's `persona` in its usual place.

        Nothing, where the card's own words stand beside it.
        """
        character = self.character
        if character is None:
            return persona
        described = character.description or character.personality
        blocks = agent.tokenizer.frame.has_blocks
        if blocks and (described or (character.system_prompt and not character.sentences)):
            return Persona((), persona.name)
        macros = self._macros(said=True)
        return replace(persona, sentences=tuple(macros.replaced(one) for one in persona.sentences))

    def fixed(self, agent: Talker) -> Additions:
        """What is added wherever the reply stands."""
        character, blocks = self.character, agent.tokenizer.frame.has_blocks
        found: list[Insertion] = []
        examples: tuple[tuple[Turn, ...], ...] = ()
        if character is not None:
            found += cast.system_texts(character, self._macros(said=not blocks), blocks=blocks)
            examples = cast.example_turns(character, self._macros(said=True))
        if self.company is not None and blocks:
            company, macros = self.company, self._macros(said=False)
            found += cast.company_texts(company, macros, company.speaker)
        if self.partner != NOBODY:
            found += cast.partner_texts(self.partner, blocks=blocks)
        if books := self._books():
            told = lore.constant_lore(books, self._macros(said=not blocks).replaced, _size(agent))
            start = sum(one.kind == "system" and one.ahead for one in found)
            found[start:start] = [one for one in told if one.ahead]
            found += [one for one in told if not one.ahead]
        return Additions(tuple(found), examples) if found or examples else NOTHING

    def called(self, place: Place, agent: Talker) -> tuple[Insertion, ...]:
        """What is added to the prompt of the reply at `place`, beside what is `fixed`."""
        macros = self._macros(said=not agent.tokenizer.frame.has_blocks)
        turns, number, character = place.turns, place.number, self.character
        found: list[Insertion] = []
        if books := self._books():
            used = None
            if character is not None and number == len(turns):
                first = turns[0] if turns else None
                used = cast.greeting_used(character, self._macros(said=True), first)
            found += lore.called_lore(
                books, place, macros.replaced, _size(agent), seed=self.seed, greeting=used
            )
        found += [one for source in self.sources for one in source(place)]
        if character is not None and character.note:
            text = macros.replaced(character.note)
            why, role = "the character's note", character.note_role
            found += repeated(text, character.note_depth, "note", turns, number, why, role)
        if self.note:
            text = macros.replaced(self.note.text).strip()
            found += repeated(text, self.note.depth, "note", turns, number, "the author's note")
        if character is not None and character.post_history:
            found.append(Insertion(macros.replaced(character.post_history), 0, "post_history"))
        return tuple(one for one in found if one.text.strip())

    def additions(self, place: Place, agent: Talker, called: Sequence[Insertion] | None = None) -> Additions:
        """All that is added there; `called`, where that is known already."""
        fixed = self.fixed(agent)
        found = self.called(place, agent) if called is None else tuple(called)
        return Additions((*fixed.insertions, *found), fixed.examples) if found else fixed

    def greetings(self) -> tuple[str, ...]:
        """What the agent may say first, the usual one first."""
        if (character := self.character) is None:
            return ()
        if self.company is not None:  # those for groups come first
            character = replace(character, greetings=(*character.group_greetings, *character.greetings))
        return cast.greetings(character, self._macros(said=True))

    def _books(self) -> tuple[Lorebook, ...]:
        own = self.character.book if self.character is not None else None
        return (own, *self.books) if own else self.books

    def _macros(self, *, said: bool) -> Macros:
        known = self.character
        if known is None:
            known = Character(self.company.speaker if self.company is not None else "")
        return cast.macros_for(known, self.partner, self.seed, said, self.company, self.began)


def _size(agent: Talker) -> Callable[[str], int]:
    return lambda text: len(agent.texts.encode_batch([text])[0])


EMPTY: Final = Scene()
"""Persona and turns alone."""
