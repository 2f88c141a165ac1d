"""A group: who is in it, and who speaks next: by name, by talkativeness, by turn, or chosen by the user.

The rules are SillyTavern's (docs.sillytavern.app, "Group Chats"). In the order `talk`, its natural one, those
answer whom the message names, then each of the others with the chance that is their talkativeness, in an
order that is drawn, and one that is drawn where nobody would. In `turn` the next one of the list does, in
`chosen` nobody but whom the message names, until the user lets one speak. What is drawn is drawn from the
conversation's seed and the number of the message, so that every door has the same one speak.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from convai.core.character import Character
from convai.core.dialog import USER, Turn
from convai.core.errors import SettingsError
from convai.core.safe_text import one_line

Order = Literal["talk", "turn", "chosen"]
Cards = Literal["swap", "join"]
ORDERS: Final[tuple[Order, ...]] = get_args(Order)
CARDS: Final[tuple[Cards, ...]] = get_args(Cards)
MOST_MEMBERS: Final = 32
"""Members of a group, those who have left counted."""
MAX_NAME: Final = 100
_WORD: Final = re.compile(r"\w+")
_NO_NAME: Final = frozenset("a an and the of in on to for mr mrs ms miss dr sir von van de la le el".split())
"""Words of names that name nobody: "The Doctor" does not listen to every "the"."""


@dataclass(frozen=True, slots=True)
class Member:
    """One character of a group: a `version` of the conversation's persona, by the name that it goes by.

    One that is `muted` speaks only when the user lets it; one that is not `here` any more has left, and what
    it said stays.
    """

    version: int
    name: str
    talkativeness: float = 0.5
    muted: bool = False
    here: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """Who is in a conversation; nobody in one with a single character.

    `cards`: with `swap` the prompt of a reply has its speaker's card alone, with `join` everybody's.
    """

    members: tuple[Member, ...] = ()
    order: Order = "talk"
    cards: Cards = "swap"

    def __bool__(self) -> bool:
        return bool(self.members)

    @property
    def here(self) -> tuple[Member, ...]:
        """Those who have not left."""
        return tuple(one for one in self.members if one.here)

    @property
    def names(self) -> Mapping[int, str]:
        """What each version of the persona is called, those who have left among them."""
        return {one.version: one.name for one in self.members}

    def of(self, version: int) -> Member | None:
        """The member that is this version of the persona."""
        return next((one for one in self.members if one.version == version), None)

    def one(self, name: str) -> Member:
        """The member of this name, in any case, or of the one name that, or a word of which, begins so.

        Raises SettingsError.
        """
        wanted = one_line(name).casefold()
        for fits in (str.__eq__, str.startswith, _has_word):
            found = [one for one in self.here if fits(one.name.casefold(), wanted)]
            if len(found) == 1 and wanted:
                return found[0]
        there = ", ".join(one.name for one in self.here)
        raise SettingsError(
            f"there is no {one_line(name)[:40]!r} in the group; there are {there or 'nobody'}"
        )

    def with_member(self, member: Member) -> Group:
        """The group with one more. Raises SettingsError for one without a name, or of one that is there."""
        name = one_line(member.name)[:MAX_NAME].rstrip()
        if not name:
            raise SettingsError("a member of a group needs a name; use a card, or a persona that has one")
        if any(one.name.casefold() == name.casefold() for one in self.here):
            raise SettingsError(f"there is a {name} in the group already; give one of them a nickname")
        if len(self.members) >= MOST_MEMBERS:
            raise SettingsError(f"a group has at most {MOST_MEMBERS} members, those who left counted")
        return replace(self, members=(*self.members, replace(member, name=name)))

    def without(self, name: str) -> Group:
        """The group after one has left. Raises SettingsError where nobody would be left."""
        gone = self.one(name)
        if len(self.here) == 1:
            raise SettingsError(
                f"{gone.name} is the last one of the group; add somebody before {gone.name} leaves"
            )
        return self._changed(replace(gone, here=False))

    def muting(self, name: str, muted: bool = True) -> Group:
        """The group with one of them muted, or not any more. Raises SettingsError."""
        return self._changed(replace(self.one(name), muted=muted))

    def _changed(self, member: Member) -> Group:
        members = tuple(member if one.version == member.version else one for one in self.members)
        return replace(self, members=members)


NO_GROUP: Final = Group()


def member_of(character: Character, version: int) -> Member:
    """A character as a member of a group."""
    return Member(version, character.called, character.talkativeness)


def gathered(
    characters: Sequence[Character], order: str = "talk", cards: str = "swap", first: int = 1
) -> Group:
    """A group of these, versions from `first` on. Raises SettingsError where they cannot be one."""
    if not characters:
        raise SettingsError("a group of nobody; name the characters that are to be in it")
    group = Group((), check_order(order), check_cards(cards))
    for version, character in enumerate(characters, first):
        group = group.with_member(member_of(character, version))
    return group


def check_order(text: str) -> Order:
    """One of the orders. Raises SettingsError."""
    for order in ORDERS:
        if order == text:
            return order
    raise SettingsError(f"there is no order {text[:40]!r}; use {', '.join(ORDERS)}")


def check_cards(text: str) -> Cards:
    """How cards are shown. Raises SettingsError."""
    for cards in CARDS:
        if cards == text:
            return cards
    raise SettingsError(f"cards cannot be shown as {text[:40]!r}; use {', '.join(CARDS)}")


def _has_word(name: str, begin: str) -> bool:
    return any(word.startswith(begin) for word in name.split())


# -- who speaks --------------------------------------------------------------------------------------


def due(group: Group, turns: Sequence[Turn], number: int, seed: int) -> Member | None:
    """Who is to speak at the end of `turns`, the latest of `number`; None: the user is."""
    said = next((at for at in reversed(range(len(turns))) if turns[at].speaker == USER), None)
    if said is None:
        return None
    spoken = {turn.name for turn in turns[said + 1 :]}
    asked = answering(group, turns[: said + 1], number - len(turns) + said + 1, seed)
    return next((one for one in asked if one.name not in spoken), None)


def answering(group: Group, turns: Sequence[Turn], number: int, seed: int) -> list[Member]:
    """Who answers the last of `turns`, which are the latest of `number`, in their order."""
    last = turns[-1]
    there = [one for one in group.here if not one.muted]
    if last.speaker != USER:  # nobody answers themselves
        there = [one for one in there if one.name != last.name]
    called = _named(last.text, there, group.here)
    if group.order == "chosen" or not there:
        return called
    if group.order == "turn":
        return called or [_after(group, turns, there)]
    drawn = random.Random(f"group {seed} {number}")
    shuffled = drawn.sample(there, len(there))
    ready = [one for one in shuffled if one.talkativeness >= drawn.random() and one.talkativeness > 0]
    if not called and not ready:
        chatty = [one for one in there if one.talkativeness > 0]
        ready = [drawn.choice(chatty or there)]
    return [*called, *(one for one in ready if one not in called)]


def next_one(group: Group, turns: Sequence[Turn], number: int, seed: int) -> Member:
    """Who speaks next, also where it is the user's turn. Raises SettingsError where nobody may."""
    if (one := due(group, turns, number, seed)) is not None:
        return one
    there = [one for one in group.here if not one.muted]
    if not there:
        raise SettingsError("everybody in the group is muted; say who is to speak")
    if turns and group.order == "talk" and (found := answering(group, turns, number, seed)):
        return found[0]
    return _after(group, turns, there)


def _after(group: Group, turns: Sequence[Turn], there: Sequence[Member]) -> Member:
    """The one of `there` who comes behind the one that spoke last, in the order of the list."""
    names = [one.name for one in group.members]
    last = next((turn.name for turn in reversed(turns) if turn.name in names), None)
    at = -1 if last is None else names.index(last)
    places = [(names.index(one.name) - at - 1) % len(names) for one in there]
    return there[places.index(min(places))]


def _named(text: str, there: Sequence[Member], everybody: Sequence[Member]) -> list[Member]:
    """Those of `there` whom a text names, by whole words of their names, in the order of the words."""
    by_word: dict[str, list[Member]] = {}
    for one in everybody:
        words = {word for word in _words(one.name) if word not in _NO_NAME} or set(_words(one.name))
        for word in words:
            by_word.setdefault(word, []).append(one)
    found: dict[int, Member] = {}
    for word in _words(text):
        owners = by_word.get(word, [])
        if len(owners) == 1 and owners[0] in there:  # what several are called names none of them
            found.setdefault(owners[0].version, owners[0])
    return list(found.values())


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


# -- what each of them sees --------------------------------------------------------------------------


def seen_by(turns: Sequence[Turn], name: str) -> tuple[Turn, ...]:
    """The turns as the member `name` sees them: its own are the agent's, the others' are named."""
    return tuple(
        turn
        if turn.speaker == USER or turn.name in ("", name)
        else replace(turn, speaker=USER, text=f"{turn.name}: {turn.text}")
        for turn in turns
    )
