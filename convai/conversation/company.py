"""The group of a conversation in memory: who comes, leaves, is muted; and what the one who speaks is shown.

Which card stands in the prompt is SillyTavern's "group generation handling mode". `swap`, the usual one:
that of the speaker alone. So a small model is told of one person, whom it is, and many cards need no larger
window; what was computed for each speaker stays in the engine's cache. `join` shows all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from convai.conversation.agent import Talker
from convai.conversation.cast import Company
from convai.conversation.conversation import Conversation
from convai.conversation.group import Group, check_cards, check_order, gathered, member_of
from convai.conversation.prompt_input import check_persona, room_of
from convai.conversation.scene import Scene
from convai.core.character import Character
from convai.core.dialog import Persona
from convai.core.errors import SettingsError


def company_of(
    group: Group, version: int, personas: Mapping[int, Persona], characters: Mapping[int, Character]
) -> Company | None:
    """Who is there when a version of the persona speaks; None where there is no group that it is in."""
    own = group.of(version)
    if own is None:
        return None
    others = [one for one in group.here if one.version != version]
    shown = [one for one in others if not one.muted] if group.cards == "join" else []
    cards = (_character(one.version, personas, characters) for one in shown)
    return Company(own.name, tuple(one.name for one in others), tuple(cards))


def check_group(
    agent: Talker,
    group: Group,
    personas: Mapping[int, Persona],
    characters: Mapping[int, Character],
    max_length: int,
) -> None:
    """Raise SettingsError where a member, or the cards of all together, leave the model no room to talk."""
    for one in group.here:
        try:
            check_persona(agent, personas[one.version], max_length)
        except SettingsError as error:
            raise SettingsError(f"{one.name}: {error}") from None
    if group.cards != "join" or not agent.tokenizer.frame.has_blocks:
        return
    most = room_of(agent, max_length)
    for one in group.here:
        scene = Scene(
            character=characters.get(one.version),
            company=company_of(group, one.version, personas, characters),
        )
        texts = [added.text for added in scene.fixed(agent).insertions]
        texts += scene.persona(personas[one.version], agent).sentences
        size = sum(map(len, agent.texts.encode_batch(texts)))
        if size > most:
            names = ", ".join(member.name for member in group.here)
            raise SettingsError(
                f"the cards of {names} take {size:,} tokens together, and {most:,} are there for them; "
                "show that of the speaker alone (swap), or mute somebody"
            )


def kept_card(character: Character) -> Character | None:
    """What is kept of a member beside its persona: all that its card says, where that is more."""
    plain = character.is_plain and not character.greetings and not character.group_greetings
    return None if plain else character


class Members:
    """What may be done to the group of `talk`. What is refused, by a SettingsError, changes nothing."""

    def __init__(self, talk: Conversation, agent: Talker, max_length: int) -> None:
        self._talk, self._agent, self._max_length = talk, agent, max_length

    def gather(self, characters: Sequence[Character], order: str = "talk", cards: str = "swap") -> None:
        """These are the conversation's group from now on; what was said before is nobody's of them."""
        talk = self._talk
        first = max(talk.personas) + 1 if talk.messages else talk.version
        group = gathered(characters, order, cards, first)
        personas, known = dict(talk.personas), dict(talk.characters)
        for version, character in enumerate(characters, first):
            personas[version] = character.persona
            known.pop(version, None)
            if (card := kept_card(character)) is not None:
                known[version] = card
        self._take(group, personas, known)
        talk.version = first

    def join(self, character: Character) -> str:
        """One more comes in, and the one who was there alone becomes the first of a group; the name."""
        talk = self._talk
        group = talk.group
        if not group:
            now = talk.character or Character.of_persona(talk.persona)
            group = group.with_member(member_of(replace(now, name=talk.persona.name), talk.version))
        version = max(talk.personas) + 1
        group = group.with_member(member_of(character, version))
        card = kept_card(character)
        self._take(
            group,
            {**talk.personas, version: character.persona},
            {**talk.characters, **({} if card is None else {version: card})},
        )
        return group.members[-1].name

    def leave(self, name: str) -> str:
        """One of them leaves, by name or a part of it; the name."""
        gone = self._talk.group.one(name)
        self._talk.group = self._talk.group.without(gone.name)
        return gone.name

    def mute(self, name: str, muted: bool = True) -> str:
        """One of them speaks only when the user says so, or again; the name."""
        one = self._talk.group.one(name)
        self._take(self._talk.group.muting(one.name, muted))
        return one.name

    def order(self, order: str) -> None:
        """Who speaks next: `talk`, `turn` or `chosen`."""
        self._talk.group = replace(self._talk.group, order=check_order(order))

    def cards(self, cards: str) -> None:
        """Whose cards are shown: `swap` or `join`."""
        self._take(replace(self._talk.group, cards=check_cards(cards)))

    def _take(
        self,
        group: Group,
        personas: Mapping[int, Persona] | None = None,
        characters: Mapping[int, Character] | None = None,
    ) -> None:
        talk = self._talk
        personas = talk.personas if personas is None else personas
        characters = talk.characters if characters is None else characters
        check_group(self._agent, group, personas, characters, self._max_length)
        talk.group, talk.personas, talk.characters = group, dict(personas), dict(characters)


def _character(
    version: int, personas: Mapping[int, Persona], characters: Mapping[int, Character]
) -> Character:
    return characters.get(version) or Character.of_persona(personas[version])
