"""Steps of one token a chat, recorded as CUDA graphs: launching their kernels costs more than they do."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from convai.engine.backends.pool import KVPool, SlotSpan

PLACES: Final = 128
"""The places that a graph reads are a multiple of this."""

KEPT: Final = 64
"""Graphs in memory; the one that was used longest ago goes first."""

Step = Callable[[Tensor, int, KVPool], Tensor]
"""Of ids `[5, B]` (TorchBackend.step) and the places to read: hidden states `[B, D]`."""


@dataclass(slots=True)
class _Recorded:
    graph: torch.cuda.CUDAGraph
    ids: Tensor
    hidden: Tensor
    pool: KVPool  # it must not be freed before the graph


def padded(ids: Tensor, spans: Sequence[SlotSpan], capacity: int) -> tuple[Tensor, int]:
    """The ids of a recorded step, `[5, B]`, and the places it reads.

    `ids`: words, positions and segments `[3, N]`. B is the next power of two: the last token stands there
    again and again, which stores the same keys at the same place.
    """
    where = torch.tensor([[span.slot for span in spans], [span.start for span in spans]])
    if ids.is_cuda:
        where = where.pin_memory().to(ids.device, non_blocking=True)
    ids = torch.cat([ids, where])
    more = (1 << (len(spans) - 1).bit_length()) - len(spans)
    longest = 1 + max(span.start for span in spans)
    return torch.cat([ids, ids[:, -1:].expand(-1, more)], 1), min(capacity, -longest % PLACES + longest)


class StepGraphs:
    """Plays a step of each size from a recording, which it makes when that size first comes."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._recorded: OrderedDict[tuple[int, int, int], _Recorded] = OrderedDict()

    def run(self, ids: Tensor, spans: Sequence[SlotSpan], pool: KVPool) -> Tensor:
        """Hidden states `[N, D]` of the spans, one token each; `ids` `[3, N]` as for `padded`."""
        full, longest = padded(ids, spans, pool.capacity)
        key = (id(pool), full.shape[1], longest)
        found = self._recorded.get(key)
        if found is None:
            found = self._recorded[key] = self._record(full, longest, pool)
            if len(self._recorded) > KEPT:
                self._recorded.popitem(last=False)
        self._recorded.move_to_end(key)
        found.ids.copy_(full)
        found.graph.replay()
        return found.hidden[: len(spans)].clone()

    def _record(self, ids: Tensor, longest: int, pool: KVPool) -> _Recorded:
        ids = ids.clone()
        warm_up = torch.cuda.Stream()
        warm_up.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(
            warm_up
        ):  # libraries choose their kernels on a first run, which cannot be recorded
            self._step(ids, longest, pool)
        torch.cuda.current_stream().wait_stream(warm_up)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            hidden = self._step(ids, longest, pool)
        return _Recorded(graph, ids, hidden, pool)
