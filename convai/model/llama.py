"""Blocks of Llama and Qwen3: RMS norm, rotary positions, grouped key-value heads, a gated MLP.

Llama (Touvron et al. 2023, arXiv 2302.13971; SmolLM2, Llama 3.2) and Qwen3 (arXiv 2505.09388, which also
norms each query and key). Sources of the parts: RMSNorm, Zhang & Sennrich 2019 (arXiv 1910.07467); rotary
positions, Su et al. 2021 (arXiv 2104.09864); SwiGLU, Shazeer 2020 (arXiv 2002.05202); grouped heads, Ainslie
et al. 2023 (arXiv 2305.13245). Inner names are transformers' (`self_attn` is `attn` here).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convai.model.attention import attend
from convai.model.shape import RopeScaling, Shape
from convai.model.undrawn import Linear

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines `[B, 1, T, head size]` of the positions of a batch."""


class Attention(nn.Module):
    """Self-attention over `[B, T, D]` whose key-value heads each serve several query heads."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.n_head, self.n_kv_head, self.size = shape.n_head, shape.kv_heads, shape.head
        self.dropout = shape.attn_pdrop
        d, bias = shape.n_embd, shape.attention_bias
        self.q_proj = Linear(d, self.n_head * self.size, bias=bias)
        self.k_proj = Linear(d, self.n_kv_head * self.size, bias=bias)
        self.v_proj = Linear(d, self.n_kv_head * self.size, bias=bias)
        self.o_proj = Linear(self.n_head * self.size, d, bias=bias)
        self.q_norm: nn.Module | None = None
        self.k_norm: nn.Module | None = None
        if shape.family == "qwen3":
            self.q_norm = nn.RMSNorm(self.size, eps=shape.layer_norm_epsilon)
            self.k_norm = nn.RMSNorm(self.size, eps=shape.layer_norm_epsilon)

    def forward(self, x: Tensor, rotation: Rotation, mask: Tensor | None) -> Tensor:
        b, t, _ = x.shape
        q = self.q_proj(x).view(b, t, self.n_head, self.size)
        k = self.k_proj(x).view(b, t, self.n_kv_head, self.size)
        v = self.v_proj(x).view(b, t, self.n_kv_head, self.size).transpose(1, 2)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = rotate(q.transpose(1, 2), rotation), rotate(k.transpose(1, 2), rotation)
        out = attend(q, k, v, mask, self.dropout if self.training else 0.0)
        return self.o_proj(out.transpose(1, 2).reshape(b, t, self.n_head * self.size))  # type: ignore[no-any-return]


class MLP(nn.Module):
    """SwiGLU: one product gates the other."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d, inner, bias = shape.n_embd, shape.inner_size, shape.mlp_bias
        self.gate_proj = Linear(d, inner, bias=bias)
        self.up_proj = Linear(d, inner, bias=bias)
        self.down_proj = Linear(inner, d, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One transformer block, the norms before its two parts."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.ln_1 = nn.RMSNorm(shape.n_embd, eps=shape.layer_norm_epsilon)
        self.attn = Attention(shape)
        self.ln_2 = nn.RMSNorm(shape.n_embd, eps=shape.layer_norm_epsilon)
        self.mlp = MLP(shape)

    def forward(self, x: Tensor, rotation: Rotation, mask: Tensor | None) -> Tensor:
        x = x + self.attn(self.ln_1(x), rotation, mask)
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn queries or keys `[B, H, T, size]` by their positions, as transformers pairs the dimensions.

    Dimension i goes with i + size / 2 (not with its neighbour, as in the paper: the weights of published
    checkpoints are ordered for that).
    """
    cos, sin = rotation
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


def rotation_of(position_ids: Tensor, inverse: Tensor, dtype: torch.dtype) -> Rotation:
    """Cosines and sines `[B, 1, T, size]` of `position_ids` `[B, T]`; `inverse`: frequencies `[size / 2]`."""
    angles = position_ids[:, None, :, None].float() * inverse
    angles = torch.cat((angles, angles), -1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def inverse_frequencies(shape: Shape) -> Tensor:
    """Rotary frequencies `[head size / 2]`, stretched where `rope_scaling` says so."""
    plain = frequencies(shape.head, shape.rope_theta)
    return plain if shape.rope_scaling is None else _stretched(plain, shape.rope_scaling)


def frequencies(size: int, base: float) -> Tensor:
    """Rotary frequencies `[size / 2]` of heads of `size` dimensions, on the CPU.

    There also while a model without memory is built: torch.arange on the meta device is slow to start (see
    `undrawn`).
    """
    return 1.0 / (base ** (torch.arange(0, size, 2, dtype=torch.int64, device="cpu").float() / size))


def _stretched(plain: Tensor, scaling: RopeScaling) -> Tensor:
    length = 2 * math.pi / plain
    longest, shortest = (
        scaling.original_positions / factor for factor in (scaling.low_freq_factor, scaling.high_freq_factor)
    )
    blend = (scaling.original_positions / length - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    between = (1 - blend) * plain / scaling.factor + blend * plain
    stretched = torch.where(length > longest, plain / scaling.factor, plain)
    return torch.where((length <= longest) & (length >= shortest), between, stretched)
