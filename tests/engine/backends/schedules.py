"""Random schedules of forward passes and forks, run on a pool beside what the plain model computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from convai.engine.backends import InferenceModel, SlotSpan
from convai.model.double_heads import DoubleHeadsModel
from tests.tiny import SPECIAL

SLOTS, CAPACITY = 4, 24


@dataclass(frozen=True)
class Pass:
    """A forward pass: (slot, tokens kept of it, new tokens) each, slots all different."""

    parts: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Fork:
    """The first `kept` tokens (at most) of a slot, copied to another."""

    source: int
    target: int
    kept: int


# many single tokens, as in decoding; some chunks
_counts = st.one_of(st.just(1), st.just(1), st.integers(1, 9))
_part = st.tuples(st.integers(0, SLOTS - 1), st.sampled_from([CAPACITY] * 4 + [0, 1, 3, 7]), _counts)
_passes = st.lists(_part, min_size=1, max_size=SLOTS, unique_by=lambda part: part[0]).map(
    lambda parts: Pass(tuple(parts))
)
_forks = st.builds(Fork, *[st.integers(0, SLOTS - 1)] * 2, st.integers(0, CAPACITY))
schedules = st.lists(st.one_of(_passes, _passes, _passes, _forks), min_size=1, max_size=8)


def run(
    schedule: Sequence[Pass | Fork], fast: InferenceModel, plain: DoubleHeadsModel, seed: int = 0
) -> list[tuple[Tensor, Tensor]]:
    """The hidden states of every pass: `fast`'s, and those of whole sequences computed anew by `plain`."""
    g = torch.Generator().manual_seed(seed)
    pool = fast.new_pool(SLOTS, CAPACITY)
    held = [torch.zeros(3, 0, dtype=torch.long) for _ in range(SLOTS)]  # words, positions, segments
    pairs = []
    for action in schedule:
        if isinstance(action, Fork):
            length = min(action.kept, held[action.source].shape[1])
            pool.copy(action.source, action.target, length)
            if action.source != action.target:
                held[action.target] = held[action.source][:, :length]
            continue
        spans, new, expected = [], [], []
        for slot, kept, count in action.parts:
            start = min(kept, held[slot].shape[1], CAPACITY - 1)
            count = min(count, CAPACITY - start)
            words, segments = torch.randint(0, SPECIAL.vocab_size, (2, count), generator=g)
            positions = torch.randint(0, plain.config.n_positions, (count,), generator=g)
            if any(plain.config.windows):  # which count them
                positions = torch.arange(start, start + count)
            new.append(torch.stack([words, positions, segments]))
            held[slot] = torch.cat([held[slot][:, :start], new[-1]], 1)
            spans.append(SlotSpan(slot, start, count))
            with torch.inference_mode():
                expected.append(plain(*held[slot].unsqueeze(1))[0, start:])
        words, positions, segments = torch.cat(new, 1)
        pairs.append((fast.forward(words, positions, segments, spans, pool), torch.cat(expected)))
    return pairs
