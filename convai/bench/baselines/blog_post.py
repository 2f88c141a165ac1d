"""The blog post's way to answer: the whole sequence computed again for every token, one person at a time.

`sample_token`, `build_input` and `top_filtering` do what the functions of transfer-learning-conv-ai
(interact.py, train.py; Wolf 2019) do, on today's transformers: for each token the input is built from
persona, history and the reply so far, the model computes logits for every place of it without a cache, and
the last place's are filtered and drawn from. Kept as the baseline of `convai bench decode` and
`convai bench concurrency`.

Two things differ. A turn carries its speaker, where the original counts parities (persona and history
disagree there once a history is trimmed to an even length); special tokens that are not wanted are masked,
where the original draws again until it gets another, which can take for ever. Neither changes the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the control tokens that an input is built with, and of all that a reply may not hold."""

    bos: int
    speaker1: int
    speaker2: int
    forbidden: tuple[int, ...]


@dataclass(frozen=True)
class Settings:
    """interact.py's options; `temperature` 0 is its --no_sample."""

    max_length: int = 20
    temperature: float = 0.7
    top_k: int = 0
    top_p: float = 0.9


Turn = tuple[int, Sequence[int]]
"""The id of the speaker's token, and the words."""


def build_input(
    special: SpecialIds, persona: Sequence[Sequence[int]], history: Sequence[Turn], reply: Sequence[int]
) -> tuple[list[int], list[int]]:
    """`build_input_from_segments` without labels: word ids and token type ids of everything said so far."""
    first = [special.bos, *(word for sentence in persona for word in sentence)]
    sequence = [(special.speaker2, first)]
    sequence += [(speaker, [speaker, *words]) for speaker, words in history]
    sequence += [(special.speaker2, [special.speaker2, *reply])]
    words = [word for _, part in sequence for word in part]
    types = [speaker for speaker, part in sequence for _ in part]
    return words, types


def top_filtering(logits: Tensor, top_k: int = 0, top_p: float = 0.9) -> Tensor:
    """Logits `[V]` with -inf for what is outside the top k and outside the nucleus; changes its input."""
    top_k = min(top_k, logits.size(-1))
    if top_k > 0:
        logits[logits < torch.topk(logits, top_k)[0][..., -1, None]] = -float("inf")
    if top_p > 0.0:
        sorted_logits, sorted_indices = torch.sort(logits, descending=True)
        cumulative = torch.cumsum(F.softmax(sorted_logits, dim=-1), dim=-1)
        outside = cumulative > top_p
        # shifted right, so that the first token above the threshold is kept
        outside[..., 1:] = outside[..., :-1].clone()
        outside[..., 0] = False
        logits[sorted_indices[outside]] = -float("inf")
    return logits


@torch.no_grad()
def sample_token(
    model: Any,
    special: SpecialIds,
    persona: Sequence[Sequence[int]],
    history: Sequence[Turn],
    reply: Sequence[int],
    settings: Settings,
) -> int:
    """The token that follows `reply`: one turn of the loop of its `sample_sequence`."""
    words, types = build_input(special, persona, history, reply)
    input_ids = torch.tensor(words).unsqueeze(0)
    token_type_ids = torch.tensor(types).unsqueeze(0)
    logits = model(input_ids=input_ids, token_type_ids=token_type_ids, use_cache=False).logits
    last = logits[0, -1, :]
    last[list(special.forbidden)] = -float("inf")
    if settings.temperature == 0:
        return int(last.argmax())
    last = top_filtering(last / settings.temperature, settings.top_k, settings.top_p)
    return int(torch.multinomial(F.softmax(last, dim=-1), 1))
