"""A DoubleHeadsModel converted for inference: forward passes over ragged batches of spans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from convai.engine.backends import native_backend
from convai.engine.backends.pool import KVPool, SlotSpan
from convai.engine.backends.precision import Requested, chosen
from convai.engine.backends.torch_backend import TorchBackend
from convai.engine.draw import PlainDraw
from convai.model.double_heads import DoubleHeadsModel


class _Backend(Protocol):
    """What computes: see the methods of InferenceModel."""

    cache_dtype: torch.dtype

    def forward(
        self, words: Tensor, positions: Tensor, segments: Tensor, spans: Sequence[SlotSpan], pool: KVPool
    ) -> Tensor: ...

    def lm_logits(self, hidden: Tensor) -> Tensor: ...


class InferenceModel:
    """The numbers of `model`, arranged for speed; `model` itself is neither changed nor needed afterwards.

    `precision` is what "auto" became. One forward pass at a time: passes share a workspace.
    """

    def __init__(
        self,
        model: DoubleHeadsModel,
        precision: Requested = "auto",
        device: str | None = None,
        *,
        threads: int | None = None,
    ) -> None:
        """`threads`: of the 8-bit kernels; None is torch's number. Raises SettingsError for a precision that
        the device cannot compute in.
        """
        self.config = model.config
        self.device = torch.device(device) if device else model.device
        self.precision = chosen(precision, self.config, self.device)
        with torch.no_grad():
            self._backend: _Backend
            if self.precision == "int8" and native_backend.available(self.config):
                self._backend = native_backend.NativeBackend(model, threads)
            else:
                self._backend = TorchBackend(model, self.precision, self.device)
            head = model.multiple_choice_head.summary
            self._choice = tuple(
                p.to(self.device, torch.float32, copy=True) for p in (head.weight, head.bias)
            )

    def new_pool(self, slots: int, capacity: int) -> KVPool:
        """A pool for this model. Raises ValueError when there are no slots or no places."""
        return KVPool(self.config, slots, capacity, self._backend.cache_dtype, self.device)

    @torch.inference_mode()
    def forward(
        self, words: Tensor, positions: Tensor, segments: Tensor, spans: Sequence[SlotSpan], pool: KVPool
    ) -> Tensor:
        """Hidden states `[M, D]`, those that are asked for, of `N` new tokens: the spans' one after another.

        `words`, `positions`, `segments`: `[N]` integers (a segment is a token id, as in the model). The keys
        and values of the new tokens are stored in `pool`; windows count its places, as if the positions of a
        slot followed one another. Raises ValueError where the spans do not fit the tokens or the pool, or two
        are of one slot; IndexError for an id that the model does not have.
        """
        self._check(spans, words.shape[0], pool)
        return self._backend.forward(words, positions, segments, spans, pool)

    def _check(self, spans: Sequence[SlotSpan], tokens: int, pool: KVPool) -> None:
        total = 0
        for span in spans:
            end = span.start + span.count
            if not 0 <= span.slot < pool.slots or span.start < 0 or span.count < 1 or end > pool.capacity:
                raise ValueError(f"{span}: the pool has {pool.slots} slots of {pool.capacity} tokens")
            if not 0 <= span.asked <= span.count:
                raise ValueError(f"{span}: of a span of {span.count} tokens 0 to {span.count} are wanted")
            total += span.count
        if total != tokens or not total:
            raise ValueError(f"the spans have {total} tokens, {tokens} were given")
        if len({span.slot for span in spans}) < len(spans):
            raise ValueError("two spans are of one slot")
        shape = (self.config.n_layer, self.config.kv_heads, self.config.head)
        if pool.data.dtype != self._backend.cache_dtype or pool.shape != shape:
            raise ValueError("the pool was made for another model")

    @torch.inference_mode()
    def lm_logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits `[M, V]`, float32, of hidden states `[M, D]`."""
        return self._backend.lm_logits(hidden)

    @property
    def plain_draw(self) -> PlainDraw | None:
        """How tokens are drawn by temperature and nucleus from this model's logits; None: by torch."""
        backend = self._backend
        return backend.draw if isinstance(backend, native_backend.NativeBackend) else None

    @torch.inference_mode()
    def mc_logits(self, hidden: Tensor) -> Tensor:
        """Next-sentence scores `[M]`, float32, of hidden states `[M, D]`, taken at each reply's `<eos>`."""
        return F.linear(hidden.to(self.device, torch.float32), *self._choice).squeeze(-1)
