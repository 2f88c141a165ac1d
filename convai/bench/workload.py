"""What the inference benchmarks compute: made-up chats of fixed lengths, and the settings of a reply.

Everybody gets the same prompts, draws by the same nucleus at the same temperature, and ends every reply
at the same length: the end of a reply is forbidden or ignored.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from convai.core.dialog import AGENT, USER
from convai.core.settings import DecodingConfig
from convai.text.frames import Frame
from convai.text.segments import EncodedTurn, Prompt, build_prompt

CONTROL_IDS: Final = 5
"""The last ids of a made-up vocabulary, which no text holds."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Lengths in tokens, and how a reply is drawn.

    `persona` is cut into sentences of about 12 tokens; `history` counts the words of `turns` turns, whose
    speaker tokens come on top, as do <bos> and the <speaker2> that begins the reply. The defaults make
    prompts of 147 tokens.
    """

    persona: int = 60
    history: int = 80
    turns: int = 5
    reply: int = 20
    top_p: float = 0.9
    temperature: float = 0.7

    @property
    def prompt(self) -> int:
        """Tokens of a prompt."""
        return 2 + self.persona + self.history + self.turns

    def decoding(self, seed: int) -> DecodingConfig:
        """The settings for our engine: no end before the last token, no bans (the others have none)."""
        return DecodingConfig(
            max_length=self.reply,
            min_length=self.reply,
            temperature=self.temperature,
            top_p=self.top_p,
            no_repeat_ngram=0,
            no_repeat_own_ngram=0,
            seed=seed,
        )

    def quick(self) -> Workload:
        """The same at lengths for trying."""
        return replace(self, persona=12, history=8, turns=1, reply=4)


@dataclass(frozen=True, slots=True)
class BenchChat:
    """A persona, a list of ids a sentence, and the turns so far, the user's last."""

    persona: tuple[tuple[int, ...], ...]
    turns: tuple[EncodedTurn, ...]

    def prompt(self, frame: Frame) -> Prompt:
        """The input that the reply is drawn after."""
        return build_prompt(frame, self.persona, self.turns)

    def said(self, reply: Sequence[int], user: Sequence[int]) -> BenchChat:
        """The chat after a reply and the user's next turn."""
        return replace(self, turns=(*self.turns, EncodedTurn(AGENT, reply), EncodedTurn(USER, user)))


def words(rng: random.Random, count: int, vocab_size: int) -> tuple[int, ...]:
    """Random ids of words."""
    return tuple(rng.randrange(vocab_size - CONTROL_IDS) for _ in range(count))


def persona(rng: random.Random, count: int, vocab_size: int) -> tuple[tuple[int, ...], ...]:
    """`count` tokens in sentences of 12, the last one shorter."""
    return tuple(words(rng, min(12, count - start), vocab_size) for start in range(0, count, 12))


def chats(work: Workload, vocab_size: int, count: int, seed: int) -> list[BenchChat]:
    """`count` chats with nothing in common; the same seed gives the same ones."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        # the user speaks first and last of an odd number of turns
        lengths = [work.history // work.turns + (i < work.history % work.turns) for i in range(work.turns)]
        turns = tuple(
            EncodedTurn((work.turns - 1 - i) % 2, words(rng, n, vocab_size)) for i, n in enumerate(lengths)
        )
        made.append(BenchChat(persona(rng, work.persona, vocab_size), turns))
    return made
