"""Pure functions on logits `[B, V]` that move tokens or take them out; `convai.decoding` has their order.

A setting is one number, or a tensor `[B]` with one for each row; a row whose setting is off comes out as it
went in, bit by bit. A token is taken out by setting its logit to -inf. Each filter keeps at least one token,
and no row is ever influenced by another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from convai.core.errors import SettingsError

NEVER: Final = -math.inf
"""The logit of a token that cannot be drawn."""

Setting = float | Tensor
"""One number for all rows, or a tensor `[B]` with one for each."""

HEADS: Final = (64, 256)
"""How many of the best tokens the nucleus looks at before it sorts the whole vocabulary (30 times slower)."""

# -- single tokens ---------------------------------------------------------------------------------


def forbid(logits: Tensor, ids: Sequence[int] | Tensor) -> Tensor:
    """`[B, V]` with the tokens `ids` at -inf in every row: the control tokens that no reply may hold."""
    columns = torch.as_tensor(ids, dtype=torch.long, device=logits.device)
    return logits.index_fill(-1, columns, NEVER)


def ban(logits: Tensor, ids: Sequence[Sequence[int]]) -> Tensor:
    """`[B, V]` with the tokens `ids[row]` at -inf in each row. A row may end up empty; see `process`."""
    if not any(ids):
        return logits
    rows, columns = _cells(ids, logits.device)
    return logits.index_put((rows, columns), logits.new_tensor(NEVER))


def repetition_penalty(logits: Tensor, seen: Sequence[Collection[int]], penalty: Setting) -> Tensor:
    """Make the tokens `seen[row]` less likely: logits above 0 divided by `penalty`, below 0 multiplied.

    CTRL (Keskar et al. 2019, section 4.1), with transformers' treatment of negative logits. 1.0 is off, below
    1 encourages repetition. Raises SettingsError when a penalty is not above 0.
    """
    penalties = _setting(
        "repetition_penalty", penalty, logits, lambda p: (p > 0) & (p < math.inf), "a number above 0"
    )
    off = (penalties == 1).tolist()
    touched = [() if off[row] else set(ids) for row, ids in enumerate(seen)]
    if not any(touched):
        return logits
    rows, columns = _cells(touched, logits.device)
    values = logits[rows, columns]
    factor = penalties.to(logits.device, logits.dtype)[rows]
    return logits.index_put((rows, columns), torch.where(values < 0, values * factor, values / factor))


def count_penalties(
    logits: Tensor, seen: Sequence[Mapping[int, int]], frequency: Setting, presence: Setting
) -> Tensor:
    """Take `count * frequency + presence` from the logit of each token that was seen `count` times.

    OpenAI's API reference; text-generation-webui and llama.cpp do the same. 0 is off. Raises SettingsError
    for a penalty that is not finite.
    """
    often = _setting("frequency_penalty", frequency, logits, torch.isfinite, "a finite number").tolist()
    once = _setting("presence_penalty", presence, logits, torch.isfinite, "a finite number").tolist()
    return shift(
        logits,
        [
            {token: -(count * f + p) for token, count in counts.items() if count} if f or p else {}
            for counts, f, p in zip(seen, often, once, strict=True)
        ],
    )


def shift(logits: Tensor, amounts: Sequence[Mapping[int, float]]) -> Tensor:
    """`[B, V]` with `amounts[row]` added to the logits of single tokens: logit bias, and what DRY takes."""
    if not any(amounts):
        return logits
    rows, columns = _cells(amounts, logits.device)
    added = torch.tensor([amount for row in amounts for amount in row.values()], dtype=torch.float64)
    return logits.index_put((rows, columns), logits[rows, columns] + added.to(logits.device, logits.dtype))


# -- all of them -----------------------------------------------------------------------------------


def temperature(logits: Tensor, t: Setting) -> Tensor:
    """Divide by `t`: below 1 sharpens, above 1 flattens. 1 is off; 0 is greedy and left to the sampler.

    The best logit of a changed row is moved to 0 first, so the smallest `t` cannot overflow. Raises
    SettingsError when a temperature is negative or not finite.
    """
    rows = _setting("temperature", t, logits, _is_heat, "0 (greedy) or more")
    return _on_rows(logits, (rows != 0) & (rows != 1), _divided, rows)


def top_k(logits: Tensor, k: Setting) -> Tensor:
    """Keep the `k` best tokens, and those that tie with the last of them. 0 is off, as is `k` >= V.

    Raises SettingsError when `k` is negative or not whole.
    """
    rows = _setting("top_k", k, logits, _is_count, "0 (off) or a whole number")
    size = logits.size(-1)
    on = (rows > 0) & (rows < size)

    def cut(logits: Tensor, k: Tensor) -> Tensor:
        best = logits.topk(int(k.max())).values  # [B, max k], best first
        return logits.masked_fill(logits < best.gather(-1, k.long() - 1), NEVER)

    return _on_rows(logits, on, cut, rows)


def top_p(logits: Tensor, p: Setting) -> Tensor:
    """Nucleus: keep the smallest set of tokens, best first, whose probability reaches `p`. 1 is off.

    Holtzman et al. 2019, section 3.1. Of equally probable tokens at the edge the lower ids stay. The whole
    vocabulary is sorted only for rows whose 256 best tokens do not reach `p`. Raises SettingsError when
    `p` is not above 0 and at most 1.
    """
    rows = _setting("top_p", p, logits, _is_mass, _MASS_MEND)

    return _on_rows(logits, rows < 1, lambda logits, p: nucleus(logits, logits.softmax(-1), p), rows)


def nucleus(logits: Tensor, probs: Tensor, p: Tensor, heads: Sequence[int] = HEADS) -> Tensor:
    """`top_p` where the probabilities `[B, V]` are known; `p` is `[B, 1]`. They need not add up to 1.

    `heads`: how many of the best tokens to look at before all of them, in rising order.
    """
    last, count, tied = _edge(probs, probs, p, heads)
    keep = probs >= last
    if tied.any():
        even = probs == last
        room = count - (probs > last).sum(-1, keepdim=True)
        keep = keep & (~even | (even.cumsum(-1) <= room))
    return logits.masked_fill(~keep, NEVER)


def min_p(logits: Tensor, share: Setting) -> Tensor:
    """Keep the tokens at least `share` times as probable as the best one. 0 is off; 1 keeps the best only.

    Nguyen et al. 2024, section 3. Raises SettingsError when `share` is outside 0 to 1.
    """
    rows = _setting("min_p", share, logits, lambda s: (s >= 0) & (s <= 1), "0 (off) to 1")

    def cut(logits: Tensor, share: Tensor) -> Tensor:
        # p >= share * p_best, in logits: no softmax is needed
        return logits.masked_fill(logits < logits.amax(-1, keepdim=True) + share.log(), NEVER)

    return _on_rows(logits, rows > 0, cut, rows)


def typical(logits: Tensor, mass: Setting) -> Tensor:
    """Locally typical: keep the tokens whose surprise is nearest to the entropy, up to `mass`. 1 is off.

    Meister et al. 2022, section 3. Tokens that tie with the last are kept. Raises SettingsError when `mass`
    is not above 0 and at most 1.
    """
    rows = _setting("typical_p", mass, logits, _is_mass, _MASS_MEND)

    def cut(logits: Tensor, mass: Tensor) -> Tensor:
        log_probs = logits.log_softmax(-1)
        probs = log_probs.exp()
        entropy = -(log_probs * probs).nansum(-1, keepdim=True)  # -inf * 0 is not a number, and counts 0
        nearness = -(log_probs + entropy).abs()
        last, _, _ = _edge(nearness, probs, mass)
        return logits.masked_fill(nearness < last, NEVER)

    return _on_rows(logits, rows < 1, cut, rows)


def dynamic_temperature(logits: Tensor, low: Setting, high: Setting, exponent: Setting) -> Tensor:
    """Divide by `low + (high - low) * share ** exponent`, where `share` is the entropy by its largest value.

    The largest entropy is that of as many equally probable tokens as the row has left. A row of one token, or
    with a `high` of 0, is not touched. As text-generation-webui's DynamicTemperatureLogitsWarper.
    """
    least = _setting("dynatemp_low", low, logits, _is_heat, "0 or more")
    most = _setting("dynatemp_high", high, logits, _is_heat, "0 (off) or more")
    power = _setting("dynatemp_exponent", exponent, logits, lambda e: (e > 0) & (e < math.inf), "above 0")
    settings = torch.stack((least, most, power), -1)

    def heat(logits: Tensor, settings: Tensor) -> Tensor:
        log_probs = logits.log_softmax(-1)
        entropy = -(log_probs * log_probs.exp()).nansum(-1, keepdim=True, dtype=torch.float64)
        count = (logits > NEVER).sum(-1, keepdim=True)
        share = entropy / count.clamp(min=2).log()
        least, most, power = settings[:, 0].unbind(-1)
        t = least[:, None] + (most - least)[:, None] * share.clamp(0, 1) ** power[:, None]
        return torch.where(count > 1, _divided(logits, t), logits)

    return _on_rows(logits, most > 0, heat, settings)


def top_n_sigma(logits: Tensor, n: Setting) -> Tensor:
    """Keep the tokens whose logit is at most `n` standard deviations below the best one. 0 is off.

    Tang et al. 2024 (Top-nσ), algorithm 1; masked tokens take no part in the deviation, as in llama.cpp. A
    temperature before or behind it changes nothing. Raises SettingsError when `n` is negative or not finite.
    """
    rows = _setting("top_n_sigma", n, logits, _is_heat, "0 (off) or more")

    def cut(logits: Tensor, n: Tensor) -> Tensor:
        there = logits > NEVER
        count = there.sum(-1, keepdim=True).clamp(min=1)
        values = logits.double().masked_fill(~there, 0.0)
        mean = values.sum(-1, keepdim=True) / count
        variance = ((values - mean) ** 2).masked_fill(~there, 0.0).sum(-1, keepdim=True) / count
        best = values.masked_fill(~there, NEVER).amax(-1, keepdim=True)
        return logits.masked_fill(values < best - n * variance.sqrt(), NEVER)

    return _on_rows(logits, rows > 0, cut, rows)


def xtc(logits: Tensor, threshold: Setting, on: Tensor, guarded: Sequence[int] = ()) -> Tensor:
    """Exclude top choices: of the tokens of at least `threshold` probability only the least probable stays.

    Where `on` `[B]` is true (the caller draws that, with XTC's probability). A row that would lose one of
    `guarded`, the end of the reply and the line end, is not touched. Of equally probable ones the last id
    stays. As its author defined it in text-generation-webui (XTCLogitsWarper, pull request 6335).
    """
    rows = _setting("xtc_threshold", threshold, logits, lambda t: (t >= 0) & (t <= 1), "0 to 1")

    def cut(logits: Tensor, threshold: Tensor) -> Tensor:
        top = (logits.softmax(-1) >= threshold) & (logits > NEVER)
        least = logits.masked_fill(~top, math.inf).amin(-1, keepdim=True)
        even = top & (logits == least)
        last = even & (even.cumsum(-1) == even.sum(-1, keepdim=True))
        out = top & ~last
        spared = out[:, list(guarded)].any(-1, keepdim=True)
        return logits.masked_fill(out & ~spared, NEVER)

    return _on_rows(logits, on, cut, rows)


_MASS_MEND: Final = "a number above 0, up to 1 (off)"


def _divided(logits: Tensor, t: Tensor) -> Tensor:
    """`[B, V]` divided by temperatures `[B, 1]`, the best logit moved to 0."""
    best = logits.amax(-1, keepdim=True)
    # the smallest temperatures would round to 0, and 0 / 0 is no number
    divisor = t.clamp(min=torch.finfo(logits.dtype).tiny).to(logits.dtype)
    return (logits - best.masked_fill(best == NEVER, 0.0)) / divisor


def _is_heat(t: Tensor) -> Tensor:
    return (t >= 0) & (t < math.inf)


def _is_count(k: Tensor) -> Tensor:
    return (k >= 0) & (k < math.inf) & (k == k.floor())


def _is_mass(p: Tensor) -> Tensor:
    return (p > 0) & (p <= 1)


def _setting(
    name: str, value: Setting, logits: Tensor, legal: Callable[[Tensor], Tensor], mend: str
) -> Tensor:
    """`value` as a float64 tensor `[B]`, every entry of which is legal, or SettingsError."""
    rows = torch.as_tensor(value, dtype=torch.float64)
    wrong = ~legal(rows)  # not-a-number fails every comparison
    if wrong.any():
        raise SettingsError(f"{name}={rows[wrong].flatten()[0].item():g}: use {mend}")
    return rows.expand(logits.size(0))


def _on_rows(logits: Tensor, on: Tensor, cut: Callable[[Tensor, Tensor], Tensor], setting: Tensor) -> Tensor:
    """Apply `cut(logits [n, V], setting [n, 1])` to the rows where `on` [B]; the others are not touched."""
    if not on.any():
        return logits
    if on.all():
        return cut(logits, setting[:, None].to(logits.device))
    rows = on.nonzero()[:, 0]
    changed = cut(logits[rows.to(logits.device)], setting[rows, None].to(logits.device))
    return logits.index_copy(0, rows.to(logits.device), changed)


def _edge(
    key: Tensor, probs: Tensor, p: Tensor, heads: Sequence[int] = HEADS
) -> tuple[Tensor, Tensor, Tensor]:
    """Where to cut when tokens are taken by falling `key` until their `probs` add up to `p` `[B, 1]`.

    Returns the key of the last token taken, how many are taken, and whether others may have the same key,
    all `[B, 1]`. Looks at the `heads` best tokens, and at more only in rows where they do not reach `p`.
    """
    first, *more = (*heads, key.size(-1))
    last, count, tied, reached = _take(key, probs, p, first)
    for width in more:
        if reached.all():
            break
        far = (~reached[:, 0]).nonzero()[:, 0]
        near = key[far]
        wider = _take(near, near if key is probs else probs[far], p[far], width)
        last, count, tied, reached = (
            old.index_copy(0, far, new) for old, new in zip((last, count, tied, reached), wider, strict=True)
        )
    return last, count, tied


def _take(key: Tensor, probs: Tensor, p: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`_edge` among the `width` best tokens, and whether they reach `p` (the whole vocabulary does)."""
    whole = width >= key.size(-1)
    if whole and key is probs:
        keys = _sorted(key)
        taken = keys.cumsum(-1, dtype=torch.float64)
    else:
        keys, ids = key.sort(descending=True) if whole else key.topk(width)
        taken = probs.gather(-1, ids).cumsum(-1, dtype=torch.float64)
    count = ((taken < p).sum(-1, keepdim=True) + 1).clamp(max=keys.size(-1))
    last = keys.gather(-1, count - 1)
    following = keys.gather(-1, count.clamp(max=keys.size(-1) - 1))  # the last token itself at the very end
    tied = following == last
    reached = (taken[:, -1:] >= p) | whole
    return last, count, tied, reached


def _sorted(values: Tensor) -> Tensor:
    """Rows of `values` in falling order. Without the places, which numpy sorts 30 times faster than torch."""
    if values.device.type != "cpu" or values.dtype != torch.float32 or values.requires_grad:
        return values.sort(descending=True).values
    return torch.from_numpy(-np.sort(-values.numpy(), -1))


def _cells(ids: Sequence[Collection[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Row and column numbers of all the tokens in `ids`, one list a row."""
    rows = [row for row, columns in enumerate(ids) for _ in columns]
    columns = [column for columns in ids for column in columns]
    return torch.tensor(rows, device=device), torch.tensor(columns, device=device)
