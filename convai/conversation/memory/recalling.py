"""What of a person's memory goes into a prompt: a few lines that hold always, and what a message calls for.

Both cost little (see `convai.text.insertions`): the lines that hold always change when the memory does, and
what a turn calls for stays before that turn for as long as the turn is shown. The same place of a
conversation and the same facts give the same lines, whatever was asked before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from convai.conversation.memory.attributes import SELF, attributes
from convai.conversation.memory.facts import Fact
from convai.conversation.memory.index import Index
from convai.conversation.memory.succession import of_now, tells_anew
from convai.conversation.memory.vectors import Embed, Floats
from convai.core.dialog import AGENT, USER, Turn
from convai.text.claims.jobs import trade
from convai.text.claims.words import normal

BLOCK: Final = 20
"""Turns, counted in blocks from the first, in which a fact is recalled once."""
BLOCKS: Final = 6
"""Blocks back from the end that are looked at: more turns than a prompt of 2,048 tokens holds."""
A_TURN: Final = 3
"""Facts that a turn calls for at most."""
A_QUESTION: Final = 20
"""Facts that a question of the user's about themselves calls for at most."""
AN_OTHER: Final = 12
"""Facts that a question without the user in it ("who is enzo?") calls for at most."""
QUESTION_WORDS: Final = 200
"""Words behind which such a question gets no further fact."""
ANEW: Final = 3
"""Of the facts that such a question calls for the best ones, which may tell others anew."""
SURELY: Final = 4
"""Facts that such a question calls for, however far behind the best one, where they have to do with it."""
A_BLOCK: Final = 6
"""Facts that statements call for in a block at most; a question of the user's about themselves always
gets its own.
"""
ALWAYS: Final = 8
"""Facts that are told always, at most."""
ALWAYS_WORDS: Final = 60
"""Words of those at most."""
FRESH: Final = 2 * BLOCK
"""Turns for which what was told in this very conversation is not recalled: it is still to be read there."""
WEIGHT: Final = 16.0
"""What the cosine of two texts' vectors counts beside words and topics."""
_LEAST: Final = 12.0
"""Score below which a statement calls for nothing; of 97 turns of strangers a sixth to a third reach it."""
_LEAST_ASKED: Final = 1.5
"""The same for a question of the user's about themselves."""
_LEAST_OF_WORDS: Final = 2.2
_LEAST_ASKED_OF_WORDS: Final = 1.0
"""The two where there are no vectors."""
_SHARE: Final = 0.55
"""Part of the best fact's score that others have at least."""
_SHARE_ASKED: Final = 0.1
"""The same for such a question."""
_BEFORE: Final = 0.3
"""What the agent's turn before a message counts beside it."""
_OWN: Final = re.compile(r"\b(?:i|i'm|i've|my|me|mine|we|our|us)\b", re.IGNORECASE)
_ASKS: Final = re.compile(
    r"\W*(?:(?:so|and|hey|ok|okay|well|hi|hello|now|quick question)\W+)*(?:who|what|whats|where|wheres|"
    r"when|whens|"
    r"why|how|hows|which|whose|whom|do|does|did|am|is|are|was|were|can|have|has|remind me|tell me|"
    r"do you (?:know|"
    r"remember))\b",
    re.IGNORECASE,
)
"""How a question begins, also one that was typed without its mark."""
_LISTENER: Final = re.compile(r"\b(?:you|you're|your|yours|u|ur|yourself)\b", re.IGNORECASE)
_CORE: Final = (
    "name",
    "live",
    "job",
    "age",
    "married",
    "partner",
    "has child",
    "has son",
    "has daughter",
    "has dog",
    "has cat",
    "from",
    "allergic",
)
"""Slots of what is always told, the most important first."""
BEGIN: Final = "The user told you: "
"""How a line begins: it is the user who says what follows."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """Facts that are told before turn `turn` of the conversation, counted from 0; None: always."""

    facts: tuple[Fact, ...]
    turn: int | None

    @property
    def text(self) -> str:
        """The line of the prompt."""
        return BEGIN + " ".join(fact.text for fact in self.facts)


class Remembered:
    """The current facts of one person, made to be searched; for one revision of the memory."""

    def __init__(self, facts: Sequence[Fact], embed: Embed | None) -> None:
        self.facts = tuple(fact for fact in facts if fact.current)
        trades = dict.fromkeys(_trades(self.facts), "#job")
        self.index = Index([fact.text for fact in self.facts], embed, WEIGHT, trades)
        self._least, self._least_asked = (
            (_LEAST_OF_WORDS, _LEAST_ASKED_OF_WORDS) if embed is None else (_LEAST, _LEAST_ASKED)
        )
        self._asides = np.array([fact.aside for fact in self.facts], bool)
        self._called: dict[tuple[str, str], tuple[tuple[int, ...], bool]] = {}
        self._core = sorted(
            (rank, number) for number, fact in enumerate(self.facts) if (rank := _rank(fact)) is not None
        )

    def always(self, conversation: str) -> Recalled | None:
        """What is told always in a conversation: the core of what was told elsewhere."""
        chosen: list[Fact] = []
        words = 0
        for _, number in self._core:
            fact = self.facts[number]
            size = len(fact.text.split())
            if (fact.conversation != conversation or not conversation) and words + size <= ALWAYS_WORDS:
                chosen.append(fact)
                words += size
            if len(chosen) == ALWAYS:
                break
        return Recalled(tuple(chosen), None) if chosen else None

    def recalled(self, turns: Sequence[Turn], number: int, conversation: str) -> list[Recalled]:
        """What the user's turns call for, oldest turn first, behind what is told always.

        `turns` are the latest of `number` turns of the `conversation` (its name, or empty).
        """
        if not self.facts:
            return []
        always = self.always(conversation)
        told = {fact.id for fact in always.facts} if always else set()
        found = [always] if always else []
        earlier = number - len(turns)
        first = max((number // BLOCK - BLOCKS) * BLOCK, 0)
        seen: set[int] = set()
        statements = block = 0
        for place in range(max(first, earlier), number):
            if place // BLOCK != block:
                block, statements = place // BLOCK, 0
                seen.clear()
            turn = turns[place - earlier]
            if turn.speaker != USER:
                continue
            before = turns[place - earlier - 1] if place > earlier else None
            said = before.text if before is not None and before.speaker == AGENT else ""
            called, asks = self._calls_for(turn.text, said)
            most = (A_QUESTION if _OWN.search(turn.text) else AN_OTHER) if asks else A_TURN
            facts: list[Fact] = []
            words = shown = 0
            for at in called:
                if len(facts) + shown == most or (asks and words >= QUESTION_WORDS):
                    break
                fact = self.facts[at]
                own = bool(conversation) and fact.conversation == conversation and place < fact.turn + FRESH
                full = not asks and statements >= A_BLOCK
                known = at in seen or fact.id in told or any(one.repeats(fact) for one in facts)
                if own or known or full:
                    shown += at in seen  # it stands above: what is behind it is not called for in its place
                    continue
                seen.add(at)
                statements += not asks
                facts.append(fact)
                words += len(fact.text.split())
            if facts:
                found.append(Recalled(tuple(facts), place))
        return found

    def _calls_for(self, text: str, before: str) -> tuple[tuple[int, ...], bool]:
        """The facts that a message calls for, best first, and whether it asks about the one who says it."""
        key = text, before
        if key not in self._called:
            if len(self._called) > 4096:
                self._called.clear()
            asks = bool("?" in text or _ASKS.match(text)) and (
                bool(_OWN.search(text)) or not _LISTENER.search(text)
            )
            scores = self.index.scores(text)
            if before and not asks:
                scores = scores + _BEFORE * self.index.scores(before)
            best = float(scores.max(initial=0.0))
            if not asks:
                scores = np.where(self._asides, 0, scores)
            least = max(self._least_asked, _SHARE_ASKED * best) if asks else max(self._least, _SHARE * best)
            likely = np.flatnonzero(scores >= least)
            if (
                asks and len(likely) < SURELY
            ):  # one that has every word of the question is not always the answer
                likely = np.argsort(-scores, kind="stable")[:SURELY]
                likely = likely[scores[likely] >= self._least_asked]
            order = likely[np.argsort(-scores[likely], kind="stable")][: 4 * A_QUESTION]
            called = [int(at) for at in order]
            self._called[key] = tuple(self._latest(called, scores, of_now(text)) if asks else called), asks
        return self._called[key]

    def _latest(self, called: Sequence[int], scores: Floats, most: float) -> list[int]:
        """Of what a question calls for, best first, what none of the best tells anew with a score that `most`
        times is that of the other.
        """
        gone: set[int] = set()
        for new in called[:ANEW]:
            if new not in gone:
                gone.update(
                    old
                    for old in called
                    if old < new
                    and scores[old] <= most * scores[new]
                    and not self.facts[old].told_with(self.facts[new])
                    and tells_anew(self.facts[new].text, self.facts[old].text, self.index.near(new, old))
                )
        return [at for at in called if at not in gone]


def _trades(facts: Sequence[Fact]) -> list[int]:
    """The facts that may say what is done for a living ("i deliver the post"), where none names a job."""
    if any(
        one.subject == SELF and one.claim.slot == "job" for fact in facts for one in attributes(fact.text)
    ):
        return []
    return [n for n, fact in enumerate(facts) if not fact.aside and trade(normal(fact.text)) is not None]


def _rank(fact: Fact) -> int | None:
    """How important a fact is for all that is said; None: it waits until it is called for."""
    if fact.aside:
        return None
    slots = [one.claim.slot for one in attributes(fact.text) if one.subject == SELF and one.claim.holds]
    return min((_CORE.index(slot) for slot in slots if slot in _CORE), default=None)


def lines(recalled: Sequence[Recalled]) -> Iterator[str]:
    """The facts of all lines, one by one."""
    for one in recalled:
        for fact in one.facts:
            yield fact.text
