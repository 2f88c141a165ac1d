"""One dialogue as it grows: who the two are, what has been told, what is pending, and how things are put."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from convai.text.compose.forms import Parts, fields, fill, sentences, uncapitalised
from convai.text.compose.people import Person, Trait, known
from convai.text.compose.person import to_me
from convai.text.compose.story_files import Exchange
from convai.text.compose.world import World

ASKED_BACK: Final = (
    "name job city pet hobby food sibling child spouse music colour drink fear dream season sport birthday "
    "origin age collection language instrument vehicle"
).split()
"""Slots that the two ask each other for, the commonest first."""

_STATEMENT: Final = re.compile(
    r"(you|you're|you've|you'd|it's)\b|[^,]+ (is|are|was|were|has|have|you|lives|works|loves|comes|wants"
    r"|never|beats) "
)
"""What can stand behind "you told me that"."""
_ODD: Final = re.compile(
    r"at night|come over|come to visit|catch your|And you are|Who are you|Who am I|call you|card|last meal"
    r"|from nine|cup\b|dance|have a name|paint|rent|money|pay you|by trade|workwise|out of bed"
)
"""Questions that only a partner asks: from an agent they would come out of nowhere."""


@dataclass(slots=True)
class ToldTrait:
    """Something the partner told: the fact, the clause it was told in, and the number of the exchange."""

    fact: Trait
    clause: str
    at: int
    asked_back: int = 0
    last: int = -9


@dataclass(slots=True)
class AskedTrait:
    """A question about a fact: as it is asked, embedded (or empty), and the clauses that answer it."""

    direct: str
    embedded: str
    answers: list[str]


@dataclass(slots=True)
class Telling:
    """A story: who tells it, the exchange it ends at, what can be asked of it, how often it was."""

    teller: str
    until: int
    questions: list[tuple[str, list[str]]]
    asked: int = 0


@dataclass(slots=True)
class DialogueDraft:
    """A dialogue in the making.

    `pending`: what the agent has just asked, a slot, or a list of likely answers. `said_about`: slots of the
    agent's that have come up. `asked`: slots that the agent has asked for. `hinted`: what the partner would
    say of a slot that was asked for before it was told. `used`: forms that the dialogue has had. `number`: of
    the exchange. `events_told`: "good" or "bad", the clause, the exchange. `due`: slots that will be asked
    about, and from which exchange on. `invented`: by question, the agent's answer, and the exchange.
    `script`: exchanges that come next, `tellings`: the stories they belong to. `most_free`: facts in
    their own words that the partner tells at most.
    """

    rng: random.Random
    world: World
    forms: Parts
    talk: list[tuple[str, list[str]]]
    events: Parts
    agent: Person
    partner: Person
    told: dict[str, ToldTrait] = field(default_factory=dict)
    events_told: list[tuple[str, str, int]] = field(default_factory=list)
    due: list[tuple[str, int]] = field(default_factory=list)
    invented: dict[str, tuple[str, int]] = field(default_factory=dict)
    pending: str | list[str] | None = None
    asked: set[str] = field(default_factory=set)
    said_about: set[str] = field(default_factory=set)
    free_told: dict[str, int] = field(default_factory=dict)
    hinted: dict[str, Trait] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    script: list[Exchange] = field(default_factory=list)
    tellings: list[Telling] = field(default_factory=list)
    number: int = 0
    most_free: int = 2

    def open_to(self, slot: str) -> bool:
        """Whether nothing the partner has said decides the slot."""
        return slot not in self.told and slot not in self.partner.lacks and slot not in self.partner.settled

    def form(self, part: str, values: Mapping[str, str] | None = None) -> str:
        """A form of forms.txt, filled; a form used before in the dialogue is drawn again once or twice."""
        values = values or {}
        able = [f for f in self.forms[part][""] if fields(f) <= values.keys()]
        return fill(self.fresh(able), values)

    def fresh(self, choices: list[str]) -> str:
        """One of the choices, if possible one that this dialogue has not used."""
        new = [c for c in choices if c not in self.used]
        chosen = self.rng.choice(new or choices)
        self.used.add(chosen)
        return chosen

    def wrapped(self, part: str, question: AskedTrait, *, swap: bool) -> str:
        """The question in a form of `part`; with `swap` it is asked about the one who asks."""
        turn = to_me if swap else (lambda text: text)
        values: dict[str, str] = {}
        if question.direct:
            direct = turn(question.direct)
            values |= {"ask": uncapitalised(direct), "Ask": direct}
            if is_open(question.direct) and direct.endswith("?"):
                values["again"] = uncapitalised(direct[:-1]) + " again?"
        if question.embedded:
            values["what"] = turn(question.embedded)
        if question.direct and (
            not question.direct.endswith("?") or question.direct.startswith(("And ", "So "))
        ):
            return sentences(turn(question.direct))
        return sentences(self.form(part, values))

    def learn(self, slot: str) -> ToldTrait | None:
        if slot == "name" or slot in self.hinted:
            fact: Trait | None = self.hinted.get(slot) or self.partner.facts["name"]
        else:
            fact = self.world.add(self.rng, self.partner, slot)
        if fact is None:
            return None
        clause = self.rng.choice(self.world.clauses(fact))
        told = ToldTrait(known(fact, clause), clause, self.number)
        self.told[slot] = told
        self.partner.facts[slot] = told.fact
        return told

    def statement(self, part: str, clause: str, short: str = "") -> str:
        values = {"say": clause, "Say": clause[:1].upper() + clause[1:]}
        if short:
            values["short"] = short
        if re.match(r"(yes|sure|no)\b", clause):
            return sentences(clause + ".")
        return sentences(self.form(part, values))

    def recalled(self, part: str, clause: str) -> str:
        if part in ("recalled", "recalled.do") and not _STATEMENT.match(clause):
            part = "fragment"
        return sentences(self.form(part, {"you": clause, "You": clause[:1].upper() + clause[1:]}))

    def ack(self, told: ToldTrait) -> str:
        text, _, replies = self.fresh(
            self.world.lines(told.fact, "ack") or ["That's good to know."]
        ).partition(" => ")
        if replies:
            self.pending = replies.split(" / ")
        text = fill(text, told.fact.values)
        if not replies and text.endswith("?"):
            return sentences(text)
        if not replies and self.rng.random() < 0.35:
            return self.then_ask(sentences(text), told.fact.slot, always=True)
        if not replies and self.rng.random() < 0.3:
            react = self.form("react")
            text = f"{react} {text}" if react[:4] != text[:4] else text
        return sentences(text)

    def then_ask(self, reply: str, slot: str, *, and_you: bool = False, always: bool = False) -> str:
        """The reply, now and then with a question about something the partner has not told."""
        if not always and self.rng.random() > 0.3:
            more = self.world.lines(self.agent.facts[slot], "more") if slot in self.agent.facts else []
            new = [line for line in more if line not in self.used]
            return (
                f"{reply} {fill(self.fresh(new), self.agent.facts[slot].values)}"
                if new and self.rng.random() < 0.4
                else reply
            )
        if slot in ASKED_BACK and self.open_to(slot) and slot not in self.asked:
            self.asked.add(slot)
            self.pending = slot
            return f"{reply} {self.form('and you')}"
        slots = [s for s in ASKED_BACK[:12] if s not in self.asked and self.open_to(s)]
        if not slots or and_you:
            return reply
        slot = self.rng.choice(slots)
        self.asked.add(slot)
        part = self.world.forms[slot]
        lines = part.get("exists") or part["ask"]
        direct = self.rng.choice(
            [
                line.split(" => ")[0]
                for line in lines
                if "{" not in line.split(" => ")[0] and not _ODD.search(line)
            ]
        )
        self.pending = slot
        return f"{reply} {self.wrapped('plain ask', AskedTrait(direct, '', []), swap=False)}"


def is_open(question: str) -> bool:
    """Whether a question asks for a word, and not for yes or no."""
    return re.match(r"(What|Where|Which|Who|When|How)\b", question) is not None
