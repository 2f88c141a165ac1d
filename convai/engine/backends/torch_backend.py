"""Forward passes by torch's own kernels: any device, float32, bf16 and dynamic int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from convai.engine.backends import parts
from convai.engine.backends.attention import Singles, SpanLayout
from convai.engine.backends.cuda_graphs import StepGraphs
from convai.engine.backends.linear import Linear, Precision, activation_dtype, linear
from convai.engine.backends.pool import KVPool, SlotSpan
from convai.model.double_heads import DoubleHeadsModel

_Norm = tuple[Tensor, Tensor | None]
_Attend = Callable[[Tensor, Tensor, Tensor, int | None], Tensor]


@dataclass(frozen=True, slots=True)
class _Layer:
    """One block; see `parts.Layer`."""

    first: _Norm | None
    second: _Norm | None
    query: _Norm | None
    key: _Norm | None
    qkv: Linear
    projection: Linear
    expand: Linear
    contract: Linear
    mixed_norm: _Norm | None
    mlp_norm: _Norm | None


class TorchBackend:
    """Functional code over weights converted once."""

    def __init__(self, model: DoubleHeadsModel, precision: Precision, device: torch.device) -> None:
        self.cache_dtype = activation_dtype(precision)
        self._config = model.config
        self._precision, self._device = precision, device
        outside, turns, local = parts.outside(model), parts.turns(model), parts.local_turns(model)
        self._words = self._converted(outside.words)
        self._places = None if outside.places is None else self._converted(outside.places)
        self._gate, self._scale = outside.segment_gate, outside.scale
        self._turns = None if turns is None else self._converted(turns)
        self._local_turns = None if local is None else self._converted(local)
        self._layers = [self._layer(layer) for layer in parts.layers(model)]
        self._last = self._norm(outside.last)
        if precision == "int8" or not model.config.tied:
            self._output = linear(outside.output.to(device), None, precision)
        else:  # the word embedding is there already
            self._output = lambda hidden: F.linear(hidden, self._words)
        self._graphs = StepGraphs(self.step) if device.type == "cuda" else None

    def _converted(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, self.cache_dtype, copy=True)

    def _norm(self, norm: parts.Norm | None) -> _Norm | None:
        if norm is None:
            return None
        return self._converted(norm.gain), None if norm.bias is None else self._converted(norm.bias)

    def _linear(self, matrix: parts.Matrix) -> Linear:
        bias = None if matrix.bias is None else matrix.bias.to(self._device)
        return linear(matrix.weight.to(self._device), bias, self._precision)

    def _layer(self, layer: parts.Layer) -> _Layer:
        return _Layer(
            first=self._norm(layer.first),
            second=self._norm(layer.second),
            query=self._norm(layer.query),
            key=self._norm(layer.key),
            qkv=self._linear(layer.qkv),
            projection=self._linear(layer.projection),
            expand=self._linear(layer.expand),
            contract=self._linear(layer.contract),
            mixed_norm=self._norm(layer.mixed_norm),
            mlp_norm=self._norm(layer.mlp_norm),
        )

    def forward(
        self, words: Tensor, positions: Tensor, segments: Tensor, spans: Sequence[SlotSpan], pool: KVPool
    ) -> Tensor:
        """As InferenceModel.forward, the spans checked already."""
        words, positions, segments = (t.to(self._device) for t in (words, positions, segments))
        asked = _asked(spans, self._device)
        if self._graphs is not None and all(span.count == 1 for span in spans):
            hidden = self._graphs.run(torch.stack([words, positions, segments]), spans, pool)
            return hidden if asked is None else hidden[asked]
        return self.blocks(
            words, positions, segments, SpanLayout(spans, pool, self._config.windows).attend, pool, asked
        )

    def step(self, ids: Tensor, longest: int, pool: KVPool) -> Tensor:
        """Hidden states `[B, D]` of one token each of different slots.

        `ids`: words, positions, segments, slots and places, `[5, B]`. Nothing here waits for the device or
        depends on what the numbers are, so that the step can be recorded once and played again.
        """
        words, positions, segments, slots, places = ids
        return self.blocks(words, positions, segments, Singles.of(slots, places, longest).attend, pool)

    def blocks(
        self,
        words: Tensor,
        positions: Tensor,
        segments: Tensor,
        attend: _Attend,
        pool: KVPool,
        asked: Tensor | None = None,
    ) -> Tensor:
        """Hidden states `[N, D]`, or of the rows `asked` `[M, D]`; `attend` does what Layout.attend does."""
        before = self._config.pre_norm
        x = self._embedded(words, positions, segments)
        everywhere, local = _turns_at(positions, self._turns), _turns_at(positions, self._local_turns)
        for layer, cache, window in zip(self._layers, pool.layers(), self._config.windows, strict=True):
            turns = local if window else everywhere
            q, kv = self._heads(layer, self._normed(x, layer.first) if before else x, turns)
            mixed = attend(q, kv, cache, window)
            if asked is not None and layer is self._layers[-1]:  # nobody asks for the rest from here on
                x, mixed = x[asked], mixed[asked]
            x += self._normed(layer.projection(mixed), layer.mixed_norm)
            if not before:
                x = self._normed(x, layer.first)
            h = layer.expand(self._normed(x, layer.second) if before else x)
            x += self._normed(layer.contract(self._activated(h)), layer.mlp_norm)
            if not before:
                x = self._normed(x, layer.second)
        return self._normed(x, self._last)

    def _embedded(self, words: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
        x = self._words[words]
        if self._places is not None:
            x += self._places[positions]
        if self._gate:
            x += self._words[segments] if self._gate == 1 else self._gate * self._words[segments]
        return x if self._scale == 1 else x * self._scale

    def _normed(self, x: Tensor, norm: _Norm | None) -> Tensor:
        """`x` as it is where there is no norm."""
        if norm is None:
            return x
        gain, bias = norm
        eps = self._config.layer_norm_epsilon
        if bias is None:
            return F.rms_norm(x, gain.shape, gain, eps)
        return F.layer_norm(x, gain.shape, gain, bias, eps)

    def _heads(self, layer: _Layer, x: Tensor, turns: Sequence[Tensor] | None) -> tuple[Tensor, Tensor]:
        """Queries `[N, H, d]`, and keys and values `[N, 2, KV, d]`, normed and turned as the model does."""
        heads, kv_heads = self._config.n_head, self._config.kv_heads
        split = layer.qkv(x).view(x.shape[0], heads + 2 * kv_heads, -1)
        q, kv = split[:, :heads], split[:, heads:].unflatten(1, (2, kv_heads))
        k = kv[:, 0]
        if layer.query is not None and layer.key is not None:
            q, k = self._normed(q, layer.query), self._normed(k, layer.key)
        if turns is not None:
            q, k = _turned(q, *turns), _turned(k, *turns)
        return q, kv if k.data_ptr() == kv.data_ptr() else torch.stack((k, kv[:, 1]), 1)

    def _activated(self, h: Tensor) -> Tensor:
        if not self._config.rotary:
            return torch.ops.aten.gelu_(h, approximate="tanh")  # type: ignore[no-any-return]
        gates, numbers = h.chunk(2, -1)
        if self._config.family == "gemma3_text":
            return F.gelu(gates, approximate="tanh") * numbers
        return F.silu(gates) * numbers

    def lm_logits(self, hidden: Tensor) -> Tensor:
        """As InferenceModel.lm_logits."""
        return self._output(hidden.to(self._device, self.cache_dtype)).float()


def _turns_at(positions: Tensor, table: Tensor | None) -> Sequence[Tensor] | None:
    """Cosines and sines `[N, 1, d / 2]` of positions `[N]`; None without a table."""
    return None if table is None else table[positions].unsqueeze(1).chunk(2, -1)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Heads `[N, H, d]` turned by their positions, cosines and sines `[N, 1, d / 2]` (`llama.rotate`)."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def _asked(spans: Sequence[SlotSpan], device: torch.device) -> Tensor | None:
    """The rows whose hidden states are asked for, `[M]`; None where all are."""
    if all(span.asked == span.count for span in spans):
        return None
    rows, first = list[int](), 0
    for span in spans:
        first += span.count
        rows += range(first - span.asked, first)
    return torch.tensor(rows, dtype=torch.long, device=device)
