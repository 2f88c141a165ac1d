"""Keys and values of many sequences, in slots of one buffer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from convai.model import native
from convai.model.shape import Shape


@dataclass(frozen=True, slots=True)
class SlotSpan:
    """`count` new tokens of the sequence in slot `slot`, at cache places start … start + count - 1.

    Each of them sees the slot's places 0 up to its own. The hidden states of the last `wanted` are asked for
    (None: of all): a prompt's own are not, but for its end, and cost less.
    """

    slot: int
    start: int
    count: int
    wanted: int | None = None

    @property
    def asked(self) -> int:
        """How many hidden states are asked for."""
        return self.count if self.wanted is None else self.wanted


class KVPool:
    """Storage for `slots` sequences of up to `capacity` tokens, all layers.

    `data` is `[layers, slots, 2, heads, capacity, size]`, keys and values of the heads that have their own:
    what a head of one sequence reads lies in one piece. Rotary keys are stored turned. What a slot holds is
    whoever uses it to know: the pool does not count.
    """

    def __init__(
        self, config: Shape, slots: int, capacity: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        if slots < 1 or capacity < 1:
            raise ValueError(f"slots={slots}, capacity={capacity}: use numbers above 0")
        self.slots, self.capacity = slots, capacity
        shape = (config.n_layer, slots, 2, config.kv_heads, capacity, config.head)
        # zeros, not empty: what is masked must still be finite (0 · nan is nan)
        self.data = _zeros(shape, dtype, device)

    @property
    def bytes(self) -> int:
        return self.data.nbytes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Layers, heads with keys of their own, numbers a head."""
        layers, _, _, heads, _, size = self.data.shape
        return layers, heads, size

    def copy(self, source: int, target: int, length: int, *, start: int = 0) -> None:
        """Copy the first `length` tokens of slot `source` into slot `target`, which has `start` of them."""
        known = 0 <= source < self.slots and 0 <= target < self.slots
        if not (known and 0 <= start <= length <= self.capacity):
            raise ValueError(
                f"copy of {length} tokens from slot {source} to {target}: there are {self.slots} slots of "
                f"{self.capacity}"
            )
        if source != target and length > start:
            self.data[:, target, ..., start:length, :] = self.data[:, source, ..., start:length, :]

    def reserve(self) -> None:
        """Take the memory of all slots now, and not as they are filled; what they hold stays."""
        self.data.add_(0)

    def layers(self) -> list[Tensor]:
        """The layers' buffers, `[slots, 2, heads, capacity, size]` each."""
        return list(self.data)

    def clear(self, slot: int) -> None:
        """Make a slot all zeros: what is not a number would spoil what is computed beside it."""
        self.data[:, slot] = 0


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """As torch.zeros; on a CPU a page takes memory, and time, only once it is written to."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    size = math.prod(shape) * dtype.itemsize
    return native.sparse_zeros(size).view(dtype).view(shape)
