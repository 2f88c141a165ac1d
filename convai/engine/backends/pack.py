"""Weights as the C kernels want them, and the C structures that describe a model."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convai.model import memory
from convai.model.double_heads import DoubleHeadsModel
from convai.model.gpt import Block, Conv1D
from convai.model.shape import Shape

_Pointer = ctypes.c_void_p


class _Linear(ctypes.Structure):
    _fields_ = (
        ("weight", _Pointer),
        ("scale", _Pointer),
        ("bias", _Pointer),
        ("inputs", ctypes.c_int32),
        ("padded", ctypes.c_int32),
        ("outputs", ctypes.c_int32),
    )


class _Norm(ctypes.Structure):
    _fields_ = (("gain", _Pointer), ("bias", _Pointer))


class _Layer(ctypes.Structure):
    _fields_ = (
        ("first", _Norm),
        ("second", _Norm),
        ("qkv", _Linear),
        ("projection", _Linear),
        ("expand", _Linear),
        ("contract", _Linear),
    )


class ModelStruct(ctypes.Structure):
    """`Model` of native/kernels.c."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("layers", "heads", "width", "inner")),
        *((name, ctypes.c_int32) for name in ("vocabulary", "positions", "norm_before")),
        ("eps", ctypes.c_float),
        ("words", _Pointer),
        ("places", _Pointer),
        ("last", _Norm),
        ("layer", ctypes.POINTER(_Layer)),
        ("output", _Linear),
    )


def fits(config: Shape) -> bool:
    """Whether the kernels can compute a model of this shape: they work on vectors of 16 numbers."""
    return config.n_embd // config.n_head % 16 == 0 and config.inner_size % 16 == 0


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """`weight` `[out, in]` as int8, -127 … 127, and the scale of each output, float32 `[out]`."""
    scale = weight.abs().amax(1).clamp_min(1e-12) / 127
    return (weight / scale[:, None]).round_().to(torch.int8), scale


def packed(numbers: Tensor) -> Tensor:
    """int8 `[out, in]` as uint8 `[out / 32, in / 4, 32, 4]`: plus 128, sizes padded to 64 with zeros."""
    rows, columns = numbers.shape
    stored = F.pad(numbers.view(torch.uint8) ^ 128, (0, -columns % 64, 0, -rows % 64), value=128)
    return stored.view(stored.shape[0] // 32, 32, -1, 4).transpose(1, 2).contiguous()


def _bytes(config: Shape) -> int:
    """Of all matrices as `packed` makes them."""
    d, inner = config.n_embd, config.inner_size
    shapes = [(3 * d, d), (d, d), (inner, d), (d, inner)] * config.n_layer + [(config.vocab_size, d)]
    return sum((rows + -rows % 64) * (columns + -columns % 64) for rows, columns in shapes)


class PackedModel:
    """A model's weights in the kernels' layout; `struct` points into tensors that this object keeps."""

    def __init__(self, model: DoubleHeadsModel) -> None:
        config = model.config
        self._kept: list[Tensor] = []
        self._weights, self._used = memory.zeros(_bytes(config)), 0
        trunk = model.transformer
        layers = (_Layer * config.n_layer)()
        for layer, block in zip(layers, cast(Iterable[Block], trunk.h), strict=True):
            layer.first, layer.second = self._norm(block.ln_1), self._norm(block.ln_2)
            layer.qkv, layer.projection = self._linear(block.attn.c_attn), self._linear(block.attn.c_proj)
            layer.expand, layer.contract = self._linear(block.mlp.c_fc), self._linear(block.mlp.c_proj)
        words = trunk.wte.weight.detach()
        self.struct = ModelStruct(
            layers=config.n_layer,
            heads=config.n_head,
            width=config.n_embd,
            inner=config.inner_size,
            vocabulary=config.vocab_size,
            positions=config.n_positions,
            norm_before=config.pre_norm,
            eps=config.layer_norm_epsilon,
            words=self._keep(words),
            places=self._keep(trunk.wpe.weight),
            last=self._norm(cast(nn.LayerNorm, trunk.ln_f)) if config.pre_norm else _Norm(),
            layer=layers,
            output=self._matrix(words.float(), torch.zeros(config.vocab_size)),
        )

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor.detach().to("cpu", torch.float32, copy=True).contiguous())
        return self._kept[-1].data_ptr()

    def _norm(self, module: nn.LayerNorm) -> _Norm:
        return _Norm(self._keep(module.weight), self._keep(module.bias))

    def _linear(self, module: Conv1D) -> _Linear:
        return self._matrix(module.weight.detach().float().t(), module.bias.detach().float())

    def _matrix(self, weight: Tensor, bias: Tensor) -> _Linear:
        outputs, inputs = weight.shape
        numbers, scale = quantised(weight.cpu())
        stored = packed(numbers).view(-1)
        place = self._weights[self._used : self._used + stored.numel()].copy_(stored)
        self._used += stored.numel()
        return _Linear(
            place.data_ptr(),
            self._keep(F.pad(scale, (0, -outputs % 64))),
            self._keep(F.pad(bias, (0, -outputs % 64))),
            inputs,
            inputs + -inputs % 64,
            outputs,
        )
