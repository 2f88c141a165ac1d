"""Scaled dot-product attention, by whichever kernel is fastest where it runs."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from convai.model.sparse_attention import BLOCK, attend_in_blocks, worth_blocks

PLAIN_UP_TO = 1024
"""Longest rows for which plain products beat torch's fused kernel in bfloat16 training on a CPU.

Measured on 2 cores with AVX-512 BF16 (4 heads of 64, forward and backward, fused / plain): 45 / 25 ms at
32 x 256 tokens, 86 / 66 ms at 12 x 700, 43 / 41 ms at 4 x 1,024 (causal; with a tree's mask the
fused kernel gains nothing from causality).
"""


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float = 0.0) -> Tensor:
    """Attention of queries `[B, H, T, D]` over keys and values `[B, H or fewer, S, D]`.

    Fewer heads of keys and values than of queries serve H / fewer query heads each, in their order.

    `mask`: boolean, broadcastable to `[B, H, T, S]`, True where attention is allowed; None means causal
    when T = S, and everything allowed when T is 1.
    """
    t, s = q.shape[2], k.shape[2]
    if _in_blocks(q, k, mask, dropout):
        return attend_in_blocks(q, k, v, mask)
    if k.shape[1] < q.shape[1]:
        share = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
    plain = (
        q.device.type == "cpu"
        and q.dtype == torch.bfloat16
        and q.requires_grad
        and not dropout
        and t == s <= PLAIN_UP_TO
    )
    if plain:
        return _plain(q, k, v, mask)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=mask is None and t > 1
    )


def _in_blocks(q: Tensor, k: Tensor, mask: Tensor | None, dropout: float) -> bool:
    """Whether blocks of queries are the fastest way: where a mask lets little through, and in training."""
    t, s = q.shape[2], k.shape[2]
    if q.device.type != "cpu" or q.dtype not in (torch.float32, torch.bfloat16) or dropout:
        return False
    if not t == s >= 2 * BLOCK:
        return False
    if mask is None:
        return q.requires_grad and t <= PLAIN_UP_TO
    return mask.shape == (len(q), 1, t, s) and worth_blocks(mask)


def _plain(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    b, h, t, d = q.shape
    if mask is None:
        mask = torch.ones(t, t, dtype=torch.bool, device=q.device).tril()
    bias = torch.zeros(mask.shape, dtype=q.dtype, device=q.device).masked_fill_(~mask, -math.inf)
    bias = bias.expand(b, h, t, t).reshape(b * h, t, t) if mask.dim() == 4 else bias
    scores = torch.baddbmm(bias, (q * d**-0.5).reshape(b * h, t, d), k.reshape(b * h, t, d).transpose(1, 2))
    return torch.bmm(scores.softmax(-1), v.reshape(b * h, t, d)).view(b, h, t, d)
