"""The key-value cache of one batch of sequences that grow together."""

from __future__ import annotations

import torch
from torch import Tensor

from convai.model.shape import Shape


class KVCache:
    """Keys and values of all layers, `[B, H, capacity, D / H]` each, filled from the left.

    The buffers are allocated once: appending a token copies that token only.
    """

    def __init__(
        self,
        config: Shape,
        batch: int = 1,
        capacity: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (batch, config.n_head, capacity or config.n_positions, config.n_embd // config.n_head)
        self.keys = [torch.empty(shape, device=device, dtype=dtype) for _ in range(config.n_layer)]
        self.values = [torch.empty(shape, device=device, dtype=dtype) for _ in range(config.n_layer)]
        self.lengths = [0] * config.n_layer

    @property
    def length(self) -> int:
        """Tokens cached in every layer."""
        return self.lengths[-1]

    @property
    def capacity(self) -> int:
        return self.keys[0].shape[2]

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store `[B, H, T, D / H]` keys and values; return all that are cached, the new ones included."""
        start = self.lengths[layer]
        end = start + k.shape[2]
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} tokens, {end} are needed")
        self.keys[layer][:, :, start:end] = k
        self.values[layer][:, :, start:end] = v
        self.lengths[layer] = end
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def causal_mask(self, new: int, device: torch.device) -> Tensor | None:
        """Boolean `[1, 1, new, cached + new]`: each new token sees the cache and itself; None if empty."""
        if self.length == 0:
            return None
        total = self.length + new
        rows = torch.arange(self.length, total, device=device).unsqueeze(1)
        return (torch.arange(total, device=device).unsqueeze(0) <= rows)[None, None]

    def truncate(self, length: int) -> None:
        """Forget everything after the first `length` tokens."""
        self.lengths = [min(length, n) for n in self.lengths]

    def select(self, rows: Tensor) -> None:
        """Reorder or repeat the batch rows (beam search, several samples of one prompt)."""
        self.keys = [k[rows] for k in self.keys]
        self.values = [v[rows] for v in self.values]
