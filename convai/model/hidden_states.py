"""What a model computes on the way: the states after the embeddings, every block and the last norm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def recorded(trunk: nn.Module, *, ends: bool = True) -> Iterator[list[Tensor]]:
    """A list that fills with the states `[B, T, D]` of the forward passes of `trunk` within the context.

    Works for our Transformer and for transformers' GPT and GPT-2: modules `drop`, `h` and perhaps `ln_f`.
    `ends=False` leaves the embeddings and the last norm out: one state a block. The states are part of the
    graph, with gradient checkpointing too (its second pass happens after the context).
    """
    states: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        states.append(output if isinstance(output, Tensor) else output[0])

    blocks = trunk.get_submodule("h")
    modules = [*blocks.children()]
    if ends:
        last = [m for name, m in trunk.named_children() if name == "ln_f" and not isinstance(m, nn.Identity)]
        modules = [trunk.get_submodule("drop"), *modules, *last]
    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()
