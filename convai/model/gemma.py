"""Blocks of Gemma 3 (arXiv 2503.19786, §2): Llama's, with windows, more norms and a gated GELU.

Five layers of six see a window of the last tokens and turn positions by a smaller base. A norm stands behind
each part as well as before it, and its gain is kept as what it differs from 1 by; queries and keys are normed
(in place of Gemma 2's caps on logits), and scores are divided by the root of a size of its own. Word
embeddings are multiplied with the root of the width where they go in, and as they are where they go out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convai.model import llama
from convai.model.shape import Shape

Context = tuple[llama.Rotation, Tensor | None]
"""What a block needs beside its input: rotation and mask."""


class OffsetNorm(nn.Module):
    """RMS norm whose gain is 1 + weight, times a constant `factor`."""

    def __init__(self, size: int, eps: float, factor: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size))
        self.eps, self.factor = eps, factor

    @property
    def gain(self) -> Tensor:
        """What the normed numbers are multiplied with, `[size]`."""
        return (1.0 + self.weight) * self.factor

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.gain.to(x.dtype), self.eps)


class MLP(llama.MLP):
    """GEGLU (Shazeer 2020, arXiv 2002.05202) with the tanh approximation."""

    def forward(self, x: Tensor) -> Tensor:
        gates = F.gelu(self.gate_proj(x), approximate="tanh")
        return self.down_proj(gates * self.up_proj(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One transformer block, norms before and behind its two parts."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        eps = shape.layer_norm_epsilon
        self.ln_1 = OffsetNorm(shape.n_embd, eps)
        self.attn = llama.Attention(shape)
        self.attn.q_norm = OffsetNorm(
            shape.head, eps, math.sqrt(shape.head / (shape.query_scale or shape.head))
        )
        self.attn.k_norm = OffsetNorm(shape.head, eps)
        self.ln_1_after = OffsetNorm(shape.n_embd, eps)
        self.ln_2 = OffsetNorm(shape.n_embd, eps)
        self.mlp = MLP(shape)
        self.ln_2_after = OffsetNorm(shape.n_embd, eps)

    def forward(self, x: Tensor, rotation: llama.Rotation, mask: Tensor | None) -> Tensor:
        x = x + self.ln_1_after(self.attn(self.ln_1(x), rotation, mask))
        return x + self.ln_2_after(self.mlp(self.ln_2(x)))  # type: ignore[no-any-return]


def contexts(
    windows: Sequence[int | None],
    position_ids: Tensor,
    mask: Tensor | None,
    everywhere: llama.Rotation,
    local: llama.Rotation,
) -> list[Context]:
    """What each block is given, from its `window`; `mask` as in DoubleHeadsModel.forward."""
    masks: dict[int | None, Tensor | None] = {None: mask}
    for window in windows:
        if window not in masks:
            assert window is not None
            masks[window] = windowed(mask, position_ids, window)
    return [(everywhere if window is None else local, masks[window]) for window in windows]


def windowed(mask: Tensor | None, position_ids: Tensor, window: int) -> Tensor | None:
    """`mask` `[B, 1, T, T]` (None: causal) without what is `window` or more tokens before the one that looks.

    Counted in positions: the tokens of a branch come after those of the trunk that it leaves, whatever lies
    between them in the row.
    """
    t = position_ids.shape[1]
    if t <= window:
        return mask
    if mask is None:
        mask = torch.ones(t, t, dtype=torch.bool, device=position_ids.device).tril()
    before = position_ids[:, :, None] - position_ids[:, None, :]
    return mask & (before < window).unsqueeze(1)
