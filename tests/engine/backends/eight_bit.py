"""What the 8-bit kernels are to compute, in plain torch and double precision."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from convai.engine.backends import parts
from convai.engine.backends.pack import GROUP
from convai.model.double_heads import DoubleHeadsModel


def rounded(x: Tensor) -> Tensor:
    """Rows of `x` as whole numbers of -127 … 127 times a scale of the row."""
    scale = x.abs().amax(-1, keepdim=True).clamp_min(1e-30) / 127
    return (x / scale).round() * scale


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, group: int | None = None) -> Tensor:
    """`x` `[T, in]`, `weight` `[out, in]`, both rounded by rows, `x` in groups of so many."""
    pieces = x.split(group or x.shape[-1], -1)
    y = torch.cat([rounded(piece) for piece in pieces], -1) @ rounded(weight.double()).T
    return y if bias is None else y + bias


def group_of(model: DoubleHeadsModel) -> int | None:
    """Numbers that have a scale in common; None: a row's all."""
    return GROUP if model.config.rotary else None


def hidden(model: DoubleHeadsModel, words: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
    """Hidden states `[T, D]` of one whole sequence, float64; keys and values rounded to half precision."""
    shape, outside, table = model.config, parts.outside(model), parts.turns(model)
    before, heads, kv_heads = shape.pre_norm, shape.n_head, shape.kv_heads
    x = outside.words[words].double() + outside.segment_gate * outside.words[segments].double()
    if outside.places is not None:
        x = x + outside.places[positions].double()

    def norm(y: Tensor, norm: parts.Norm | None) -> Tensor:
        if norm is None:
            return y
        gain, eps = norm.gain.double(), shape.layer_norm_epsilon
        if norm.bias is None:
            return F.rms_norm(y, gain.shape, gain, eps)
        return F.layer_norm(y, gain.shape, gain, norm.bias.double(), eps)

    def through(y: Tensor, matrix: parts.Matrix) -> Tensor:
        bias = None if matrix.bias is None else matrix.bias.double()
        return linear(y, matrix.weight, bias, group_of(model))

    def turned(y: Tensor) -> Tensor:  # [H, T, d]
        if table is None:
            return y
        cos, sin = table[positions].double().chunk(2, -1)
        a, b = y.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    for block in parts.layers(model):
        qkv = through(norm(x, block.first) if before else x, block.qkv)
        q, k, v = qkv.view(len(words), -1, shape.head).transpose(0, 1).split((heads, kv_heads, kv_heads))
        q, k = turned(norm(q, block.query)), turned(norm(k, block.key))
        k, v = (part.half().double().repeat_interleave(heads // kv_heads, 0) for part in (k, v))
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + through(seen.transpose(0, 1).flatten(1), block.projection)
        x = x if before else norm(x, block.first)
        inner = through(norm(x, block.second) if before else x, block.expand)
        if shape.rotary:
            gates, numbers = inner.chunk(2, -1)
            inner = F.silu(gates) * numbers
        else:
            inner = F.gelu(inner, approximate="tanh")
        x = x + through(inner, block.contract)
        x = x if before else norm(x, block.second)
    return norm(x, outside.last)
