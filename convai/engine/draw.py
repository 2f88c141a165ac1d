"""The next token of every row of a batch at once, each with its own settings: `convai.decoding`, fast.

Most replies are drawn with a temperature and a nucleus alone, some with the logits of a few tokens moved
before that (penalties, DRY, bias). For such rows the whole vocabulary is read a few times and never sorted:
the nucleus is found among the 64 best tokens, then among the 256 best, and only where it is larger in all of
them. The tokens are those of `convai.decoding.next_tokens`, exactly.
A PlainDraw can take the place of that: the same up to rounding, where it takes no torch call to draw a token.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor

from convai.core.settings import DecodingConfig
from convai.decoding import Past, RowSettings, invert, move, process, sample_at
from convai.model.logits import HEADS, nucleus

BROKEN: Final = -1
"""Stands for the token of a row whose logits are not numbers."""

EMPTY: Final = -2
"""Stands for the token of a row whose bans leave none."""

_GROUPS: Final = 16
"""Tokens a group: the best tokens are looked for in the groups whose best token is among the best ones."""


class PlainDraw(Protocol):
    """Draws rows with temperature and nucleus alone."""

    def __call__(
        self,
        logits: Tensor,
        temperatures: Sequence[float],
        masses: Sequence[float],
        draws: Sequence[float],
        banned: Sequence[Sequence[int]],
        forbidden: Tensor,
    ) -> tuple[list[int], list[float]]:
        """Tokens (or BROKEN, or EMPTY) and log-probabilities of the rows of `logits` `[B, V]`.

        `logits` are float32 on the CPU, row after row, and are left as they were. The rest is as in
        `draw_tokens`.
        """


def is_plain(config: DecodingConfig) -> bool:
    """Whether a reply is drawn with temperature and nucleus alone.

    Bans, a least length and what moves the logits of single tokens are no matter.
    """
    return (
        config.temperature > 0
        and config.top_p < 1
        and config.num_beams == 1
        and not config.dynatemp_high
        and not config.top_n_sigma
        and config.top_k == 0
        and config.min_p == 0
        and config.typical_p == 1
        and not config.xtc_probability
        and not config.temperature_last
    )


def _is_moved(config: DecodingConfig, past: Past) -> bool:
    """Whether the logits of single tokens are moved."""
    penalties = config.repetition_penalty != 1 or config.frequency_penalty or config.presence_penalty
    return bool(past.bias or past.dry or (penalties and past.seen))


def draw_tokens(
    logits: Tensor,
    configs: Sequence[DecodingConfig],
    draws: Sequence[float],
    *,
    replies: Sequence[Sequence[int]],
    eos_id: int,
    forbidden: Tensor,
    banned: Sequence[Sequence[int]],
    pasts: Sequence[Past] | None = None,
    guarded: Sequence[int] = (),
    plain_draw: PlainDraw | None = None,
) -> tuple[list[int], list[float]]:
    """The next token of each row of `logits` `[B, V]` (float32, overwritten), and its log-probability.

    The token is what `next_tokens` gives where the row's generator gives `draws[row]`, or BROKEN where the
    row has a logit that is not a number or plus infinity. The log-probability is the model's own, before
    any setting. `forbidden` are ids `[F]` on the device of the logits; the rest as in `process`.
    """
    if pasts is None:
        pasts = [Past(Counter(reply)) for reply in replies]
    plain = [row for row, config in enumerate(configs) if is_plain(config)]
    others = [row for row, config in enumerate(configs) if not is_plain(config)]
    tokens, log_probs = [BROKEN] * len(configs), [math.nan] * len(configs)
    moved = [row for row in plain if _is_moved(configs[row], pasts[row])]
    before = logits[moved] if moved else None
    if before is not None:
        logits[moved] = _moved(before, [configs[row] for row in moved], [pasts[row] for row in moved])

    def ends(row: int) -> Sequence[int]:
        early = len(replies[row]) < configs[row].min_length
        return (*banned[row], eos_id) if early else banned[row]

    def wished(rows: Sequence[int]) -> tuple[list[float], list[float], list[float], list[Sequence[int]]]:
        heat, mass = [configs[row].temperature for row in rows], [configs[row].top_p for row in rows]
        return heat, mass, [draws[row] for row in rows], [ends(row) for row in rows]

    if plain and plain_draw is not None:
        picked = logits if not others else logits[plain]
        for row, token, value in zip(plain, *plain_draw(picked, *wished(plain), forbidden), strict=True):
            if token == EMPTY or (token == BROKEN and row in moved):
                others.append(row)
            else:
                tokens[row], log_probs[row] = token, value
        plain = []
    if not (plain or others or moved):
        return tokens, log_probs
    log_total = logits.logsumexp(-1)
    if before is not None:
        log_total[moved] = before.logsumexp(-1)
    sound = log_total.isfinite().tolist()
    plain, others = [row for row in plain if sound[row]], [row for row in others if sound[row]]

    def settle(rows: Sequence[int], found: Tensor, values: Tensor) -> None:
        own = log_total if len(rows) == len(configs) else log_total[rows]
        for row, token, value in zip(rows, found.tolist(), (values - own).tolist(), strict=True):
            tokens[row], log_probs[row] = token, value

    if plain:
        picked = logits if len(plain) == len(configs) else logits[plain]
        settle(plain, *_draw_plain(picked, *wished(plain), forbidden))
        # where nothing is left, the processors know what to do
        others += [row for row in plain if tokens[row] == BROKEN]
    if before is not None:
        logits[moved] = before  # the probabilities that are told are the model's own
        drawn = [row for row in moved if tokens[row] != BROKEN]
        found = torch.tensor([tokens[row] for row in drawn], dtype=torch.long, device=logits.device)
        settle(drawn, found, logits[drawn].gather(-1, found[:, None])[:, 0])
    if others:
        picked = logits[others]
        own = [configs[row] for row in others]
        left = process(
            picked,
            RowSettings.stack(own),
            replies=[replies[row] for row in others],
            eos_id=eos_id,
            forbidden=forbidden,
            banned=[banned[row] for row in others],
            pasts=[pasts[row] for row in others],
            guarded=guarded,
        )
        hot = [
            draws[row] if config.temperature > 0 and config.num_beams == 1 else None
            for row, config in zip(others, own, strict=True)
        ]
        found = sample_at(left, hot)
        settle(others, found, picked.gather(-1, found[:, None])[:, 0])
    return tokens, log_probs


def _moved(logits: Tensor, configs: Sequence[DecodingConfig], pasts: Sequence[Past]) -> Tensor:
    """`logits` with those of single tokens moved: penalties, DRY, bias."""
    penalties = [(c.repetition_penalty, c.frequency_penalty, c.presence_penalty) for c in configs]
    return move(logits, pasts, *torch.tensor(penalties, dtype=torch.float64).unbind(-1))


def _draw_plain(
    logits: Tensor,
    temperatures: Sequence[float],
    masses: Sequence[float],
    draws: Sequence[float],
    banned: Sequence[Sequence[int]],
    forbidden: Tensor,
) -> tuple[Tensor, Tensor]:
    """Tokens `[B]` (BROKEN where the bans leave none) and their logits `[B]`; `logits` are masked in place.

    Each step is that of `convai.decoding`, so that every number is the same to the last bit.
    """
    device = logits.device
    cells = [(row, token) for row, tokens in enumerate(banned) for token in tokens]
    rows, columns = torch.tensor(cells, device=device).T if cells else (None, None)
    if cells:
        kept = logits[rows, columns]
        logits[rows, columns] = -math.inf
    logits.index_fill_(-1, forbidden, -math.inf)
    best = logits.amax(-1, keepdim=True)
    empty = best[:, 0] == -math.inf
    some_empty = bool(empty.any())
    # one tensor for all numbers: on small rows the number of calls is what takes time
    settings = torch.tensor([temperatures, masses, draws], dtype=torch.float64, device=device)
    heat, mass = settings[:2, :, None]
    numbers = settings[2]
    scaled = (logits - best).div_(heat.clamp(min=torch.finfo(logits.dtype).tiny).to(logits.dtype))
    if some_empty:
        scaled.masked_fill_(empty[:, None], 0.0)
    probs = scaled.softmax(-1)
    tokens, open_rows = _from_head(scaled, probs, mass, numbers, HEADS[0])
    for width in (*HEADS[1:], logits.size(-1)):
        if open_rows is None:
            break
        rest = open_rows
        tokens[rest], still_open = _from_head(scaled[rest], probs[rest], mass[rest], numbers[rest], width)
        open_rows = None if still_open is None else rest[still_open]
    if some_empty:
        tokens = tokens.masked_fill(empty, 0)
    values = logits.gather(-1, tokens[:, None])[:, 0]
    if some_empty:
        tokens = tokens.masked_fill(empty, BROKEN)
        if cells:
            logits[rows, columns] = kept
    return tokens, values


def _from_head(
    scaled: Tensor, probs: Tensor, mass: Tensor, draws: Tensor, width: int
) -> tuple[Tensor, Tensor | None]:
    """A token `[B]` of each row's nucleus, looked for among the `width` best tokens.

    Also the rows whose nucleus is larger, or may go on among equals; None where there are none.
    """
    if width >= probs.size(-1):
        cut = nucleus(scaled, probs, mass, heads=())
        places, possible = invert(cut.exp(), draws)
        return torch.where(possible, places, cut.argmax(-1)), None
    keys, ids = _best(probs, width)
    taken = keys.cumsum(-1, dtype=torch.float64)
    count = (taken < mass).sum(-1, keepdim=True) + 1
    last = keys.gather(-1, count.clamp(max=width) - 1)
    # the last one kept must have no equal beyond what is looked at: of equals the lower ids are kept
    exact = ((taken[:, -1:] >= mass) & (keys[:, -1:] < last))[:, 0]
    ids, order = ids.sort(-1)
    keys = keys.gather(-1, order)
    above, even = keys > last, keys == last
    keep = above | (even & (even.cumsum(-1) <= count - above.sum(-1, keepdim=True)))
    places, possible = invert(scaled.gather(-1, ids).exp() * keep, draws)
    tokens = ids.gather(-1, places[:, None])[:, 0]
    if not possible.all():
        tokens = torch.where(possible, tokens, scaled.argmax(-1))
    return tokens, None if exact.all() else (~exact).nonzero()[:, 0]


def _best(probs: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The `width` largest of `probs` `[B, V]`, in falling order, and their places.

    The tokens are dealt into groups. The `width` groups with the largest best tokens hold the `width` largest
    tokens of all, since each group outside them is beaten by so many best tokens. Of equals any may be taken.
    """
    size = probs.size(-1)
    groups = size // _GROUPS
    if groups <= width:
        best = probs.topk(width)
        return best.values, best.indices
    dealt = groups * _GROUPS
    top = _largest(probs[:, :dealt].unflatten(-1, (_GROUPS, groups)).amax(-2), width)
    ids = (top[:, None] + _steps(groups, probs.device)).flatten(1)
    if dealt < size:
        rest = torch.arange(dealt, size, device=probs.device).expand(len(probs), -1)
        ids = torch.cat([ids, rest], -1)
    values = probs.gather(-1, ids)
    places = _largest(values, width)
    values, order = values.gather(-1, places).sort(-1, descending=True)
    return values, ids.gather(-1, places.gather(-1, order))


@cache
def _steps(groups: int, device: torch.device) -> Tensor:
    """`[_GROUPS, 1]`: how far the tokens of a group are from its first one."""
    return torch.arange(0, groups * _GROUPS, groups, device=device)[:, None]


def _largest(values: Tensor, count: int) -> Tensor:
    """Places `[B, count]` of the largest of `values` `[B, N]`, in any order."""
    if values.device.type != "cpu":
        return values.topk(count, sorted=False).indices
    # several times faster than torch's on a processor
    size = values.size(-1)
    return torch.from_numpy(np.argpartition(values.numpy(), size - count, -1)[:, size - count :])
