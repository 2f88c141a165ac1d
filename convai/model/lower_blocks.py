"""The first blocks of a language model in 8 bits, for whoever reads what it makes of a text half-way up."""

from __future__ import annotations

import torch
from torch import Tensor

from convai.core.errors import CheckpointError
from convai.model import llama
from convai.model.attention import attend
from convai.model.double_heads import DoubleHeadsModel
from convai.model.frozen import FrozenLinear

Past = list[tuple[Tensor, Tensor]]
"""Of each block the keys and values `[1, heads, T, size]` of what was read."""

_LINEAR = {"attn": ("q_proj", "k_proj", "v_proj", "o_proj"), "mlp": ("gate_proj", "up_proj", "down_proj")}
_SMALLEST = 1e-5


class LowerBlocks:
    """Embeddings and the first `layers` blocks of a model of Llama's family, which loses them."""

    def __init__(self, model: DoubleHeadsModel, layers: int) -> None:
        """Raises CheckpointError for another family, or fewer blocks than asked for."""
        family, n = model.config.family, model.config.n_layer
        if family not in ("llama", "qwen3"):
            raise CheckpointError(f"a base of the family {family}; states are read of llama and qwen3 only")
        if not 1 <= layers <= n:
            raise CheckpointError(f"layer {layers} of a base of {n}; use 1 to {n}")
        trunk = model.transformer
        self.width = model.config.n_embd
        self._embedding, self._inverse = trunk.wte, trunk.inverse
        self._blocks = [block for block in trunk.h[:layers] if isinstance(block, llama.Block)]
        for block in self._blocks:
            for part, names in _LINEAR.items():
                for name in names:
                    module = block.get_submodule(part)
                    setattr(module, name, FrozenLinear.of(getattr(module, name)))

    def read(
        self, ids: Tensor, positions: Tensor, mask: Tensor, past: Past | None = None
    ) -> tuple[Tensor, Past]:
        """States `[T, width]` of the tokens `ids` `[T]`, of mean square 1, and all keys and values.

        `mask` `[T, past + T]`: True where a token may look.
        """
        x = self._embedding(ids)[None]
        rotation = llama.rotation_of(positions[None], self._inverse, x.dtype)
        read: Past = []
        for number, block in enumerate(self._blocks):
            x, keys = _through(block, x, rotation, mask, None if past is None else past[number])
            read.append(keys)
        states: Tensor = x[0] * torch.rsqrt(x[0].square().mean(-1, keepdim=True) + _SMALLEST)
        return states, read


def _through(
    block: llama.Block,
    x: Tensor,
    rotation: llama.Rotation,
    mask: Tensor,
    past: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    attention = block.attn
    _, t, _ = x.shape
    normed = block.ln_1(x)
    q, k, v = (
        layer(normed).view(1, t, -1, attention.size)
        for layer in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    if attention.q_norm is not None and attention.k_norm is not None:
        q, k = attention.q_norm(q), attention.k_norm(k)
    q, k = llama.rotate(q.transpose(1, 2), rotation), llama.rotate(k.transpose(1, 2), rotation)
    v = v.transpose(1, 2)
    if past is not None:
        k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
    out = attend(q, k, v, mask).transpose(1, 2).reshape(1, t, -1)
    x = x + attention.o_proj(out)
    return x + block.mlp(block.ln_2(x)), (k, v)
