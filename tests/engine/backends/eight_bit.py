"""What the 8-bit kernels are to compute, in plain torch and double precision."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from convai.model.double_heads import DoubleHeadsModel
from convai.model.gpt import Block


def rounded(x: Tensor) -> Tensor:
    """Rows of `x` as whole numbers of -127 … 127 times a scale of the row."""
    scale = x.abs().amax(-1, keepdim=True).clamp_min(1e-30) / 127
    return (x / scale).round() * scale


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x` `[T, in]`, `weight` `[out, in]`, both rounded by rows."""
    y = rounded(x) @ rounded(weight.double()).T
    return y if bias is None else y + bias


def hidden(model: DoubleHeadsModel, words: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
    """Hidden states `[T, D]` of one whole sequence, float64; keys and values rounded to half precision."""
    t, config = model.transformer, model.config
    heads, before = config.n_head, config.pre_norm
    x = (t.wte.weight[words] + t.wpe.weight[positions] + t.wte.weight[segments]).double()

    def norm(y: Tensor, module: torch.nn.Module) -> Tensor:
        weight, bias = (p.double() for p in module.parameters())
        return F.layer_norm(y, (config.n_embd,), weight, bias, config.layer_norm_epsilon)

    def through(y: Tensor, module: torch.nn.Module) -> Tensor:
        weight, bias = module.parameters()
        return linear(y, weight.T, bias.double())

    for block in cast(Iterable[Block], t.h):
        qkv = through(norm(x, block.ln_1) if before else x, block.attn.c_attn)
        q, k, v = qkv.view(len(words), 3, heads, -1).permute(1, 2, 0, 3)
        seen = F.scaled_dot_product_attention(q, k.half().double(), v.half().double(), is_causal=True)
        x = x + through(seen.transpose(0, 1).reshape(x.shape), block.attn.c_proj)
        x = x if before else norm(x, block.ln_1)
        inner = through(norm(x, block.ln_2) if before else x, block.mlp.c_fc)
        x = x + through(F.gelu(inner, approximate="tanh"), block.mlp.c_proj)
        x = x if before else norm(x, block.ln_2)
    return norm(x, t.ln_f) if before else x
