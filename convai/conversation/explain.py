"""Why a reply was given: the exact input of the model, token by token, the candidates and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convai.core.settings import DecodingConfig
from convai.engine import Finished, Token
from convai.text.detokenizer import WordStream
from convai.text.insertions import Insertion
from convai.text.layout import REPLY, Layout
from convai.text.segments import EncodedTurn, Prompt
from convai.text.tokenizer import SPEAKER1, SPEAKER2, Tokenizer

Part = str
"""`persona`, `history`, `examples`, `reply`, or the kind of an insertion (`convai.text.insertions`)."""


@dataclass(frozen=True, slots=True)
class InputToken:
    """One token of the model's input. `item` counts the sentences, turns or texts of its part from 0.

    `logprob`: the natural log of the probability that the model gave to a token of the reply (before
    temperature and the rest); None for the other parts, and for beam search.
    """

    id: int
    text: str
    position: int
    segment: str
    part: Part
    item: int
    logprob: float | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The input of one reply and what it was chosen from.

    `candidates` are in the order in which they were drawn, `chosen` is the index of the reply among them.
    Both are empty (None) for a reply that was stopped. `left_out` older turns were not part of the input.
    `decoding.seed` is the seed that this reply was drawn with. `account` says what the context went to.
    """

    rows: tuple[InputToken, ...]
    candidates: tuple[Finished, ...]
    chosen: int | None
    decoding: DecodingConfig
    left_out: int
    account: Account


@dataclass(frozen=True, slots=True)
class Account:
    """What the context went to.

    `tokens`: those of each part of the prompt; `reply`: what is kept for it; the rest, up to `reply`, is what
    nothing takes (`free`). `left_out` older turns, `examples_left_out` example dialogues and the `missing`
    insertions had no room; `insertions` are those that are shown.
    """

    positions: int
    tokens: Mapping[str, int]
    reply: int
    left_out: int = 0
    examples_left_out: int = 0
    insertions: tuple[Insertion, ...] = ()
    missing: tuple[Insertion, ...] = ()

    @property
    def free(self) -> int:
        """Positions that are left beside the prompt and the reply."""
        return max(self.positions - sum(self.tokens.values()) - self.reply, 0)


@dataclass(frozen=True, slots=True)
class Input:
    """A prompt and what it was built from. `reserve` of `positions` are kept for the reply and its end."""

    layout: Layout
    left_out: int
    positions: int
    reserve: int

    @property
    def prompt(self) -> Prompt:
        """What the model goes on from."""
        return self.layout.prompt

    @property
    def turns(self) -> Sequence[EncodedTurn]:
        """The turns that it holds."""
        return self.layout.turns

    def account(self) -> Account:
        """What the context went to: parts in the order in which they are shown, the reply's apart."""
        tokens = self.layout.tokens()
        opening = tokens.pop(REPLY, 0)
        return Account(
            self.positions,
            tokens,
            max(self.reserve, opening),
            self.left_out,
            self.layout.examples_left_out,
            self.layout.insertions,
            self.layout.missing,
        )


def input_rows(tokenizer: Tokenizer, source: Input) -> list[InputToken]:
    """The rows of a prompt, up to the speaker token after which the reply begins, or what it goes on from."""
    prompt, names = source.prompt, segment_names(tokenizer)
    parts = ((span.part, span.item) for span in source.layout.spans for _ in range(span.size))
    return [
        InputToken(id, token_text(tokenizer, id), position, names[segment], part, item)
        for id, position, segment, (part, item) in zip(
            prompt.ids, prompt.positions, prompt.segments, parts, strict=True
        )
    ]


def reply_rows(
    tokenizer: Tokenizer, source: Input, ids: Sequence[int], tokens: Sequence[Token], end: Finished | None
) -> list[InputToken]:
    """The rows of a reply's `ids`, and of the <eos> where it ended by itself.

    `tokens` are its events, none after beam search; `end` is None for a reply that was stopped.
    """
    segment = segment_names(tokenizer)[source.prompt.segment]
    logprobs: list[float | None] = [event.logprob for event in tokens] or [None] * len(ids)
    words = list(ids)
    if end is not None and end.reason == "stop":
        words.append(tokenizer.frame.end_id)
        logprobs.append(end.logprob - sum(event.logprob for event in tokens) if tokens else None)
    start = len(source.prompt)
    return [
        InputToken(id, token_text(tokenizer, id), start + i, segment, REPLY, 0, logprob)
        for i, (id, logprob) in enumerate(zip(words, logprobs, strict=True))
    ]


def segment_names(tokenizer: Tokenizer) -> dict[int, str]:
    """Segment id → the name of its speaker, in every frame."""
    return dict(zip(tokenizer.frame.segments, (SPEAKER1, SPEAKER2), strict=True))


def token_text(tokenizer: Tokenizer, id: int) -> str:
    """What a token looks like in the middle of a text, its blank included; a control id's name.

    Empty for a token that is only a part of a character.
    """
    if name := tokenizer.control_name(id):
        return name
    # Beside a letter, since a text loses the blanks at its ends; tokens begin with theirs or end with it.
    letter = tokenizer.encode("a")[-1:]
    alone = tokenizer.decode(letter)
    if isinstance(tokenizer.stream(), WordStream):
        return tokenizer.decode([id, *letter]).removesuffix(alone)
    return tokenizer.decode([*letter, id]).removeprefix(alone)
