"""The model in both chairs: conversations to read, and counts of what goes wrong in them.

The user's chair is the same model, with a persona of its own, that sees the conversation with the roles
exchanged. It opens with one of a few fixed lines, since a model learns to answer and not to begin.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from convai.conversation.agent import Agent
from convai.conversation.conversation import Place
from convai.conversation.drawing import draw_together
from convai.conversation.reply import SILENCE, Reply
from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.engine import Finished
from convai.engine.backends.precision import Requested
from convai.evaluation.contradictions import contradictions
from convai.evaluation.evaluate import numbered_seed, variety
from convai.evaluation.metrics import Mean, normalize_answer

OPENERS: Final = (
    "Hi! How are you today?",
    "Hello there, what are you up to?",
    "Hey! Tell me something about yourself.",
    "Hi, what do you do for a living?",
    "Good evening! Did you have a nice day?",
    "Hello! Do you have any hobbies?",
)
"""What the user's chair says first."""

AT_ONCE: Final = 32
"""Conversations that are held side by side."""


@dataclass(frozen=True, slots=True)
class SelfChat:
    """What was said, and the replies of the agent's chair as they were drawn."""

    dialog: Dialog
    replies: tuple[Finished, ...]


class _Table:
    """A conversation as it goes on. Personas, opener and seeds follow from the run's seed and its number."""

    def __init__(
        self, agent: Agent, personas: Sequence[Persona], number: int, seed: int, max_history: int | None
    ) -> None:
        rng = random.Random(f"self-chat {seed} {number}")
        self._agent, self._max_history = agent, max_history
        self._seed, self._id = numbered_seed(seed, number), f"self-chat-{seed}-{number + 1}"
        sides = rng.sample(personas, 2) if len(personas) > 1 else [personas[0]] * 2
        self._dialog = Dialog((Turn(USER, rng.choice(OPENERS)),), (sides[USER], sides[AGENT]), self._id)
        self._drawn: list[Finished] = []

    @property
    def _speaker(self) -> int:
        return AGENT if len(self._dialog.turns) % 2 else USER

    def next(self) -> Reply:
        """The next turn, to be drawn; its speaker takes itself for the agent."""
        seen = self._dialog if self._speaker == AGENT else self._dialog.swapped()
        return Reply(
            self._agent,
            seen.persona,
            Place.after(seen.turns),
            self._agent.decoding,
            seed=self._seed,
            max_history=self._max_history,
        )

    def take(self, reply: Reply) -> None:
        """The next turn has been drawn."""
        end = reply.final
        if self._speaker == AGENT:
            self._drawn.append(replace(end, text="") if end.text == SILENCE else end)
        self._dialog = replace(self._dialog, turns=(*self._dialog.turns, Turn(self._speaker, end.text)))

    def chat(self) -> SelfChat:
        """All that was said."""
        return SelfChat(self._dialog, tuple(self._drawn))


def self_chats(
    agent: Agent,
    personas: Sequence[Persona],
    count: int,
    *,
    turns: int,
    seed: int,
    max_history: int | None,
    precision: Requested = "float32",
) -> Iterator[SelfChat]:
    """`count` conversations in which the agent's chair replies `turns` times, both chairs with the agent's
    decoding settings.

    Personas, opener and seed of a conversation follow from `seed` and its number (`numbered_seed`): a longer
    run begins with the conversations of a shorter one. The two personas differ where there are two.
    """
    with agent.exact_engine(precision) as engine:
        for first in range(0, count, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, count))
            tables = [_Table(agent, personas, number, seed, max_history) for number in numbers]
            for _ in range(2 * turns - 1):
                replies = [table.next() for table in tables]
                draw_together(replies, engine.stream)
                for table, reply in zip(tables, replies, strict=True):
                    table.take(reply)
            yield from (table.chat() for table in tables)


def tally(conversations: Sequence[SelfChat]) -> dict[str, Any]:
    """Counts and shares over the replies of the agent's chair.

    As `convai.evaluation.evaluate.variety`, and: `contradicting`, found to take back the persona or an
    earlier reply (see `convai.evaluation.contradictions`: it finds a part of those that do);
    `echoed_replies`, which say what the partner said before; `empty`, without a text however often they were
    drawn; `cut_off`, ended by the length; `questions`, the share with a question mark; `words_per_reply`.
    """
    texts = [[reply.text for reply in c.replies] for c in conversations]
    drawn = [reply for c in conversations for reply in c.replies]
    words, questions = Mean(), Mean()
    for reply in drawn:
        words.add(len(reply.text.split()))
        questions.add("?" in reply.text)
    found = sum(len(list(contradictions(c.dialog))) for c in conversations)
    return {
        "conversations": len(conversations),
        "replies": len(drawn),
        "contradicting": found,
        "contradicting_share": found / len(drawn) if drawn else 0.0,
        **variety(texts),
        "echoed_replies": sum(_echoes(c.dialog) for c in conversations),
        "empty": sum(not reply.text for reply in drawn),
        "cut_off": sum(reply.reason == "length" for reply in drawn),
        "questions": questions.value,
        "words_per_reply": words.value,
    }


def _echoes(dialog: Dialog) -> int:
    heard: set[str] = set()
    echoes = 0
    for turn in dialog.turns:
        normal = normalize_answer(turn.text)
        if turn.speaker == USER:
            heard.add(normal)
        else:
            echoes += bool(normal) and normal in heard
    return echoes
