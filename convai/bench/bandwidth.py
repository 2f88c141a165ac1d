"""How fast this machine's memory is, and how near to that a decoding step comes.

A step of one chat reads every weight once, so bytes of weights divided by the bandwidth is the least time
that it can take; many chats share the reading.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch

from convai.model.shape import Shape

BYTES_A_WEIGHT: Final = {"float32": 4.0, "bf16": 2.0, "f16": 2.0, "int8": 1.0, "q8_0": 34 / 32}
"""q8_0 keeps a half-precision scale for every 32 weights."""


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Bytes a second: of a copy, what is read and what is written counted both, and of reading alone."""

    copy: float
    read: float

    @property
    def best(self) -> float:
        return max(self.copy, self.read)


def measure_bandwidth(threads: int, megabytes: int = 512, seconds: float = 2.0) -> Bandwidth:
    """The best of repeated copies and readings of `megabytes`, far more than the caches hold."""
    torch.set_num_threads(threads)
    rows, columns = megabytes * 128, 2048  # float32: 8 KiB a row
    source = torch.ones(rows, columns)
    target = torch.empty_like(source)
    vector, sums = torch.ones(columns), torch.empty(rows)
    size = source.numel() * source.element_size()
    copied = _best(lambda: target.copy_(source), seconds / 2)
    read = _best(lambda: torch.mv(source, vector, out=sums), seconds / 2)
    return Bandwidth(2 * size / copied, size / read)


def _best(work: Callable[[], object], seconds: float) -> float:
    """The shortest time of `work` within about `seconds`, after one try to warm up."""
    work()
    best = float("inf")
    end = time.monotonic() + seconds
    while time.monotonic() < end or best == float("inf"):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def bytes_a_step(config: Shape, precision: str) -> float:
    """Bytes of weights that one decoding step reads: the blocks' matrices and the output's.

    Biases, norms, and the keys and values of the chat are left out: they are a hundredth of it.
    """
    heads = 2 * config.n_head + 2 * config.kv_heads  # queries and projection; keys and values
    inner = (3 if config.rotary else 2) * config.inner_size
    blocks = config.n_layer * config.n_embd * (heads * config.head + inner)
    return BYTES_A_WEIGHT[precision] * (blocks + config.vocab_size * config.n_embd)


def share_of_limit(config: Shape, precision: str, tokens_a_second: float, bandwidth: Bandwidth) -> float:
    """The part of `bandwidth` that decoding one chat at this rate uses; above 1 where caches hold all."""
    return tokens_a_second * bytes_a_step(config, precision) / bandwidth.best
