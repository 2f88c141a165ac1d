"""Attention of a ragged batch of spans over a pool of caches, by torch's fused kernels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from convai.engine.backends.pool import KVPool, SlotSpan


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One span: rows first … last - 1 of the batch, at places start … end - 1."""

    slot: int
    start: int
    end: int
    first: int
    last: int
    sights: dict[int | None, _Sight]
    """By the window of a layer."""


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a span's tokens see of places since … end - 1: all, all before each, or as `mask` says."""

    since: int
    causal: bool
    mask: Tensor | None  # [T, end - since], added to the scores

    @classmethod
    def of(cls, start: int, end: int, window: int | None, like: Tensor) -> _Sight:
        """Of the tokens at places start … end - 1, each of which sees `window` places (None: all)."""
        count = end - start
        since = 0 if window is None else max(0, start + 1 - window)
        if count == 1:
            return cls(since, False, None)
        if start == 0 and (window is None or end <= window):
            return cls(0, True, None)
        mask = torch.full((count, end - since), -math.inf, dtype=like.dtype, device=like.device)
        mask.triu_(start - since + 1)
        if window is not None:  # row i looks from place start + i, back to start + i + 1 - window
            places = torch.arange(since, end, device=like.device)
            looking = torch.arange(start, end, device=like.device)[:, None]
            mask.masked_fill_(places <= looking - window, -math.inf)
        return cls(since, False, mask)


@dataclass(frozen=True, slots=True)
class Singles:
    """Tokens of different slots taken together: at place `places[i]` of `slots[i]` each, `[B]`."""

    slots: Tensor
    places: Tensor
    longest: int
    seen: Tensor  # [B, 1, 1, longest], true where attention is allowed

    @classmethod
    def of(cls, slots: Tensor, places: Tensor, longest: int) -> Singles:
        """`longest`: places that are read, at least those that any of the tokens sees."""
        seen = torch.arange(longest, device=places.device) <= places[:, None]
        return cls(slots, places, longest, seen[:, None, None])

    def attend(self, q: Tensor, kv: Tensor, cache: Tensor, window: int | None = None) -> Tensor:
        """`[B, H d]` of queries `[B, H, d]`; `kv` `[B, 2, KV, d]` goes into the layer's `cache` first.

        The query heads that share a key are so many queries of one head.
        """
        cache[self.slots, :, :, self.places] = kv
        keys, values = cache[self.slots, :, :, : self.longest].unbind(1)
        grouped = q.unflatten(1, (keys.shape[1], -1))
        seen = self.seen
        if window is not None and window < self.longest:
            near = torch.arange(self.longest, device=self.places.device) > self.places[:, None] - window
            seen = seen & near[:, None, None]
        return F.scaled_dot_product_attention(grouped, keys, values, attn_mask=seen).flatten(1)


class SpanLayout:
    """Where the tokens of one forward pass are stored and what each sees; made once, used in every layer.

    On a CPU every span has a call of its own: it reads its slot in place and nothing else. Elsewhere the
    spans of one token are one call, which copies their slots together (a launch costs more than that).
    """

    def __init__(
        self, spans: Sequence[SlotSpan], pool: KVPool, windows: Iterable[int | None] = (None,)
    ) -> None:
        """`windows`: those of the layers that `attend` will be called for."""
        device = pool.data.device
        kinds = set(windows)
        singles: list[tuple[int, int, int]] = []  # row, slot, place
        self._chunks: list[_Chunk] = []
        first = 0
        for span in spans:
            last, end = first + span.count, span.start + span.count
            if span.count == 1 and device.type != "cpu":
                singles.append((first, span.slot, span.start))
            else:
                sights = {window: _Sight.of(span.start, end, window, pool.data) for window in kinds}
                self._chunks.append(_Chunk(span.slot, span.start, end, first, last, sights))
            first = last
        self._singles: tuple[Tensor, Singles] | None = None
        if singles:
            rows, slots, places = torch.tensor(singles).T.to(device)
            longest = 1 + max(place for _, _, place in singles)
            self._singles = rows, Singles.of(slots, places, longest)

    def attend(self, q: Tensor, kv: Tensor, cache: Tensor, window: int | None = None) -> Tensor:
        """What the heads of a layer see, `[N, H d]`, of its queries `[N, H, d]`.

        The new keys and values, `kv` `[N, 2, KV, d]`, are stored in `cache` `[slots, 2, KV, capacity, d]`
        first. `window`: places that a token sees, its own included; None: all up to its own.
        """
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
        for c in self._chunks:
            sight = c.sights[window]
            cache[c.slot, :, :, c.start : c.end] = kv[c.first : c.last].permute(1, 2, 0, 3)
            keys, values = cache[c.slot, :, :, sight.since : c.end]
            queries = q[c.first : c.last].transpose(0, 1)
            alone = c.last - c.first == 1
            if alone:  # the query heads that share a key are so many queries of one head
                queries = queries.reshape(keys.shape[0], -1, keys.shape[-1])
            seen = F.scaled_dot_product_attention(
                queries.unsqueeze(0),
                keys.unsqueeze(0),
                values.unsqueeze(0),
                attn_mask=sight.mask,
                is_causal=sight.causal,
                enable_gqa=queries.shape[0] != keys.shape[0],
            )
            out[c.first : c.last] = seen[0].reshape(out[c.first].shape) if alone else seen[0].transpose(0, 1)
        if self._singles is not None:
            rows, together = self._singles
            out[rows] = together.attend(q[rows], kv[rows], cache, window).view(-1, *q.shape[1:])
        return out.flatten(1)
