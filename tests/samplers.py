"""What processors of logits are by their definitions: a list of numbers at a time, and nothing but loops."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

INF = math.inf


def probabilities(logits: Sequence[float]) -> list[float]:
    best = max(logits)
    weights = [math.exp(x - best) if x > -INF else 0.0 for x in logits]
    return [weight / sum(weights) for weight in weights]


def penalised(
    logits: Sequence[float], said: Sequence[int], *, repetition: float, frequency: float, presence: float
) -> list[float]:
    """CTRL's penalty, then OpenAI's two."""
    found = list(logits)
    for token in set(said):
        x = found[token]
        x = x * repetition if x < 0 else x / repetition
        found[token] = x - said.count(token) * frequency - presence
    return found


def dry_lengths(context: Sequence[int], breakers: Collection[int] = ()) -> dict[int, int]:
    """Each token that followed the last tokens of `context` before → how many of these came before it there.

    Every place is looked at, and every length tried.
    """
    found: dict[int, int] = {}
    for place in range(1, len(context)):
        token = context[place]
        if token in breakers:
            continue
        for length in range(1, place + 1):
            earlier, last = context[place - length : place], context[-length:]
            if list(earlier) != list(last) or set(last) & set(breakers):
                break
            found[token] = max(found.get(token, 0), min(length, 50))
    return found


def dry(
    logits: Sequence[float],
    context: Sequence[int],
    *,
    multiplier: float,
    base: float,
    allowed: int,
    breakers: Collection[int] = (),
    last_n: int = -1,
) -> list[float]:
    found = list(logits)
    seen = context if last_n < 0 else context[len(context) - min(last_n, len(context)) :]
    for token, length in dry_lengths(seen, breakers).items():
        if length >= allowed:
            found[token] -= multiplier * base ** (length - allowed)
    return found


def kept_by_xtc(logits: Sequence[float], threshold: float, guarded: Iterable[int]) -> set[int]:
    """The places that are left where XTC takes action."""
    there = {i for i, x in enumerate(logits) if x > -INF}
    probs = probabilities(logits)
    order = sorted(there, key=lambda i: (-probs[i], i))
    top = [i for i in order if probs[i] >= threshold]
    out = set(top[:-1])
    return there if out & set(guarded) else there - out


def kept_by_sigma(logits: Sequence[float], n: float) -> set[int]:
    there = [x for x in logits if x > -INF]
    mean = math.fsum(there) / len(there)
    sigma = math.sqrt(math.fsum((x - mean) ** 2 for x in there) / len(there))
    return {i for i, x in enumerate(logits) if x >= max(there) - n * sigma}


def dynamic(logits: Sequence[float], low: float, high: float, exponent: float) -> float:
    """The temperature of a row."""
    probs = [p for p, x in zip(probabilities(logits), logits, strict=True) if x > -INF]
    entropy = -math.fsum(p * math.log(p) for p in probs if p > 0)
    return low + (high - low) * (entropy / math.log(len(probs))) ** exponent
