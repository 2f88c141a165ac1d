"""Which token follows: the processors of logits `[B, V]` in a documented order, and the samplers.

`process` applies, row by row with that row's own settings (`RowSettings`) and past (`Past`), the functions of
`convai.model.logits`:

 1. control tokens, and `<eos>` before `min_length`, get -inf: they are masked, never drawn again and again
 2. `logit_bias`                                   OpenAI's API reference
 3. `repetition_penalty`                           Keskar et al. 2019 (CTRL), section 4.1
    `frequency_penalty`, `presence_penalty`        OpenAI's API reference
 4. DRY                                            text-generation-webui, pull request 5677
 5. `ban`, of what `convai.engine.bans` finds: no n-gram twice in a reply, none of the agent's own
    earlier turns
 6. `temperature`, or dynamic temperature          (behind 12 with `temperature_last`)
 7. `top_n_sigma`                                  Tang et al. 2024, algorithm 1
 8. `top_k`                                        Fan et al. 2018, section 5.1
 9. `top_p`, the nucleus                           Holtzman et al. 2019, section 3.1
10. `min_p`                                        Nguyen et al. 2024, section 3
11. `typical`                                      Meister et al. 2022, section 3
12. XTC                                            text-generation-webui, pull request 6335

Every processor works on the distribution that the one before it left, as a list of transformers'
processors does. With temperature 0, or in beam search, a row goes through 1 to 5 alone and is greedy.

Where nothing is left: if the bans of step 5 took the last tokens of a row, they are dropped for that row
(repeating beats having nothing to say); if there is still none, the row is `<eos>`.

No row is ever influenced by another, so a reply is the same alone and in a batch.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from convai.core.errors import ConvaiError, SettingsError
from convai.core.settings import DecodingConfig
from convai.model.logits import (
    NEVER,
    Setting,
    ban,
    count_penalties,
    dynamic_temperature,
    forbid,
    min_p,
    repetition_penalty,
    shift,
    temperature,
    top_k,
    top_n_sigma,
    top_p,
    typical,
    xtc,
)


@dataclass(frozen=True, slots=True)
class Past:
    """What was said before a token, as far as it has to do with its logits.

    `seen`: tokens that count for the penalties, and how often; `bias`: what is added to the logits of tokens;
    `dry`: what DRY takes from them; `chance`: the number in [0, 1) that says whether XTC takes action: where
    it is below XTC's probability.
    """

    seen: Mapping[int, int] = field(default_factory=dict)
    bias: Mapping[int, float] = field(default_factory=dict)
    dry: Mapping[int, float] = field(default_factory=dict)
    chance: float = 0.0


NO_PAST: Final = Past()


@dataclass(frozen=True, slots=True)
class RowSettings:
    """The settings of a batch of replies, each a float64 tensor `[B]` on the CPU. Build with `stack`."""

    min_length: tuple[int, ...]
    repetition_penalty: Tensor
    frequency_penalty: Tensor
    presence_penalty: Tensor
    temperature: Tensor
    """1 where the temperature is dynamic."""
    temperature_last: Tensor
    """1 where it comes last, else 0."""
    dynatemp_low: Tensor
    dynatemp_high: Tensor
    dynatemp_exponent: Tensor
    top_n_sigma: Tensor
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor
    typical_p: Tensor
    xtc_probability: Tensor
    xtc_threshold: Tensor

    @classmethod
    def stack(cls, configs: Sequence[DecodingConfig]) -> RowSettings:
        """One row for each of `configs`; make it once and use it for every token."""
        # A greedy row is not filtered: `typical` may drop the best token, and a filter that only ran because
        # another row needs it would make the row depend on its batch.
        hot = [config.temperature > 0 and config.num_beams == 1 for config in configs]

        def every(values: Iterable[float]) -> Tensor:
            return torch.tensor(list(values), dtype=torch.float64)

        def column(values: Iterable[float], off: float) -> Tensor:
            return every(value if on else off for value, on in zip(values, hot, strict=True))

        return cls(
            min_length=tuple(c.min_length for c in configs),
            repetition_penalty=every(c.repetition_penalty for c in configs),
            frequency_penalty=every(c.frequency_penalty for c in configs),
            presence_penalty=every(c.presence_penalty for c in configs),
            temperature=column((1.0 if c.dynatemp_high else c.temperature for c in configs), 0.0),
            temperature_last=column((c.temperature_last for c in configs), 0.0),
            dynatemp_low=column((c.dynatemp_low for c in configs), 0.0),
            dynatemp_high=column((c.dynatemp_high for c in configs), 0.0),
            dynatemp_exponent=every(c.dynatemp_exponent for c in configs),
            top_n_sigma=column((c.top_n_sigma for c in configs), 0.0),
            top_k=column((c.top_k for c in configs), 0.0),
            top_p=column((c.top_p for c in configs), 1.0),
            min_p=column((c.min_p for c in configs), 0.0),
            typical_p=column((c.typical_p for c in configs), 1.0),
            xtc_probability=column((c.xtc_probability for c in configs), 0.0),
            xtc_threshold=every(c.xtc_threshold for c in configs),
        )


def check_logits(logits: Tensor) -> None:
    """Raise ConvaiError, naming the row, where a logit is not a number or plus infinity; -inf is legal."""
    _best(logits)


def _best(logits: Tensor) -> Tensor:
    best = logits.amax(-1)  # not-a-number wins every maximum
    broken = best.isnan() | (best == math.inf)
    if broken.any():
        raise ConvaiError(
            f"the model's output for row {int(broken.nonzero()[0, 0])} is not a finite number; "
            "the checkpoint is damaged or its precision too low: try float32"
        )
    return best


def process(
    logits: Tensor,
    settings: RowSettings,
    *,
    replies: Sequence[Sequence[int]],
    eos_id: int,
    forbidden: Sequence[int] | Tensor = (),
    banned: Sequence[Sequence[int]] = (),
    pasts: Sequence[Past] | None = None,
    guarded: Sequence[int] = (),
) -> Tensor:
    """A model's logits `[B, V]` as the logits `[B, V]` (float32) to draw the next token of each row from.

    The order and the fallbacks are in the module's docstring. `replies` are the tokens of each row's reply
    so far, `forbidden` the control tokens (a tensor saves the copy), `banned` what each row's n-gram bans
    say (empty: no bans), `pasts` what was said before (None: the replies alone, no bias, no DRY), `guarded`
    what XTC leaves alone beside `<eos>`. Every row of the result has a finite logit. Raises ConvaiError on
    logits that are not a number or plus infinity.
    """
    check_logits(logits)
    greedy_only = not settings.temperature.any()
    free = forbid(logits.float(), forbidden)
    early = [len(reply) < least for reply, least in zip(replies, settings.min_length, strict=True)]
    free = ban(free, [(eos_id,) if soon else () for soon in early])
    if pasts is None:
        pasts = [Past(Counter(reply)) for reply in replies]
    free = move(
        free, pasts, settings.repetition_penalty, settings.frequency_penalty, settings.presence_penalty
    )
    left = ban(free, banned) if any(banned) else free
    empty = left.amax(-1, keepdim=True) == NEVER
    if empty.any():
        only_eos = torch.full_like(free, NEVER)
        only_eos[:, eos_id] = 0.0
        last_resort = torch.where(free.amax(-1, keepdim=True) == NEVER, only_eos, free)
        left = torch.where(empty, last_resort, left)
    if greedy_only:
        return left
    last = settings.temperature_last == 1
    left = _heat(left, settings, ~last)
    left = top_n_sigma(left, settings.top_n_sigma)
    left = top_k(left, settings.top_k)
    left = top_p(left, settings.top_p)
    left = min_p(left, settings.min_p)
    left = typical(left, settings.typical_p)
    chances = torch.tensor([past.chance for past in pasts], dtype=torch.float64)
    left = xtc(left, settings.xtc_threshold, chances < settings.xtc_probability, (eos_id, *guarded))
    return _heat(left, settings, last)


def move(
    logits: Tensor, pasts: Sequence[Past], repetition: Setting, frequency: Setting, presence: Setting
) -> Tensor:
    """Steps 2 to 4 of `[B, V]`: what moves the logits of single tokens."""
    seen = [past.seen for past in pasts]
    logits = shift(logits, [past.bias for past in pasts])
    logits = repetition_penalty(logits, seen, repetition)
    logits = count_penalties(logits, seen, frequency, presence)
    return shift(logits, [{token: -amount for token, amount in past.dry.items()} for past in pasts])


def _heat(logits: Tensor, settings: RowSettings, rows: Tensor) -> Tensor:
    """The temperature of `rows` `[B]`."""
    if not rows.any():
        return logits
    logits = temperature(logits, settings.temperature.where(rows, torch.ones_like(settings.temperature)))
    high = settings.dynatemp_high.where(rows, torch.zeros_like(settings.dynatemp_high))
    return dynamic_temperature(logits, settings.dynatemp_low, high, settings.dynatemp_exponent)


def sample(logits: Tensor, generators: Sequence[torch.Generator | None]) -> Tensor:
    """Draw a token `[B]` from softmax of each row of `[B, V]`; a row whose generator is None is greedy.

    Each row takes one uniform number from its own generator (on the CPU, whatever the device) and inverts
    its own cumulative distribution: the token depends on that row's logits and generator alone. Raises
    ConvaiError where a row holds no finite logit, or one that is not a number or plus infinity.
    """
    return sample_at(logits, [None if g is None else _uniform(g) for g in generators])


def sample_at(logits: Tensor, draws: Sequence[float | None]) -> Tensor:
    """`sample` where each row's uniform number in [0, 1) has been drawn; None is greedy."""
    best = _best(logits)
    empty = best == NEVER
    if empty.any():
        raise ConvaiError(
            f"row {int(empty.nonzero()[0, 0])}: every token is forbidden, none can be drawn; loosen the bans"
        )
    if all(draw is None for draw in draws):
        return greedy(logits)
    numbers = torch.tensor([draw or 0.0 for draw in draws], dtype=torch.float64, device=logits.device)
    weights = (logits.float() - best[:, None].float()).exp()
    tokens, possible = invert(weights, numbers)
    drawn_rows = possible & torch.tensor([draw is not None for draw in draws], device=logits.device)
    return tokens if drawn_rows.all() else torch.where(drawn_rows, tokens, greedy(logits))


def invert(weights: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """The places `[B]` at which the cumulative sums of `weights` `[B, N]` pass the shares `draws` `[B]`.

    Weights of 0 change nothing, wherever they stand: what was cut from a distribution may be left out of
    `weights` (summed in float64, since float32 would round rare tokens away). The second result is false
    where the place has no weight, which a parallel sum (GPU), not monotone to the last bit, can hit.
    """
    below = weights.cumsum(-1, dtype=torch.float64)
    total = below[:, -1:]
    drawn = draws[:, None] * total
    drawn = drawn.minimum(
        total.nextafter(torch.zeros_like(total))
    )  # should the product round up to the total
    # the first place with more than `drawn` up to and including it
    places = torch.searchsorted(below, drawn, right=True)
    return places[:, 0], weights.gather(-1, places)[:, 0] > 0


def _uniform(generator: torch.Generator) -> float:
    """The next number of `generator` in [0, 1)."""
    return torch.rand((), generator=generator, dtype=torch.float64).item()


def uniforms(generator: torch.Generator, count: int) -> list[float]:
    """The next `count` numbers that a row would be given, one after another."""
    numbers: list[float] = torch.rand(count, generator=generator, dtype=torch.float64).tolist()
    return numbers


def greedy(logits: Tensor) -> Tensor:
    """The most probable token `[B]` of each row."""
    return logits.argmax(-1)


def next_tokens(
    logits: Tensor,
    settings: RowSettings,
    generators: Sequence[torch.Generator],
    *,
    replies: Sequence[Sequence[int]],
    eos_id: int,
    forbidden: Sequence[int] | Tensor = (),
    banned: Sequence[Sequence[int]] = (),
    pasts: Sequence[Past] | None = None,
    guarded: Sequence[int] = (),
) -> Tensor:
    """The next token `[B]` of each row: `process`, then `sample`; rows with temperature 0 are greedy."""
    left = process(
        logits,
        settings,
        replies=replies,
        eos_id=eos_id,
        forbidden=forbidden,
        banned=banned,
        pasts=pasts,
        guarded=guarded,
    )
    hot = settings.temperature.tolist()
    return sample(left, [g if t else None for g, t in zip(generators, hot, strict=True)])


def row_generator(seed: int | None, index: int = 0, purpose: str = "") -> torch.Generator:
    """The generator of candidate `index` of a request; None draws a fresh seed.

    What is drawn beside tokens, for a `purpose`, has numbers of its own: switched on it does not change those
    of the tokens.

    Seed and index are mixed, since torch's CPU generator uses 32 bits only and neighbouring seeds would
    share their candidates (seed 1, candidate 1 = seed 2, candidate 0).
    """
    generator = torch.Generator()
    if seed is None:
        generator.seed()
        return generator
    digest = hashlib.blake2b(f"{seed}/{index}{purpose}".encode(), digest_size=4).digest()
    return generator.manual_seed(int.from_bytes(digest, "big"))


def log_prob_of(logits: Tensor, tokens: Tensor) -> Tensor:
    """Natural log of the probability `[B]` that each row of `[B, V]` gives to its token of `tokens` `[B]`."""
    return logits.float().log_softmax(-1).gather(-1, tokens[:, None])[:, 0]


def top_alternatives(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` most probable tokens `[B, k]` of each row, best first, and their log-probabilities `[B, k]`.

    All V of them when `k` is larger. Raises SettingsError when `k` is negative.
    """
    if k < 0:
        raise SettingsError(f"top alternatives {k}: use 0 or more")
    log_probs, tokens = logits.float().log_softmax(-1).topk(min(k, logits.size(-1)))
    return tokens, log_probs
