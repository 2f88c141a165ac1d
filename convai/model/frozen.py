"""Frozen linear layers in 8 bits, for adapters that learn beside them (LoRA on an int8 base).

A frozen weight needs no gradient, so all that training computes with it are two products, y = x Wᵀ forward
and dx = dy W backward, and both may run in int8 where the processor multiplies that several times as fast as
float32. Weights have a scale for each output, activations and gradients one for each row, found anew every
time: Dettmers et al. 2022 (arXiv 2208.07339, §2, vector-wise quantisation) without its outlier columns, for
both directions as in Wortsman et al. 2023 (arXiv 2304.13013, "SwitchBack", §2.2). What learns stays float32.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from convai.model import native
from convai.model.gpt import Conv1D

_SCALE: Final = "__scale"
"""Ends the name of an int8 matrix' scales in a stored state."""


class FrozenLinear(nn.Module):
    """y = x Wᵀ + b with a constant W `[out, in]`, kept as int8 with a scale for each output."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """`weight` `[out, in]`, `bias` `[out]`, in float32."""
        super().__init__()
        quantised, scale = quantise_rows(weight.detach())
        self.register_buffer("weight", quantised)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.out_features, self.in_features = weight.shape

    @classmethod
    def of(cls, layer: nn.Linear | Conv1D) -> FrozenLinear:
        """The 8-bit twin of a linear layer."""
        weight = layer.weight.t() if isinstance(layer, Conv1D) else layer.weight
        return cls(weight, layer.bias)

    def forward(self, x: Tensor) -> Tensor:  # (..., in) -> (..., out)
        y: Tensor = _Product.apply(x.reshape(-1, self.in_features), self.weight, self.scale)  # type: ignore[no-untyped-call]
        if self.bias is not None:
            y = y + self.bias
        return y.view(*x.shape[:-1], self.out_features)

    def thawed(self) -> nn.Linear:
        """A float32 layer with the weights that this one computes with."""
        layer = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None)
        with torch.no_grad():
            layer.weight.copy_(self.weight.float() * self.scale[:, None])
            if self.bias is not None:
                layer.bias.copy_(self.bias)
        return layer


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(weight, scale)
        rows, row_scale = _rows(x.float())
        return _floats(torch._int_mm(rows, weight.t()), row_scale, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        weight, scale = ctx.saved_tensors
        rows, row_scale = _rows(gradients[0].float(), scale)
        return _floats(torch._int_mm(rows, weight), row_scale), None, None


def adapted_product(layer: FrozenLinear, x: Tensor, down: Tensor, up: Tensor, scaling: float) -> Tensor:
    """`layer(x) + scaling * x downᵀ upᵀ`: a frozen layer and the adapter beside it, as one product.

    `x` `[..., in]`, `down` `[r, in]`, `up` `[out, r]` (Hu et al. 2021, arXiv 2106.09685, §4.1). The low-rank
    part is added while it is multiplied, forward and backward, so that no array of the outputs' size is made
    for it. All is in float32; under autocast to bfloat16 `x` may be in that, the low-rank products are, and
    so is what comes out (the adapter and its gradients stay in float32).
    """
    kind = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else None
    y: Tensor = _AdaptedProduct.apply(
        x.reshape(-1, layer.in_features), layer.weight, layer.scale, down, up, scaling, kind
    )  # type: ignore[no-untyped-call]
    if layer.bias is not None:
        y = y + layer.bias.to(y.dtype)
    return y.view(*x.shape[:-1], layer.out_features)


class _AdaptedProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        scale: Tensor,
        down: Tensor,
        up: Tensor,
        scaling: float,
        kind: torch.dtype | None,
    ) -> Tensor:
        ctx.scaling, ctx.kind, ctx.of_x = scaling, kind, x.dtype
        rows, row_scale = _rows(x)
        sums = torch._int_mm(rows, weight.t())
        if kind is None:
            narrow = x @ down.t()
            ctx.save_for_backward(x, narrow, weight, scale, down, up)
            return _floats(sums, row_scale, scale).addmm_(narrow, up.t(), alpha=scaling)
        with torch.autocast(x.device.type, enabled=False):
            x, down, up = x.to(kind), down.to(kind), (up * scaling).to(kind)
            narrow = x @ down.t()
            ctx.save_for_backward(x, narrow, weight, scale, down, up)
            return _floats(sums, row_scale, scale, more=narrow @ up.t(), kind=kind)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, narrow, weight, scale, down, up = ctx.saved_tensors
        dy, kind = gradients[0].contiguous(), ctx.kind
        with torch.autocast(x.device.type, enabled=False):
            short = dy if kind is None else dy.to(kind)
            d_narrow = short @ up  # with `scaling`, where `up` has it already
            if kind is None:
                d_narrow.mul_(ctx.scaling)
            d_down, d_up = d_narrow.t() @ x, short.t() @ narrow
            d_down, d_up = d_down.float(), d_up.float().mul_(ctx.scaling)
            if not ctx.needs_input_grad[0]:
                return None, None, None, d_down, d_up, None, None
            rows, row_scale = _rows(dy, scale)
            sums = torch._int_mm(rows, weight)
            if kind is None:
                dx = _floats(sums, row_scale).addmm_(d_narrow, down)
            else:
                dx = _floats(sums, row_scale, more=d_narrow @ down, kind=ctx.of_x)
        return dx, None, None, d_down, d_up, None, None


def quantise_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """int8 `[M, K]` and float32 scales `[M]` whose product is near the rows of `x` `[M, K]`."""
    rows, scale = native.quantise(x)
    return rows, scale[:, 0]


def packed_rows(
    state: Mapping[str, Tensor], chosen: Callable[[str], bool], dtype: torch.dtype
) -> dict[str, Tensor]:
    """A state for the disk: `chosen` matrices as int8 with a scale a row beside each, the rest as `dtype`."""
    packed: dict[str, Tensor] = {}
    for name, p in state.items():
        if p.dim() == 2 and chosen(name):
            packed[name], packed[name + _SCALE] = quantise_rows(p.detach().float())
        else:
            packed[name] = p.detach().to("cpu", dtype).contiguous()
    return packed


def unpacked_rows(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of `packed_rows` in float32. Raises KeyError for a matrix without its scales."""
    return {
        name: p.float() * packed[name + _SCALE][:, None] if p.dtype == torch.int8 else p.float()
        for name, p in packed.items()
        if not name.endswith(_SCALE)
    }


def _rows(x: Tensor, by: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`quantise_rows` of `x` `[M, K]`, of `x * by` where `by` `[K]` is given, in one pass where it can be.

    `x` is in float32 or bfloat16.
    """
    if (library := _library()) is None or x.device.type != "cpu":
        x = x.float()
        return quantise_rows(x if by is None else x * by)
    x = x.contiguous()
    rows, scale = torch.empty(x.shape, dtype=torch.int8), torch.empty(len(x))
    run = library.convai_frozen_rows if x.dtype == torch.float32 else library.convai_frozen_rows_bf16
    run(_at(x), _at(by), *map(ctypes.c_int64, x.shape), _at(rows), _at(scale))
    return rows, scale


def _floats(
    sums: Tensor,
    rows: Tensor,
    columns: Tensor | None = None,
    *,
    more: Tensor | None = None,
    kind: torch.dtype = torch.float32,
) -> Tensor:
    """int32 `[M, N]` times a scale for each row `[M]` and, where given, for each column `[N]`, plus `more`
    `[M, N]` in bfloat16; in float32 or bfloat16.
    """
    if (library := _library()) is None or sums.device.type != "cpu":
        y = sums.float().mul_(rows[:, None])
        if columns is not None:
            y.mul_(columns)
        return (y if more is None else y.add_(more)).to(kind)
    y = torch.empty(sums.shape, dtype=kind)
    run = library.convai_frozen_floats if kind == torch.float32 else library.convai_frozen_floats_bf16
    run(_at(sums), _at(rows), _at(columns), _at(more), *map(ctypes.c_int64, sums.shape), _at(y))
    return y


def _at(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


@functools.cache
def _library() -> ctypes.CDLL | None:
    """frozen.c, where it is compiled and the processor has its instructions."""
    functions = ("convai_frozen_rows_bf16", "convai_frozen_floats_bf16")
    return native.library(Path(__file__).with_name("frozen_passes"), "convai_frozen_supported", functions)
