"""The learning rate's course over the steps, and its share in each layer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from convai.core.settings import TrainConfig
from convai.model.families import block_number

SLANT: Final = 32.0
"""How many times smaller the slanted triangle's ends are than its peak (Howard & Ruder 2018, §3.2)."""


def rate_factor(step: int, total: int, config: TrainConfig) -> float:
    """Share of the peak learning rate at `step` (from 0) of `total`: a function of the step alone.

    Warm-up rises linearly from the first step; then `linear` falls to 0 at the end, `trapezoid` stays and
    falls over the last fifth (Hägele et al. 2024, arXiv 2405.18392). `slanted` is ULMFiT's triangle, from
    1/SLANT of the peak up to it and back (Howard & Ruder 2018, arXiv 1801.06146, §3.2, equation 3, with
    `config.warmup` as its cut_frac).
    """
    if config.schedule == "slanted":
        return _slanted(step, total, config.warmup)
    warmup = round(config.warmup * total)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    begin = warmup if config.schedule == "linear" else max(warmup, round(0.8 * total))
    if step < begin:
        return 1.0
    return max(0.0, (total - step) / max(1, total - begin))


def _slanted(step: int, total: int, cut_frac: float) -> float:
    cut = int(total * cut_frac)
    p = step / cut if step < cut else 1 - (step - cut) / max(1, total - cut)
    return (1 + max(0.0, p) * (SLANT - 1)) / SLANT


def n_blocks(names: Iterable[str]) -> int:
    """How many blocks the parameters called `names` have."""
    return 1 + max((number for number in map(block_number, names) if number is not None), default=-1)


def depth(name: str, blocks: int) -> int:
    """How far below the top of a model of so many `blocks` the parameter `name` lies.

    0: the last block with what lies above it (the final norm, the next-sentence head); one more each block
    below; `blocks`: the embeddings, the word embedding among them though it serves as output layer too.
    """
    if (number := block_number(name)) is not None:
        return blocks - 1 - number
    return blocks if re.search(r"(?:^|\.)w[tp]e\.", name) else 0
