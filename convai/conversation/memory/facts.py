"""Facts about a person as they are kept: where they come from, what took their place; and what keeps them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from convai.core.dialog import check_text
from convai.core.errors import ConvaiError, DataError
from convai.text.claims.words import content, normal

MOST_CHARACTERS: Final = 300
"""Of a fact: what is longer is a story, and would crowd out everything else."""
MOST_FACTS: Final = 10_000
"""Facts that are kept of one person, those that others took the place of included."""


MOST_REMARKS: Final = 2_000
"""Remarks among them; of more the oldest are forgotten."""


class NoSuchFact(ConvaiError):
    """There is no such fact of this person."""


class Holds(ConvaiError):
    """A fact that is to be brought back holds anyway."""


class MemoryFull(ConvaiError):
    """As many facts as are kept of a person are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact. `text`: as it is recalled; `said`: the words it was told in, empty where written by hand.

    `conversation` and `message`: where it was told, by the names that the door has for them; `turn`: the
    number of the turn there. `created`: ms since 1970 UTC. `instead`: the fact that took its place; one
    that has none is `current`. `aside`: it is a remark (`remarks`): told in passing, in these words.
    """

    id: str
    text: str
    said: str = ""
    conversation: str = ""
    message: str = ""
    turn: int = 0
    created: int = 0
    instead: str | None = None
    aside: bool = False

    @property
    def current(self) -> bool:
        """Whether it holds, as far as is known."""
        return self.instead is None

    def told_with(self, other: Fact) -> bool:
        """Whether both were told in one turn."""
        mine, theirs = ((one.conversation, one.message, one.turn, one.said) for one in (self, other))
        return mine == theirs and bool(self.said)

    def repeats(self, other: Fact) -> bool:
        """Whether this is a remark that has all the words of what was told in the same turn."""
        return self.aside and self.told_with(other) and self.words >= other.words

    @property
    def words(self) -> frozenset[str]:
        """The words with content, in their plain form."""
        return content(normal(self.text))


class Shelf(Protocol):
    """What keeps facts, each person's apart; `convai.store` is one. Nothing of another's is ever found."""

    def facts(self, owner: str) -> Sequence[Fact]:
        """All facts of a person, oldest first."""

    def revision(self, owner: str) -> int:
        """A number that is another one whenever a fact of the person's has changed."""

    def put(self, owner: str, fact: Fact, replaces: Sequence[str] = ()) -> None:
        """Keep a new fact, which takes the place of others."""

    def change(self, owner: str, fact: Fact) -> None:
        """Keep another version of a fact. Raises NoSuchFact."""

    def drop(self, owner: str, ids: Sequence[str] | None = None) -> int:
        """Forget facts for good (None: all of them); how many there were."""

    def enabled(self, owner: str) -> bool:
        """Whether the person wants to be remembered."""

    def enable(self, owner: str, on: bool) -> None:
        """Set that."""


def new_fact(text: str, behind: Sequence[Fact] = (), **where: str | int) -> Fact:
    """A fact of now, with a name that nobody can guess; younger than those `behind` which it comes, oldest
    first, whatever the clock says. `where`: fields of `Fact`.
    """
    created = time.time_ns() // 1_000_000
    if behind:
        created = max(created, behind[-1].created + 1)
    made = Fact(id=secrets.token_hex(12), text=text, created=created)
    return replace(made, **where)  # type: ignore[arg-type]


def checked(text: object, where: str) -> str:
    """A fact that somebody wrote, as one clean line.

    Raises DataError, beginning with `where`, for what is no text, blank, too long or has control characters.
    """
    if isinstance(text, str) and len(text) > MOST_CHARACTERS:
        raise DataError(
            f"{where}: {len(text):,} characters; a fact has at most {MOST_CHARACTERS}, say it shorter"
        )
    return check_text(text, where)


class OpenShelf:
    """A shelf in memory, which ends with the process."""

    def __init__(self) -> None:
        self._facts: dict[str, dict[str, Fact]] = {}
        self._off: set[str] = set()
        self._revision = 0

    def facts(self, owner: str) -> list[Fact]:
        """All facts of a person, oldest first."""
        return list(self._facts.get(owner, {}).values())

    def revision(self, owner: str) -> int:
        """Counts what was changed, of anybody."""
        return self._revision

    def put(self, owner: str, fact: Fact, replaces: Sequence[str] = ()) -> None:
        """Keep a new fact. Raises MemoryFull."""
        kept = self._facts.setdefault(owner, {})
        check_room(len(kept))
        self._revision += 1
        for id in replaces:
            if id in kept:
                kept[id] = replace(kept[id], instead=fact.id)
        kept[fact.id] = fact

    def change(self, owner: str, fact: Fact) -> None:
        """Keep another version of a fact. Raises NoSuchFact."""
        if fact.id not in self._facts.get(owner, {}):
            raise no_such(fact.id)
        self._revision += 1
        self._facts[owner][fact.id] = fact

    def drop(self, owner: str, ids: Sequence[str] | None = None) -> int:
        """Forget facts for good."""
        kept = self._facts.get(owner, {})
        gone = [id for id in (kept if ids is None else ids) if id in kept]
        self._revision += 1
        for id in gone:
            del kept[id]
        return len(gone)

    def enabled(self, owner: str) -> bool:
        """Whether the person wants to be remembered: yes, unless they said no."""
        return owner not in self._off

    def enable(self, owner: str, on: bool) -> None:
        """Set that."""
        (self._off.discard if on else self._off.add)(owner)


def no_such(id: str) -> NoSuchFact:
    """The error for a fact that is not there."""
    return NoSuchFact(f"there is no fact {id[:64]!r} in this memory; it may have been forgotten")


def check_room(kept: int) -> None:
    """Raise MemoryFull where so many facts are all that are kept of one person."""
    if kept >= MOST_FACTS:
        raise MemoryFull(f"the memory holds {MOST_FACTS:,} facts, which is full; forget some of them first")
