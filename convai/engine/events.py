"""What a running reply tells its reader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Token:
    """One more token of candidate `candidate`, as it is drawn.

    `text` is what it adds to the reply: empty while a character is incomplete. `logprob` is the natural
    log of the probability that the model itself gave it, before temperature and the rest.
    `alternatives` are the most probable tokens at this place as (text, logprob), best first, among those
    that a reply may hold; the end of the reply has no text.
    """

    candidate: int
    id: int
    text: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """Candidate `candidate` is complete.

    `ids` without the <eos>; `text` is the whole reply: the texts of its Token events, and behind them what
    a decoder held back to the end. `logprob` is summed over the ids, and over the <eos> where the model
    drew it; `score` is the next-sentence head's (a logit: higher is a better reply to this history).
    `reason`: "stop" when the model ended the reply, "length" when max_length or the model's positions did.
    """

    candidate: int
    ids: tuple[int, ...]
    text: str
    logprob: float
    score: float
    reason: Literal["stop", "length"]


Event = Token | Finished
