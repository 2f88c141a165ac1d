"""Which number type a processor computes fastest in: what `auto` means."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import torch


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The type that mixed precision computes in, or None for float32.

    `auto` takes bfloat16 on GPUs that have it (float16 on older ones) and on processors where it is the
    faster type (`bf16_pays`), float32 elsewhere.
    """
    if precision == "bf16":
        return torch.bfloat16
    if precision == "fp16":
        return torch.float16
    if precision == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        if device.type == "cpu" and bf16_pays():
            return torch.bfloat16
    return None


def settled(precision: str, device: torch.device) -> str:
    """`precision` with `auto` replaced by what it stands for here and now: float32, bf16 or fp16.

    A run that goes on, and every process of a joint one, has to compute in the type that it began with, and
    the answer is partly a matter of timing.
    """
    return {None: "float32", torch.bfloat16: "bf16", torch.float16: "fp16"}[autocast_dtype(precision, device)]


@functools.cache
def bf16_pays() -> bool:
    """Whether this processor multiplies matrices faster in bfloat16 than in float32.

    The instruction set does not tell: with AMX bfloat16 is 4 times as fast, but the AVX-512 BF16
    instructions alone were half as fast as float32 on a Xeon of 2023 whose AMX a hypervisor hid. So where
    only those are found both are tried once, which takes some 50 ms.
    """
    if torch.cpu._is_amx_tile_supported():
        return True
    if not torch.cpu._is_avx512_bf16_supported():
        return False
    return _product_seconds(torch.bfloat16) < 0.8 * _product_seconds(torch.float32)


def _product_seconds(dtype: torch.dtype, clock: Callable[[], float] = time.perf_counter) -> float:
    """The best time of a few products of the size of a small model's layer, in seconds."""
    x, weight = torch.ones(1024, 512, dtype=dtype), torch.ones(512, 512, dtype=dtype)
    best = float("inf")
    for _ in range(4):
        started = clock()
        torch.mm(x, weight)
        best = min(best, clock() - started)
    return best
