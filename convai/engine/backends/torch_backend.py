"""Forward passes by torch's own kernels: any device, float32, bf16 and dynamic int8."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convai.engine.backends.attention import Layout, Singles
from convai.engine.backends.cuda_graphs import StepGraphs
from convai.engine.backends.linear import Linear, Precision, activation_dtype, linear
from convai.engine.backends.pool import KVPool, Span
from convai.model.double_heads import DoubleHeadsModel
from convai.model.gpt import Block, Conv1D

_Norm = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class _Layer:
    """One block."""

    first: _Norm
    second: _Norm
    qkv: Linear
    projection: Linear
    expand: Linear
    contract: Linear


class TorchBackend:
    """Functional code over weights converted once."""

    def __init__(self, model: DoubleHeadsModel, precision: Precision, device: torch.device) -> None:
        self.cache_dtype = activation_dtype(precision)
        self._config = config = model.config
        self._precision, self._device = precision, device
        trunk = model.transformer
        self._words, self._places = self._converted(trunk.wte.weight), self._converted(trunk.wpe.weight)
        self._layers = [self._layer(block) for block in cast(Iterable[Block], trunk.h)]
        self._last = self._norm(cast(nn.LayerNorm, trunk.ln_f)) if config.pre_norm else None
        if precision == "int8":
            self._output = linear(trunk.wte.weight.detach(), None, precision)
        else:  # the word embedding is there already
            self._output = lambda hidden: F.linear(hidden, self._words)
        self._graphs = StepGraphs(self.step) if device.type == "cuda" else None

    def _converted(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to(self._device, self.cache_dtype, copy=True)

    def _norm(self, module: nn.LayerNorm) -> _Norm:
        return self._converted(module.weight), self._converted(module.bias)

    def _linear(self, module: Conv1D) -> Linear:
        weight, bias = module.weight.detach().to(self._device), module.bias.detach().to(self._device)
        return linear(weight.t(), bias, self._precision)

    def _layer(self, block: Block) -> _Layer:
        return _Layer(
            self._norm(block.ln_1),
            self._norm(block.ln_2),
            self._linear(block.attn.c_attn),
            self._linear(block.attn.c_proj),
            self._linear(block.mlp.c_fc),
            self._linear(block.mlp.c_proj),
        )

    def forward(
        self, words: Tensor, positions: Tensor, segments: Tensor, spans: Sequence[Span], pool: KVPool
    ) -> Tensor:
        """As InferenceModel.forward, the spans checked already."""
        words, positions, segments = (t.to(self._device) for t in (words, positions, segments))
        asked = _asked(spans, self._device)
        if self._graphs is not None and all(span.count == 1 for span in spans):
            hidden = self._graphs.run(torch.stack([words, positions, segments]), spans, pool)
            return hidden if asked is None else hidden[asked]
        attend = Layout(spans, pool, self._config.n_head).attend
        return self.blocks(words, positions, segments, attend, pool, asked)

    def step(self, ids: Tensor, longest: int, pool: KVPool) -> Tensor:
        """Hidden states `[B, D]` of one token each of different slots.

        `ids`: words, positions, segments, slots and places, `[5, B]`. Nothing here waits for the device or
        depends on what the numbers are, so that the step can be recorded once and played again.
        """
        words, positions, segments, slots, places = ids
        together = Singles.of(slots, places, longest)

        def attend(qkv: Tensor, cache: Tensor) -> Tensor:
            split = qkv.view(qkv.shape[0], 3, self._config.n_head, -1)
            return together.attend(split, cache).reshape(qkv.shape[0], -1)

        return self.blocks(words, positions, segments, attend, pool)

    def blocks(
        self,
        words: Tensor,
        positions: Tensor,
        segments: Tensor,
        attend: Callable[[Tensor, Tensor], Tensor],
        pool: KVPool,
        asked: Tensor | None = None,
    ) -> Tensor:
        """Hidden states `[N, D]`, or of the rows `asked` `[M, D]`; `attend` does what Layout.attend does."""
        before, eps, size = self._config.pre_norm, self._config.layer_norm_epsilon, (self._config.n_embd,)
        x = self._words[words] + self._places[positions]
        x += self._words[segments]
        for layer, cache in zip(self._layers, pool.layers(), strict=True):
            h = F.layer_norm(x, size, *layer.first, eps) if before else x
            mixed = attend(layer.qkv(h), cache)
            if asked is not None and layer is self._layers[-1]:  # nobody asks for the rest from here on
                x, mixed = x[asked], mixed[asked]
            x += layer.projection(mixed)
            if not before:
                x = F.layer_norm(x, size, *layer.first, eps)
            h = F.layer_norm(x, size, *layer.second, eps) if before else x
            h = layer.expand(h)
            x += layer.contract(torch.ops.aten.gelu_(h, approximate="tanh"))
            if not before:
                x = F.layer_norm(x, size, *layer.second, eps)
        return x if self._last is None else F.layer_norm(x, size, *self._last, eps)

    def lm_logits(self, hidden: Tensor) -> Tensor:
        """As InferenceModel.lm_logits."""
        return self._output(hidden.to(self._device, self.cache_dtype)).float()


def _asked(spans: Sequence[Span], device: torch.device) -> Tensor | None:
    """The rows whose hidden states are asked for, `[M]`; None where all are."""
    if all(span.asked == span.count for span in spans):
        return None
    rows, first = list[int](), 0
    for span in spans:
        first += span.count
        rows += range(first - span.asked, first)
    return torch.tensor(rows, dtype=torch.long, device=device)
