"""The memory of people: what they tell is learnt, kept on a shelf, corrected, recalled, shown and
forgotten.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from convai.conversation.memory.attributes import same, takes_place_of
from convai.conversation.memory.facts import (
    MOST_FACTS,
    MOST_REMARKS,
    Fact,
    Holds,
    Shelf,
    checked,
    new_fact,
    no_such,
)
from convai.conversation.memory.finding import Found, Resolve, found_in
from convai.conversation.memory.recalling import Recalled, Remembered
from convai.conversation.memory.remarks import telling, without
from convai.conversation.memory.retelling import contrasts, retells
from convai.conversation.memory.vectors import Embed
from convai.core.dialog import Turn
from convai.core.errors import ConvaiError
from convai.text.claims.words import content, lemma, normal

PEOPLE: Final = 64
"""People whose facts are kept ready to be searched."""


def embedded() -> Embed:
    """Vectors by the encoder that travels with convai. Raises CheckpointError where it is missing."""
    from convai.conversation.memory.sentences import embedded_sentences  # torch: seconds, in a door

    return embedded_sentences()


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a turn added: facts that are new, and those whose place they took."""

    kept: tuple[Fact, ...] = ()
    replaced: tuple[Fact, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.kept)


def _known(found: Found, fact: Fact) -> bool:
    """Whether a fact says what was found. What only follows from the words is said by any that names it, a
    remark by its own words alone.
    """
    if found.implied:
        return lemma(found.implied) in content(normal(fact.text))
    if found.aside or fact.aside:
        return content(normal(found.text)) == content(normal(fact.text))
    return same(found.text, fact.text)


def _outdated(found: Found, fact: Fact, now: Sequence[Fact]) -> list[Fact]:
    """The facts that what was found, which is to be `fact`, makes untrue, and remarks that say it, too."""
    gone = [
        old
        for old in now
        if (takes_place_of(found.text, old.text, corrects=found.corrects) and not (found.aside or old.aside))
        or (not old.told_with(fact) and contrasts(found.text, old.text, corrects=found.corrects))
        or (found.corrects and not old.told_with(fact) and retells(found.text, old.text))
    ]
    return gone + [old for old in now if old not in gone and any(old.repeats(one) for one in gone)]


def _rests(found: Found, gone: Sequence[Fact], there: Sequence[Fact]) -> list[Fact]:
    """What remarks that are `gone` for one thing that another took the place of say beside it, as remarks of
    their own. Where the whole matter is told anew, what follows from it is gone, too.
    """
    rests: list[Fact] = []
    for old in gone:
        if not (old.aside and contrasts(found.text, old.text, corrects=found.corrects)):
            continue
        if text := without(old.text, telling(found.text)):
            rest = new_fact(text, [*there, *rests])
            rests.append(replace(old, id=rest.id, text=text, created=rest.created))
    return rests


class Memory:
    """The memory of all people on a shelf. Every call names whose; safe to use from any thread."""

    def __init__(
        self,
        shelf: Shelf,
        *,
        resolve: Resolve | None = None,
        embed: Callable[[], Embed] | None = embedded,
    ) -> None:
        """`resolve` replaces pronouns by what they stand for; `embed` makes what makes vectors, when first
        needed (None: words and topics alone).
        """
        self._shelf, self._resolve, self._embed = shelf, resolve, embed
        self._known: OrderedDict[str, tuple[int, Remembered]] = OrderedDict()
        self._lock = threading.Lock()
        self._writing = threading.Lock()

    # -- learning ----------------------------------------------------------------------------------

    def learn(
        self,
        owner: str,
        turns: Sequence[Turn],
        *,
        conversation: str = "",
        message: str = "",
        turn: int | None = None,
        retells: str | None = None,
    ) -> Learnt:
        """Keep the facts in the last of `turns`, which is the user's, unless the person wants no memory.

        `turn`: its number in the conversation (default: the last of `turns`). What is known already is not
        kept again; what takes the place of another fact does so. `retells`: the message that was written
        anew, whose facts were not meant. A full memory learns nothing; of remarks the latest are kept.
        """
        if not self._shelf.enabled(owner):
            return Learnt()
        if retells is not None:
            self._take_back(owner, conversation, retells)
        found = found_in(turns, self._resolve, asides=True)
        if not found:
            return Learnt()
        number = len(turns) - 1 if turn is None else turn
        kept: list[Fact] = []
        replaced: list[Fact] = []
        with self._writing:
            there = list(self._shelf.facts(owner))
            for one in found:
                now = [fact for fact in there if fact.current]
                if len(there) >= MOST_FACTS or any(_known(one, fact) for fact in now):
                    continue
                fact = new_fact(
                    one.text,
                    there,
                    said=one.said[:2_000],
                    conversation=conversation,
                    message=message,
                    turn=number,
                    aside=one.aside,
                )
                gone = _outdated(one, fact, now)
                self._shelf.put(owner, fact, [old.id for old in gone])
                ids = {old.id for old in gone}
                there = [replace(f, instead=fact.id) if f.id in ids else f for f in there] + [fact]
                for rest in _rests(one, gone, there):
                    self._shelf.put(owner, rest)
                    there.append(rest)
                kept.append(fact)
                replaced += gone
            old = [fact.id for fact in there if fact.aside][:-MOST_REMARKS]
            if old:
                self._shelf.drop(owner, old)
        return Learnt(tuple(kept), tuple(replaced))

    def _take_back(self, owner: str, conversation: str, message: str) -> None:
        """Forget what was learnt from a message; what that had taken the place of holds again."""
        with self._writing:
            facts = self._shelf.facts(owner)
            gone = {fact.id for fact in facts if (fact.conversation, fact.message) == (conversation, message)}
            rests: set[str] = set()  # of remarks that are whole again
            for fact in facts:
                if fact.instead in gone and fact.id not in gone:
                    self._shelf.change(owner, replace(fact, instead=None))
                    rests |= {one.id for one in facts if one.current and one.aside and fact.repeats(one)}
            gone |= rests
            if gone:
                self._shelf.drop(owner, sorted(gone))

    # -- recalling ---------------------------------------------------------------------------------

    def recall(
        self, owner: str, turns: Sequence[Turn], number: int | None = None, conversation: str = ""
    ) -> list[Recalled]:
        """What of the memory goes into the prompt of the reply to `turns`; nothing where it is switched off.

        `number`: all turns before the reply, of which `turns` are the latest.
        """
        if not self._shelf.enabled(owner):
            return []
        return self._of(owner).recalled(turns, len(turns) if number is None else number, conversation)

    def ready(self, owner: str) -> None:
        """Make what recalling needs, so that no reply waits for it: to read all facts of a large memory takes
        seconds the first time.
        """
        if self._shelf.enabled(owner):
            self._of(owner)

    def _of(self, owner: str) -> Remembered:
        revision = self._shelf.revision(owner)
        with self._lock:
            if (there := self._known.get(owner)) is not None and there[0] == revision:
                self._known.move_to_end(owner)
                return there[1]
        known = Remembered(self._shelf.facts(owner), self._vectors())
        with self._lock:
            self._known[owner] = revision, known
            self._known.move_to_end(owner)
            while len(self._known) > PEOPLE:
                self._known.popitem(last=False)
        return known

    def _vectors(self) -> Embed | None:
        if self._embed is None:
            return None
        try:
            return self._embed()
        except ConvaiError:  # an installation without the model: words and topics do
            self._embed = None
            return None

    # -- what a person does with it ----------------------------------------------------------------

    def facts(self, owner: str, *, history: bool = False) -> list[Fact]:
        """The person's current facts, oldest first; with `history` those whose place was taken, too."""
        return [fact for fact in self._shelf.facts(owner) if history or fact.current]

    def fact(self, owner: str, id: str) -> Fact:
        """One fact. Raises NoSuchFact."""
        for fact in self._shelf.facts(owner):
            if fact.id == id:
                return fact
        raise no_such(id)

    def add(self, owner: str, text: object, where: str = "fact") -> Learnt:
        """Keep what the person wrote, unless that is known. Raises DataError beginning with `where`,
        MemoryFull.
        """
        clean = checked(text, where)
        with self._writing:
            there = self._shelf.facts(owner)
            now = [fact for fact in there if fact.current]
            if any(fact.text == clean for fact in now):
                return Learnt()
            fact = new_fact(clean, there)
            gone = [old for old in now if takes_place_of(clean, old.text)]
            self._shelf.put(owner, fact, [old.id for old in gone])
        return Learnt((fact,), tuple(gone))

    def edit(self, owner: str, id: str, text: object, where: str = "fact") -> Fact:
        """Word a fact anew. Raises NoSuchFact, DataError beginning with `where`."""
        clean = checked(text, where)
        with self._writing:
            anew = replace(self.fact(owner, id), text=clean, aside=False)
            self._shelf.change(owner, anew)
        return anew

    def bring_back(self, owner: str, id: str) -> Fact:
        """Undo a correction: a fact holds again, and the one that took its place does not.

        Raises NoSuchFact, Holds.
        """
        with self._writing:
            fact = self.fact(owner, id)
            if fact.instead is None:
                raise Holds("this fact holds; only one whose place another took can be brought back")
            anew = replace(fact, instead=None)
            self._shelf.change(owner, anew)
            for other in self._shelf.facts(owner):
                if other.id == fact.instead and other.current:
                    self._shelf.change(owner, replace(other, instead=fact.id))
        return anew

    def forget(self, owner: str, id: str) -> Fact:
        """Forget a fact for good, with all whose place it took. Raises NoSuchFact."""
        with self._writing:
            gone = self.fact(owner, id)
            before = {gone.id}
            facts = self._shelf.facts(owner)
            while more := {f.id for f in facts if f.instead in before and f.id not in before}:
                before |= more
            self._shelf.drop(owner, sorted(before))
        return gone

    def forget_all(self, owner: str) -> int:
        """Forget everything about a person for good; how many facts there were."""
        with self._writing:
            return self._shelf.drop(owner)

    def enabled(self, owner: str) -> bool:
        """Whether the person is remembered."""
        return self._shelf.enabled(owner)

    def enable(self, owner: str, on: bool) -> None:
        """Remember from now on, or neither learn nor recall; what is kept stays until it is forgotten."""
        self._shelf.enable(owner, on)
