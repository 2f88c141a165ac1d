"""The model in both chairs: conversations to read, and counts of what goes wrong in them.

The user's chair is the same model, with a persona of its own, that sees the conversation with the roles
exchanged. It opens with one of a few fixed lines, since a model learns to answer and not to begin.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from convai.conversation.agent import Agent
from convai.conversation.session import SILENCE
from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.core.safe_text import one_line
from convai.engine import Finished, Request
from convai.evaluation.evaluate import reply_seed, variety
from convai.evaluation.metrics import Mean, normalize_answer
from convai.text.prompt import encode_persona, encode_turns
from convai.text.segments import EncodedTurn, build_prompt, fit_history

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
class Conversation:
    """What was said, and the replies of the agent's chair as they were drawn."""

    dialog: Dialog
    replies: tuple[Finished, ...]


class Chair:
    """One side of the table, which takes itself for the agent."""

    def __init__(self, agent: Agent, persona: Persona, max_history: int | None) -> None:
        self._agent, self._max_history = agent, max_history
        self._persona = encode_persona(agent.tokenizer, persona)
        self._turns: list[EncodedTurn] = []

    def note(self, text: str, *, own: bool) -> None:
        """Somebody said `text`: this chair, or the other one."""
        self._turns += encode_turns(self._agent.tokenizer, [Turn(AGENT if own else USER, text)])

    def request(self, seed: int) -> Request:
        """What asks for a reply. Raises SettingsError when the persona leaves no room for one."""
        positions = self._agent.model.config.n_positions
        keep = None if self._max_history is None else 2 * self._max_history + 1
        history = fit_history(
            self._persona,
            self._turns if keep is None else self._turns[-keep:],
            n_positions=positions,
            reserve=min(self._agent.decoding.max_length, positions // 4) + 2,
        )
        own = [turn.ids for turn in self._turns if turn.speaker == AGENT]
        prompt = build_prompt(self._agent.tokenizer, self._persona, history)
        return Request(prompt, replace(self._agent.decoding, seed=seed), own)


class _Table:
    """A conversation as it goes on. Personas, opener and seeds follow from the run's seed and its number."""

    def __init__(
        self, agent: Agent, personas: Sequence[Persona], number: int, seed: int, max_history: int | None
    ) -> None:
        rng = random.Random(f"self-chat {seed} {number}")
        self.sides = rng.sample(personas, 2) if len(personas) > 1 else [personas[0]] * 2
        self.chairs = [Chair(agent, persona, max_history) for persona in self.sides]
        self.said: list[Turn] = []
        self.drawn: list[Finished] = []
        self._number, self._seed = number, seed
        self._say(USER, rng.choice(OPENERS))

    @property
    def _turn(self) -> int:
        return len(self.said)

    @property
    def _speaker(self) -> int:
        return AGENT if self._turn % 2 else USER

    def request(self) -> Request:
        """What asks for the next turn."""
        return self.chairs[self._speaker].request(reply_seed(self._seed, (self._number << 16) + self._turn))

    def take(self, reply: Finished) -> None:
        """The next turn has been drawn."""
        speaker = self._speaker
        if speaker == AGENT:
            self.drawn.append(reply)
        self._say(speaker, one_line(reply.text) or SILENCE)

    def _say(self, speaker: int, text: str) -> None:
        self.said.append(Turn(speaker, text))
        for side, chair in enumerate(self.chairs):
            chair.note(text, own=side == speaker)

    def conversation(self) -> Conversation:
        """All that was said."""
        dialog = Dialog(
            tuple(self.said),
            (self.sides[USER], self.sides[AGENT]),
            id=f"self-chat-{self._seed}-{self._number + 1}",
        )
        return Conversation(dialog, tuple(self.drawn))


def self_chats(
    agent: Agent,
    personas: Sequence[Persona],
    count: int,
    *,
    turns: int,
    seed: int,
    max_history: int | None,
    autocast: torch.dtype | None = None,
) -> Iterator[Conversation]:
    """`count` conversations in which the agent's chair replies `turns` times, both chairs with the agent's
    decoding settings.

    Personas, opener and sampling of a conversation follow from `seed` and its number: a longer run begins
    with the conversations of a shorter one. The two personas differ where there are two.
    """
    with agent.exact_engine(autocast) as engine:
        for first in range(0, count, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, count))
            tables = [_Table(agent, personas, number, seed, max_history) for number in numbers]
            for _ in range(2 * turns - 1):
                replies = engine.map([table.request() for table in tables])
                for table, reply in zip(tables, replies, strict=True):
                    table.take(reply)
            yield from (table.conversation() for table in tables)


def tally(conversations: Sequence[Conversation]) -> dict[str, Any]:
    """Counts and shares over the replies of the agent's chair.

    As `convai.evaluation.evaluate.variety`, and: `echoed_replies`, which say what the partner said before;
    `empty`, without a text; `cut_off`, ended by the length; `questions`, the share with a question mark;
    `words_per_reply`.
    """
    texts = [[reply.text for reply in c.replies] for c in conversations]
    drawn = [reply for c in conversations for reply in c.replies]
    words, questions = Mean(), Mean()
    for reply in drawn:
        words.add(len(reply.text.split()))
        questions.add("?" in reply.text)
    return {
        "conversations": len(conversations),
        "replies": len(drawn),
        **variety(texts),
        "echoed_replies": sum(_echoes(c.dialog) for c in conversations),
        "empty": sum(not one_line(reply.text) for reply in drawn),
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
