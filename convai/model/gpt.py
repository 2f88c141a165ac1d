"""Blocks of OpenAI GPT and GPT-2: layer norm, learned positions (outside of them), a GELU MLP.

Parameter names are those of transformers. Sources: Radford et al. 2018 ("Improving language understanding by
generative pre-training", the norm after the addition), Radford et al. 2019 (GPT-2, the norm before).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convai.model.attention import attend
from convai.model.shape import Shape


class Conv1D(nn.Module):
    """A linear layer with its weight stored `[in, out]`, as in OpenAI's releases and transformers."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:  # (..., n_in) -> (..., n_out)
        return F.linear(x, self.weight.t(), self.bias)


class Attention(nn.Module):
    """Multi-head self-attention over `[B, T, D]`, through torch's fused kernels."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.n_head = shape.n_head
        self.dropout = shape.attn_pdrop
        self.c_attn = Conv1D(shape.n_embd, 3 * shape.n_embd)
        self.c_proj = Conv1D(shape.n_embd, shape.n_embd)
        self.resid_dropout = nn.Dropout(shape.resid_pdrop)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.c_attn(x).view(b, t, 3, self.n_head, d // self.n_head).permute(2, 0, 3, 1, 4)
        out = attend(q, k, v, mask, self.dropout if self.training else 0.0)
        out = self.c_proj(out.transpose(1, 2).reshape(b, t, d))
        return self.resid_dropout(out)  # type: ignore[no-any-return]


class MLP(nn.Module):
    """The feed-forward part, with the tanh approximation of GELU that both families use."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.c_fc = Conv1D(shape.n_embd, shape.inner_size)
        self.c_proj = Conv1D(shape.inner_size, shape.n_embd)
        self.dropout = nn.Dropout(shape.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One transformer block; `pre_norm` tells GPT-2 (norm before) from OpenAI GPT (norm after)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.pre_norm = shape.pre_norm
        self.ln_1 = nn.LayerNorm(shape.n_embd, eps=shape.layer_norm_epsilon)
        self.attn = Attention(shape)
        self.ln_2 = nn.LayerNorm(shape.n_embd, eps=shape.layer_norm_epsilon)
        self.mlp = MLP(shape)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.pre_norm:
            x = x + self.attn(self.ln_1(x), mask)
            return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]
        x = self.ln_1(x + self.attn(x, mask))
        return self.ln_2(x + self.mlp(x))  # type: ignore[no-any-return]
