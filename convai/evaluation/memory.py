"""How good the memory is: facts found in labelled turns, and recalled after many sessions; without a model.

Two files hold what is measured (data/evaluation), an object a line. Labelled turns are like

    {"part": "tune", "ask": "what do you do?", "say": "a nurse", "facts": ["i am a nurse."]}

and facts that are told in one session and asked for in a later one like

    {"say": "no, i moved to bergen.", "ask": "where do i live?", "right": "bergen", "wrong": "lima",
     "before": "i live in lima."}

where `before` was told earlier, `right` is found in what the prompt holds, and `wrong` must not be.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from convai.conversation.memory.facts import OpenShelf, new_fact
from convai.conversation.memory.finding import Resolve, found_in
from convai.conversation.memory.memory import Memory
from convai.conversation.memory.recalling import Remembered
from convai.conversation.memory.recalling import lines as lines_of
from convai.conversation.memory.vectors import Embed
from convai.core import resources
from convai.core.dialog import AGENT, USER, Turn, check_text
from convai.core.errors import DataError
from convai.evaluation.metrics import precision_and_recall
from convai.text.claims.words import normal
from convai.text.compose.dialogues import Composer, read_talk
from convai.text.corpora.building import sentences
from convai.text.corpora.json_text import objects

SESSIONS: Final = 20
TURNS: Final = 20
"""Turns of a session, the agent's included."""
_ANN: Final = "ann"
_TURN: Final = '{"ask": "what do you do?", "say": "a nurse", "facts": ["i am a nurse."]}'
_FACT: Final = '{"say": "i live in bergen.", "ask": "where do i live?", "right": "bergen"}'


@dataclass(frozen=True, slots=True)
class LabelledTurn:
    """What somebody said, the question before it if any, and the facts in it."""

    part: str
    ask: str
    say: str
    facts: tuple[str, ...]

    def found(self, resolve: Resolve | None = None) -> set[str]:
        """The facts that are found, in plain words."""
        turns = [Turn(AGENT, self.ask)] if self.ask else []
        return {normal(one.text) for one in found_in([*turns, Turn(USER, self.say)], resolve)}

    @property
    def wanted(self) -> set[str]:
        """The facts that are to be found, in plain words."""
        return {normal(text) for text in self.facts}


@dataclass(frozen=True, slots=True)
class ToldFact:
    """A fact as it is told, what asks for it, and patterns of what is right and wrong in the prompt then."""

    say: str
    ask: str
    right: re.Pattern[str]
    wrong: re.Pattern[str] | None = None
    before: str = ""


@dataclass(frozen=True, slots=True)
class AskedFact:
    """A question, what the prompt held of the memory, and whether the fact and no outdated one was there."""

    fact: ToldFact
    held: tuple[str, ...]
    right: bool
    wrong: bool


def read_labelled(path: Path) -> list[LabelledTurn]:
    """The labelled turns in a file. Raises DataError, naming file and line."""
    found = []
    for where, entry in objects(path, _TURN):
        ask = entry.get("ask") or ""
        found.append(
            LabelledTurn(
                str(entry.get("part", "all")),
                check_text(ask, f"{where}, ask") if ask else "",
                check_text(entry.get("say"), f"{where}, say"),
                sentences(entry.get("facts"), where),
            )
        )
    return found


def read_told(path: Path) -> list[ToldFact]:
    """The facts in a file. Raises DataError, naming file and line."""
    found = []
    for where, entry in objects(path, _FACT):
        before = entry.get("before") or ""
        found.append(
            ToldFact(
                check_text(entry.get("say"), f"{where}, say"),
                check_text(entry.get("ask"), f"{where}, ask"),
                _pattern(entry.get("right"), f"{where}, right"),
                _pattern(entry["wrong"], f"{where}, wrong") if entry.get("wrong") else None,
                check_text(before, f"{where}, before") if before else "",
            )
        )
    return found


def _pattern(text: object, where: str) -> re.Pattern[str]:
    try:
        return re.compile(check_text(text, where))
    except re.error as error:
        raise DataError(f"{where}: no regular expression ({error})") from None


def finding(labelled: Sequence[LabelledTurn], resolve: Resolve | None = None) -> dict[str, float]:
    """Precision and recall of what is found in turns, and the numbers that they come from."""
    pairs = [(turn.found(resolve), turn.wanted) for turn in labelled]
    hits = sum(len(found & wanted) for found, wanted in pairs)
    found, wanted = sum(len(one) for one, _ in pairs), sum(len(one) for _, one in pairs)
    return {
        **precision_and_recall(hits, found, wanted),
        "turns": len(labelled),
        "facts": wanted,
        "found": found,
        "rightly_found": hits,
    }


def tell_and_ask(
    told: Sequence[ToldFact],
    *,
    seed: int = 0,
    resolve: Resolve | None = None,
    embed: Callable[[], Embed] | None = None,
) -> tuple[list[AskedFact], dict[str, float]]:
    """Tell all facts over SESSIONS of TURNS among small talk, then ask for each in a new conversation.

    Returns what was asked and the figures: shares of `right` and `wrong`, facts in the prompt, and the
    processor time that a turn of telling and of asking takes.
    """
    rng = random.Random(seed)
    memory = Memory(OpenShelf(), resolve=resolve, embed=embed)
    talk = read_talk(resources.data_dir() / "compose" / "talk.txt")
    begun = time.process_time()
    count = 0
    for number, said in enumerate(_sessions(told, rng)):
        turns: list[Turn] = []
        for text in said:
            user, replies = (text, ["I see.", "Good to know."]) if text else rng.choice(talk)
            turns.append(Turn(USER, user))
            memory.learn(_ANN, turns, conversation=f"session{number}", message=f"{number}-{len(turns)}")
            turns.append(Turn(AGENT, rng.choice(replies)))
            count += 1
    learning = time.process_time() - begun
    begun = time.process_time()
    asked = []
    for fact in told:
        turns = [Turn(USER, "hello again!"), Turn(AGENT, "Hi! Good to see you."), Turn(USER, fact.ask)]
        held = tuple(lines_of(memory.recall(_ANN, turns, conversation="later")))
        text = "\n".join(held).lower()
        wrong = fact.wrong is not None and fact.wrong.search(text) is not None
        asked.append(AskedFact(fact, held, any(fact.right.search(one.lower()) for one in held), wrong))
    asking = time.process_time() - begun
    return asked, {
        "right": sum(one.right for one in asked) / len(asked),
        "wrong": sum(one.wrong for one in asked) / len(asked),
        "facts": len(asked),
        "kept": len(memory.facts(_ANN)),
        "sessions": SESSIONS,
        "turns_a_session": TURNS,
        "facts_in_prompt": sum(len(one.held) for one in asked) / len(asked),
        "words_in_prompt": sum(len(" ".join(one.held).split()) for one in asked) / len(asked),
        "learn_ms": 1000 * learning / count,
        "recall_ms": 1000 * asking / len(asked),
    }


def search_time(embed: Embed, facts: int = 10_000, messages: int = 50) -> float:
    """Processor time in milliseconds of recalling what a message calls for among so many facts."""
    rng = random.Random(0)
    composer = Composer(resources.data_dir() / "compose")
    texts: list[str] = []
    while len(texts) < facts:
        dialog = composer.dialog(rng, "")
        texts += [*dialog.personas[USER].sentences, *(t.text for t in dialog.turns if t.speaker == USER)]
    known = Remembered([new_fact(text) for text in texts[:facts]], embed)
    said = [Turn(USER, turn.text) for turn in composer.dialog(rng, "").turns] * messages
    begun = time.process_time()
    for number, turn in enumerate(said[:messages]):
        known.recalled([Turn(USER, f"{turn.text} {number}")], 1, "")  # no message twice: all is computed
    return 1000 * (time.process_time() - begun) / messages


def _sessions(told: Sequence[ToldFact], rng: random.Random) -> list[list[str]]:
    """What the user says in each session: facts, each once, and nothing where it is small talk."""
    order = list({fact.say: fact for fact in told}.values())
    rng.shuffle(order)
    order.sort(key=lambda fact: bool(fact.before))  # what is corrected was told in a session before
    each = -(-len(order) // SESSIONS)
    said = []
    for start in range(0, SESSIONS * each, each):
        now = [fact.say for fact in order[start : start + each]]
        places = sorted(rng.sample(range(TURNS // 2), min(len(now), TURNS // 2)))
        session = [""] * (TURNS // 2)
        for place, text in zip(places, now, strict=False):
            session[place] = text
        said.append(session)
    for fact in order:
        if fact.before:
            first = next(session for session in said if "" in session)
            first[first.index("")] = fact.before
    return said
