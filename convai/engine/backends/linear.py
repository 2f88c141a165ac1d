"""Linear layers with weights converted once, as plain functions of an activation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Precision = Literal["float32", "bf16", "int8"]
Linear = Callable[[Tensor], Tensor]
"""`[N, in]` to `[N, out]`."""


def activation_dtype(precision: Precision) -> torch.dtype:
    """The type of activations and caches. Dynamic int8 takes and gives float32."""
    return torch.bfloat16 if precision == "bf16" else torch.float32


def linear(weight: Tensor, bias: Tensor | None, precision: Precision) -> Linear:
    """The layer of `weight` `[out, in]`, which it keeps no reference to.

    int8: weights symmetric with a scale for each output, activations quantised as they come, products in
    whole numbers (fbgemm on x86, QNNPACK on ARM; CPU only).
    """
    if precision == "int8":
        return _dynamic_int8(weight.float(), None if bias is None else bias.float())
    dtype = activation_dtype(precision)
    w = weight.to(dtype, copy=True).contiguous()
    b = None if bias is None else bias.to(dtype, copy=True)
    return lambda x: F.linear(x, w, b)


def _dynamic_int8(weight: Tensor, bias: Tensor | None) -> Linear:
    scales = weight.abs().amax(1).clamp_min(1e-8).double() / 127
    zeros = torch.zeros(len(scales), dtype=torch.long)
    with warnings.catch_warnings():
        # Quantised tensors are to leave torch; its release is pinned, and nothing else here is as fast.
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
        quantized = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(quantized, bias)
    dynamic = torch.ops.quantized.linear_dynamic.default
    return lambda x: dynamic(x, packed)
