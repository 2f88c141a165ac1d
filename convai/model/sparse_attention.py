"""Attention in blocks of queries, each over the keys that one of its queries sees; for training on CPUs.

A dialogue with its distractors as branches of one row allows an eighth of all pairs: a branch sees what stood
before it, and itself. A causal row allows half of them. torch's fused kernel computes them all, or keeps
nothing of its forward pass and computes the products again. Only pairs that no query of a block may see are
left out here, so the result is the same but for the order of sums. In float32 or, under autocast, in its
type; the query heads that share a key-value head are multiplied with it at once.

Forward and backward on one core with AVX-512 (9 heads of 64, float32, branches of 14 tokens, fused / in
blocks): 65 / 39 ms for 2 rows of 640, 129 / 66 ms for one of 1,300, 36 / 30 ms for 4 of 320. Causal, 2 rows
of 640 on a core that has AVX-512 BF16: 79 / 57 ms in float32, 83 / 40 ms in bfloat16.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

BLOCK: Final = 64
"""Queries in a block: fewer need fewer keys, and make smaller products."""
WORTH: Final = 0.6
"""Share of all keys, in the mean of the blocks, up to which blocks are faster."""
_ROUND: Final = 32
"""Keys of a block are made a multiple of it: products have to be prepared for each new size."""


class _Block(NamedTuple):
    """Queries `at` of a row and the keys that one of them sees: the first ones, or some `[S]`.

    `bias` `[queries, last]`: 0 where a query sees the key, -inf elsewhere, for the last of the keys.
    """

    row: int
    at: slice
    keys: slice | Tensor
    bias: Tensor


def worth_blocks(mask: Tensor) -> bool:
    """Whether `mask` `[B, 1, T, T]` lets little enough through for blocks to be faster."""
    return bool(_plan(mask))


def attend_in_blocks(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention `[B, H, T, D]` of `q` over `k` and `v` `[B, H or fewer, T, D]` under `mask` `[B, 1, T, T]`,
    which is `worth_blocks`; None: causal.

    A query that sees nothing gets 0.
    """
    if torch.is_autocast_enabled("cpu"):
        # once, here: autocast is off in a backward pass, which would meet products of the other type
        kind = torch.get_autocast_dtype("cpu")
        q, k, v = q.to(kind), k.to(kind), v.to(kind)
    blocks = _causal(len(q), q.shape[2]) if mask is None else _plan(mask)
    attended: Tensor = _InBlocks.apply(q, k, v, blocks)  # type: ignore[no-untyped-call]
    return attended


class _InBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, blocks: list[_Block]) -> Tensor:
        heads, shared, size = q.shape[1], k.shape[1], q.shape[3]
        scaled = q * size**-0.5
        out = torch.zeros(q.shape, dtype=q.dtype)
        weights = []
        for row, at, keys, bias in blocks:
            some_q = scaled[row, :, at].reshape(shared, -1, size)
            scores = torch.bmm(some_q, _of(k, row, keys).transpose(1, 2))
            last = scores.view(heads, -1, scores.shape[2])[:, :, -bias.shape[1] :]
            last += bias.to(q.dtype)
            # a query without keys: exp(-inf) / 0
            share = scores.softmax(-1).nan_to_num_(0.0) if isinstance(keys, Tensor) else scores.softmax(-1)
            out[row, :, at] = torch.bmm(share, _of(v, row, keys)).view(heads, -1, size)
            weights.append(share)
        ctx.blocks = blocks
        ctx.save_for_backward(scaled, k, v, *weights)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        scaled, k, v, *weights = ctx.saved_tensors
        heads, shared, size = scaled.shape[1], k.shape[1], scaled.shape[3]
        dq = torch.zeros_like(scaled)
        # sums over many blocks: kept in float32 where what is summed is shorter
        dk, dv = torch.zeros(k.shape), torch.zeros(v.shape)
        gradient = gradients[0].to(scaled.dtype)
        for (row, at, keys, _), share in zip(ctx.blocks, weights, strict=True):
            dy = gradient[row, :, at].reshape(shared, -1, size)
            _add(dv, row, keys, torch.bmm(share.transpose(1, 2), dy))
            d_share = torch.bmm(dy, _of(v, row, keys).transpose(1, 2))
            d_scores = torch._softmax_backward_data(d_share, share, -1, share.dtype)
            dq[row, :, at] = torch.bmm(d_scores, _of(k, row, keys)).view(heads, -1, size)
            some_q = scaled[row, :, at].reshape(shared, -1, size)
            _add(dk, row, keys, torch.bmm(d_scores.transpose(1, 2), some_q))
        return dq.mul_(size**-0.5), dk.to(k.dtype), dv.to(v.dtype), None


def _of(x: Tensor, row: int, keys: slice | Tensor) -> Tensor:
    return x[row, :, keys] if isinstance(keys, slice) else x[row].index_select(1, keys)


def _add(sums: Tensor, row: int, keys: slice | Tensor, part: Tensor) -> None:
    if isinstance(keys, slice):
        sums[row, :, keys] += part
    else:
        sums[row].index_add_(1, keys, part.float())


# -- which blocks there are ----------------------------------------------------------------------------

_plans: WeakIdKeyDictionary = WeakIdKeyDictionary()
"""Mask -> its blocks: every layer asks for the same."""


def _causal(rows: int, length: int) -> list[_Block]:
    bias = _bias(torch.ones(BLOCK, BLOCK, dtype=torch.bool).tril())
    blocks = []
    for start in range(0, length, BLOCK):
        stop = min(start + BLOCK, length)
        part = bias[: stop - start, : stop - start]
        blocks += [_Block(row, slice(start, stop), slice(stop), part) for row in range(rows)]
    return blocks


def _plan(mask: Tensor) -> list[_Block]:
    """The blocks of `mask` `[B, 1, T, T]`; none where that many keys are needed that they gain nothing."""
    found: list[_Block] | None = _plans.get(mask)
    if found is None:
        needed = _needed_keys(mask)
        found = _blocks_of(mask, needed) if float(needed.float().mean()) < WORTH else []
        _plans[mask] = found
    return found


def _needed_keys(mask: Tensor) -> Tensor:
    """Which keys any query of a block may see, boolean `[B, blocks, S]`, of a mask `[B, 1, T, S]`."""
    padded = F.pad(mask[:, 0], (0, 0, 0, -mask.shape[2] % BLOCK))
    blocks: Tensor = padded.unflatten(1, (-1, BLOCK))
    return blocks.any(2)


def _blocks_of(mask: Tensor, needed: Tensor) -> list[_Block]:
    blocks = []
    for row in range(len(mask)):
        for number, some in enumerate(needed[row]):
            keys = some.nonzero()[:, 0]
            if not len(keys):
                continue
            at = slice(number * BLOCK, (number + 1) * BLOCK)
            allowed = F.pad(mask[row, 0, at].index_select(1, keys), (0, -len(keys) % _ROUND))
            keys = F.pad(keys, (0, -len(keys) % _ROUND))
            blocks.append(_Block(row, at, keys, _bias(allowed)))
    return blocks


def _bias(allowed: Tensor) -> Tensor:
    return torch.zeros(allowed.shape).masked_fill_(~allowed, -math.inf)
