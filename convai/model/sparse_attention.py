"""Attention under a mask that allows little: blocks of queries over the keys that one of them sees.

A dialogue with its distractors as branches of one row allows an eighth of all pairs: a branch sees what stood
before it, and itself. torch's fused kernel computes them all. Only pairs that no query of a block may see are
left out, so the result is the same but for the order of sums. For CPUs, in float32 or, under autocast, in
its type.

Forward and backward on one core with AVX-512 (9 heads of 64, branches of 14 tokens, fused / in blocks):
65 / 39 ms for 2 rows of 640, 129 / 66 ms for one of 1,300, 36 / 30 ms for 4 of 320.
"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK: Final = 64
"""Queries in a block: fewer need fewer keys, and make smaller products."""
WORTH: Final = 0.6
"""Share of all keys, in the mean of the blocks, up to which blocks are faster."""


def needed_keys(mask: Tensor) -> Tensor:
    """Which keys any query of a block may see, boolean `[B, blocks, S]`, of a mask `[B, 1, T, S]`."""
    padded = F.pad(mask[:, 0], (0, 0, 0, -mask.shape[2] % BLOCK))
    blocks: Tensor = padded.unflatten(1, (-1, BLOCK))
    return blocks.any(2)


def attend_in_blocks(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, needed: Tensor) -> Tensor:
    """Attention `[B, H, T, D]` of `q` over `k` and `v` `[B, H, S, D]` under `mask` `[B, 1, T, S]`.

    `needed`: the mask's `needed_keys`. A query that sees nothing gets 0.
    """
    if torch.is_autocast_enabled("cpu"):
        # once, here: autocast is off in a backward pass, which would meet products of the other type
        kind = torch.get_autocast_dtype("cpu")
        q, k, v = q.to(kind), k.to(kind), v.to(kind)
    attended: Tensor = _InBlocks.apply(q, k, v, mask, needed)  # type: ignore[no-untyped-call]
    return attended


class _InBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, needed: Tensor) -> Tensor:
        heads, size = q.shape[1], q.shape[3]
        out = torch.zeros(q.shape, dtype=q.dtype)
        blocks, weights = [], []
        for row in range(len(q)):
            for number, keys in enumerate(needed[row]):
                seen = keys.nonzero()[:, 0]
                if not len(seen):
                    continue
                at = slice(number * BLOCK, (number + 1) * BLOCK)
                allowed = mask[row, 0, at].index_select(1, seen)
                bias = torch.zeros(allowed.shape, dtype=q.dtype).masked_fill_(~allowed, -math.inf)
                some_k, some_v = k[row].index_select(1, seen), v[row].index_select(1, seen)
                scores = torch.baddbmm(
                    bias.expand(heads, -1, -1), q[row, :, at], some_k.transpose(1, 2), alpha=size**-0.5
                )
                share = scores.softmax(-1).nan_to_num_(0.0)  # a query without keys: exp(-inf) / 0
                out[row, :, at] = torch.bmm(share, some_v)
                blocks.append((row, at, seen))
                weights.append(share)
        ctx.blocks = blocks
        ctx.save_for_backward(q, k, v, *weights)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *weights = ctx.saved_tensors
        scale = q.shape[3] ** -0.5
        dq = torch.zeros_like(q)
        # sums over many blocks: kept in float32 where what is summed is shorter
        dk, dv = torch.zeros(k.shape), torch.zeros(v.shape)
        for (row, at, seen), share in zip(ctx.blocks, weights, strict=True):
            dy = gradients[0][row, :, at].to(q.dtype)
            dv[row].index_add_(1, seen, torch.bmm(share.transpose(1, 2), dy).float())
            d_share = torch.bmm(dy, v[row].index_select(1, seen).transpose(1, 2))
            d_scores = share * (d_share - (d_share * share).sum(-1, keepdim=True))
            dq[row, :, at] = torch.bmm(d_scores, k[row].index_select(1, seen)).mul_(scale)
            part = torch.bmm(d_scores.transpose(1, 2), q[row, :, at]).float()
            dk[row].index_add_(1, seen, part, alpha=scale)
        return dq, dk.to(k.dtype), dv.to(v.dtype), None, None
