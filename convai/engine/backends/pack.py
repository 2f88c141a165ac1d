"""Weights as the C kernels want them, and the C structures that describe a model."""

from __future__ import annotations

import ctypes
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from convai.engine.backends import parts
from convai.model import native
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Shape

_Pointer = ctypes.c_void_p

GROUP: Final = 64
"""Inputs of a matrix that are rounded with a scale of their own in the rotary families: a few channels
of these models' activations are 15 to 40 times as large as the rest, and would leave it three bits of eight.
GPT's rows are rounded with one scale.
"""


class _Linear(ctypes.Structure):
    _fields_ = (
        ("weight", _Pointer),
        ("scale", _Pointer),
        ("bias", _Pointer),
        ("inputs", ctypes.c_int32),
        ("padded", ctypes.c_int32),
        ("outputs", ctypes.c_int32),
        ("group", ctypes.c_int32),
    )


class _Norm(ctypes.Structure):
    _fields_ = (("gain", _Pointer), ("bias", _Pointer))


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, _Norm) for name in ("first", "second", "query", "key")),
        *((name, _Linear) for name in ("qkv", "projection", "expand", "contract")),
    )


class ModelStruct(ctypes.Structure):
    """`Model` of native/model.h."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("layers", "heads", "kv_heads", "size", "width", "inner")),
        *((name, ctypes.c_int32) for name in ("vocabulary", "positions", "norm_before", "gated")),
        *((name, ctypes.c_float) for name in ("eps", "segment_gate")),
        *((name, _Pointer) for name in ("words", "places", "turns")),
        ("last", _Norm),
        ("layer", ctypes.POINTER(_Layer)),
        ("output", _Linear),
    )


def fits(config: Shape) -> bool:
    """Whether the kernels can compute a model of this shape: they work on vectors of 16 numbers, and turn a
    head's halves by each other. They know no windows, and none of Gemma's further norms.
    """
    if config.family == "gemma3_text":
        return False
    aligned = config.n_embd % 16 == 0 and config.inner_size % 16 == 0
    return aligned and config.head % (32 if config.rotary else 16) == 0


def interleaved(outputs: Tensor) -> Tensor:
    """Of a gated MLP, gates and then what they gate, `[2 inner]`: 16 of each in turn (STORE_GATED)."""
    return outputs.view(2, -1, 16).transpose(0, 1).reshape(-1)


def _rows(weight: Tensor) -> Tensor:
    """The addresses `[out]` of the rows of a matrix `[out, in]`."""
    return weight.data_ptr() + weight.element_size() * weight.shape[1] * torch.arange(len(weight))


def _bytes(config: Shape) -> int:
    """Of all matrices as convai_pack makes them."""
    d, inner, heads = config.n_embd, config.inner_size, config.n_head * config.head
    shapes = [(heads + 2 * config.kv_heads * config.head, d), (d, heads), (d, inner)]
    shapes += [(2 * inner if config.rotary else inner, d)]
    shapes = shapes * config.n_layer + [(config.vocab_size, d)]
    return sum(_up(rows) * _up(columns) for rows, columns in shapes)


def _up(size: int) -> int:
    """What the kernels pad sizes to."""
    return size + -size % 64


class PackedModel:
    """A model's weights in the kernels' layout; `struct` points into tensors that this object keeps."""

    def __init__(self, model: DoubleHeadsModel, library: ctypes.CDLL) -> None:
        config = model.config
        self._pack = library.convai_pack
        self._kept: list[Tensor] = []
        self._weights, self._used = native.zeros(_bytes(config)), 0
        outside, turns = parts.outside(model), parts.turns(model)
        self._group = GROUP if config.rotary else None
        layers = (_Layer * config.n_layer)()
        for layer, part in zip(layers, parts.layers(model), strict=True):
            layer.first, layer.second = self._norm(part.first), self._norm(part.second)
            layer.query, layer.key = self._norm(part.query), self._norm(part.key)
            layer.qkv, layer.projection = self._linear(part.qkv), self._linear(part.projection)
            layer.expand = self._linear(part.expand, gated=config.rotary)
            layer.contract = self._linear(part.contract)
        self.struct = ModelStruct(
            layers=config.n_layer,
            heads=config.n_head,
            kv_heads=config.kv_heads,
            size=config.head,
            width=config.n_embd,
            inner=config.inner_size,
            vocabulary=config.vocab_size,
            positions=config.n_positions,
            norm_before=config.pre_norm,
            gated=config.rotary,
            eps=config.layer_norm_epsilon,
            segment_gate=outside.segment_gate,
            words=self._keep(outside.words),
            places=None if outside.places is None else self._keep(outside.places),
            turns=None if turns is None else self._keep(turns),
            last=self._norm(outside.last),
            layer=layers,
            output=self._linear(parts.Matrix((outside.output,), None)),
        )

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor.detach().to("cpu", torch.float32, copy=True).contiguous())
        return self._kept[-1].data_ptr()

    def _norm(self, norm: parts.Norm | None) -> _Norm:
        if norm is None:
            return _Norm()
        return _Norm(self._keep(norm.gain), None if norm.bias is None else self._keep(norm.bias))

    def _linear(self, matrix: parts.Matrix, *, gated: bool = False) -> _Linear:
        weights = [w.detach().to("cpu", torch.float32).contiguous() for w in matrix.weights]
        rows = torch.cat([_rows(w) for w in weights])  # the matrices are read where they are
        outputs, inputs = len(rows), weights[0].shape[1]
        bias = torch.zeros(outputs) if matrix.bias is None else matrix.bias
        if gated:
            rows, bias = interleaved(rows), interleaved(bias)
        padded, stored = _up(inputs), _up(outputs)
        place = self._weights[self._used : self._used + stored * padded]
        self._used += stored * padded
        self._kept.append(scale := torch.empty(stored))
        self._pack(
            *(ctypes.c_void_p(rows.data_ptr()), outputs, inputs),
            *(ctypes.c_void_p(t.data_ptr()) for t in (place, scale)),
            torch.get_num_threads(),
        )
        return _Linear(
            place.data_ptr(),
            scale.data_ptr(),
            self._keep(F.pad(bias, (0, stored - outputs))),
            inputs,
            padded,
            outputs,
            self._group or padded,
        )
