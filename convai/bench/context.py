"""What lorebook, notes and memory cost a long chat in tokens that are computed: no clock, no weights.

A slot keeps what was computed of a prompt and its reply; of the next prompt only what follows their common
beginning is computed (`convai.engine.prefix`). New are the words that were said since, what opens them, and
what was added for the first time; what is computed beside that is computed again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from convai.conversation.agent import Talker
from convai.conversation.cast import Note
from convai.conversation.conversation import Place
from convai.conversation.memory.facts import OpenShelf
from convai.conversation.memory.listening import Recollection
from convai.conversation.memory.memory import Memory, embedded
from convai.conversation.memory.summary import summary_of
from convai.conversation.memory.vectors import Embed
from convai.conversation.prompt_input import prompt_input
from convai.conversation.scene import Scene
from convai.core import resources
from convai.core.character import Character, Lorebook, LoreEntry
from convai.core.dialog import AGENT, USER, Persona, Turn
from convai.evaluation.memory import ToldFact
from convai.text.compose.dialogues import read_talk

TURNS: Final = 50
"""Replies of the chat."""
_SOMEBODY: Final = "somebody"
_WORDS: Final = "bread tea rain garden sister dog river music winter market".split()
_FACTS: Final = (
    "i live in lima.",
    "i have a dog named Rex.",
    "i work as a nurse.",
    "my sister lives in quito.",
    "i love the rain.",
    "my favorite bread is rye.",
    "i play the cello.",
    "i have a garden behind the house.",
)
_PERSONA: Final = Persona(("i am a baker.", "i get up at four.", "i have two cats."), "Ann")


@dataclass(slots=True)
class Cost:
    """Tokens by reply: of the prompt, computed of it, and new in it."""

    prompt: list[int] = field(default_factory=list)
    computed: list[int] = field(default_factory=list)
    new: list[int] = field(default_factory=list)

    @property
    def again(self) -> int:
        """Tokens that were computed beside the new ones."""
        return sum(self.computed) - sum(self.new)

    def first_token(self, turn: int) -> float:
        """Tokens computed before a reply's first one: the median of five replies around `turn`."""
        return median(self.computed[max(turn - 3, 1) : turn + 2])


def measure(
    agent: Talker,
    turns: int = TURNS,
    seed: int = 0,
    *,
    told: Sequence[ToldFact] = (),
    asked: float = 0.0,
    embed: Callable[[], Embed] | None = embedded,
) -> dict[str, Cost]:
    """The same chat `with` lorebook, notes and memory, and `without`.

    `told`: what the memory has heard (default: eight facts), whose questions are a share `asked` of the
    messages; `embed` as for `Memory`.
    """
    memory = Memory(OpenShelf(), embed=embed)
    for text in dict.fromkeys(text for fact in told for text in (fact.before, fact.say) if text):
        memory.learn(_SOMEBODY, [Turn(USER, text)], conversation="earlier", message=text)
    for text in () if told else _FACTS:
        memory.add(_SOMEBODY, text, "bench")
    questions = [fact.ask for fact in told]
    entries = [LoreEntry(f"Of {word}: {word} is much spoken of where Ann lives.", (word,)) for word in _WORDS]
    book = Lorebook((*entries, LoreEntry("The bakery stands at the harbour.", constant=True)))
    character = Character("Ann", _PERSONA.sentences, book=book, note="Ann is a little tired.")
    full = Scene(
        (Recollection(memory, _SOMEBODY, "bench"),),
        summary=summary_of,
        character=character,
        note=Note("It rains."),
    )
    said = _said(random.Random(seed), turns, questions, asked)
    return {"with": _chat(agent, full, said), "without": _chat(agent, Scene(), said)}


def _said(rng: random.Random, turns: int, questions: Sequence[str], asked: float) -> list[tuple[str, str]]:
    """What the user says at each turn, with the reply to it."""
    talk = read_talk(resources.data_dir() / "compose" / "talk.txt")
    said = []
    for number in range(turns):
        text, replies = rng.choice(talk)
        text = f"{text} what of the {rng.choice(_WORDS)}, number {number}?"
        reply = rng.choice(replies)
        said.append((rng.choice(questions) if questions and rng.random() < asked else text, reply))
    return said


def _chat(agent: Talker, scene: Scene, messages: Sequence[tuple[str, str]]) -> Cost:
    said: list[Turn] = []
    held: list[int] = []
    known: set[tuple[str, int | None]] = set()
    cost = Cost()
    for text, answer in messages:
        said.append(Turn(USER, text))
        place = Place.after(said)
        shown = prompt_input(
            agent,
            scene.persona(_PERSONA, agent),
            place,
            AGENT,
            max_history=agent.max_history,
            max_length=agent.decoding.max_length,
            additions=scene.additions(place, agent),
            summary=scene.summary,
        )
        ids = list(shown.prompt.ids)
        frame, words = agent.tokenizer.frame, agent.texts.encode_batch([said[-1].text])[0]
        cost.prompt.append(len(ids))
        cost.computed.append(len(ids) - _common(held, ids))
        around = len(frame.before_persona) + len(frame.after_persona)
        places = {
            (one.text, None if one.depth is None else place.number - one.depth)
            for one in shown.layout.insertions
        }
        fresh = [text for text, _ in places - known]
        known |= places
        added = sum(len(one) + around for one in agent.texts.encode_batch(fresh)) if fresh else 0
        said_now = frame.turn_size(USER, len(words)) + len(frame.openings[AGENT])
        cost.new.append(len(ids) if not held else min(said_now + added, cost.computed[-1]))
        said.append(Turn(AGENT, answer))
        reply = agent.texts.encode_batch([said[-1].text])[0]
        held = [*ids, *reply, *frame.closings[AGENT]]
    return cost


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens that both begin with."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def figures(*chats: dict[str, Cost]) -> dict[str, float]:
    """What is told of the costs of chats, summed up; of first tokens the median.

    `computed_ratio`: tokens computed with all of it to those without; `again_ratio`: the same of those that
    are computed beside the new ones.
    """
    full, bare = ([chat[which] for chat in chats] for which in ("with", "without"))
    computed = [sum(sum(one.computed) for one in costs) for costs in (full, bare)]
    again = [sum(one.again for one in costs) for costs in (full, bare)]
    late = [one.first_token(len(one.computed)) for one in full]
    early = [one.first_token(5) for one in full]
    return {
        "computed_with": computed[0],
        "computed_without": computed[1],
        "computed_ratio": computed[0] / computed[1],
        "again_with": again[0],
        "again_without": again[1],
        **({"again_ratio": again[0] / again[1]} if again[1] else {}),
        "first_token_5": median(early),
        "first_token_50": median(late),
        "first_token_ratio": median(b / a for a, b in zip(early, late, strict=True)),
        "prompt_50": median(one.prompt[-1] for one in full),
    }
