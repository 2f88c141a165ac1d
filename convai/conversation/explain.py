"""Why a reply was given: the exact input of the model, token by token, the candidates and their scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from convai.core.dialog import AGENT
from convai.core.settings import DecodingConfig
from convai.engine import Finished, Token
from convai.text.detokenizer import WordStream
from convai.text.frames import Frame
from convai.text.segments import EncodedTurn, Prompt
from convai.text.tokenizer import SPEAKER1, SPEAKER2, Tokenizer

Part = Literal["persona", "history", "reply"]


@dataclass(frozen=True, slots=True)
class Row:
    """One token of the model's input. `item` counts the sentences, or turns, of its part from 0.

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
    `decoding.seed` is the seed that this reply was drawn with.
    """

    rows: tuple[Row, ...]
    candidates: tuple[Finished, ...]
    chosen: int | None
    decoding: DecodingConfig
    left_out: int


@dataclass(frozen=True, slots=True)
class Input:
    """A prompt and what it was built from."""

    prompt: Prompt
    persona: Sequence[Sequence[int]]
    turns: Sequence[EncodedTurn]
    left_out: int


def input_rows(tokenizer: Tokenizer, source: Input) -> list[Row]:
    """The rows of a prompt, up to the speaker token after which the reply begins, or what it goes on from."""
    prompt, names = source.prompt, segment_names(tokenizer)
    return [
        Row(id, token_text(tokenizer, id), position, names[segment], part, item)
        for id, position, segment, (part, item) in zip(
            prompt.ids, prompt.positions, prompt.segments, _items(tokenizer.frame, source), strict=True
        )
    ]


def _items(frame: Frame, source: Input) -> Iterator[tuple[Part, int]]:
    """Of every token of a prompt the part and the sentence, or turn, that it belongs to."""
    persona, turns, total = bool(source.persona), source.turns, len(source.prompt)
    before, behind = frame.around_persona(persona, turns[0].speaker if turns else AGENT)
    sizes: list[tuple[Part, int, int]] = [("persona", 0, len(before))]
    for number, sentence in enumerate(source.persona):
        sizes.append(("persona", number, len(sentence) + (len(frame.separator) if number else 0)))
    sizes.append(("persona", max(len(source.persona) - 1, 0), len(behind)))
    for number, turn in enumerate(turns):
        opening = frame.opening(turn.speaker, behind_persona=persona and not number)
        closing = frame.closings[turn.speaker]
        sizes.append(("history", number, len(opening) + len(turn.ids) + len(closing)))
    sizes.append(("reply", 0, total - sum(size for _, _, size in sizes)))
    return ((part, item) for part, item, size in sizes for _ in range(size))


def reply_rows(
    tokenizer: Tokenizer, source: Input, ids: Sequence[int], tokens: Sequence[Token], end: Finished | None
) -> list[Row]:
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
        Row(id, token_text(tokenizer, id), start + i, segment, "reply", 0, logprob)
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
