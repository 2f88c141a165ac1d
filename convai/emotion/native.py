"""The fused int8 cell (cell.c): a whole layer in one call, where it is compiled and can run.

torch's operators spend more time between an LSTM's small products than in them. Without it, or without
AVX-512 VNNI, `int8.Int8Layer` does the same on torch's operators (see `convai.model.native`).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from convai.emotion.model import Encoded, Packing
from convai.emotion.recurrence import FoldedLayer, Steps
from convai.model import native
from convai.model.native import quantise

_FUNCTIONS: Final = ("convai_emotion_layer", "convai_emotion_attend")
_UNITS: Final = 16
"""Hidden units whose gates are together."""
_INPUT_PANEL: Final = 32
_STATE_PANEL: Final = 64
_ZERO: Final = 128
"""What stands for 0 in the unsigned activations."""
_NUMBERS: Final = 5
"""Numbers a channel beside the weights: bias, and scale and offset of both matrices."""
_PAGE: Final = 1 << 21
_LINE: Final = 64


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled cell, or None."""
    return native.library(Path(__file__).with_name("cell"), "convai_emotion_supported", _FUNCTIONS)


def fits(layer: FoldedLayer) -> bool:
    """Whether the cell's panels can hold the layer."""
    return layer.w_x.shape[2] % 4 == 0 and layer.w_h.shape[2] % (2 * _UNITS) == 0


class _Matrix(ctypes.Structure):
    """cell.c's Matrix."""

    _fields_ = (("weights", ctypes.c_void_p), ("scale", ctypes.c_void_p), ("offset", ctypes.c_void_p))


class _Side(ctypes.Structure):
    """cell.c's Side."""

    _fields_ = (("inputs", _Matrix), ("states", _Matrix), ("bias", ctypes.c_void_p))


class _Buffer:
    """Memory for a layer's numbers, in large pages where there are any: each step reads them all."""

    def __init__(self, size: int) -> None:
        self._bytes = native.zeros(size + _PAGE)
        self._used = -self._bytes.data_ptr() % _PAGE

    def take(self, tensor: Tensor) -> int:
        """Copy `tensor`; returns where it is."""
        raw = tensor.contiguous().view(-1).view(torch.uint8)
        self._bytes[self._used : self._used + len(raw)] = raw
        place = self._bytes.data_ptr() + self._used
        self._used += _rounded(len(raw))
        return place


class NativeLayer:
    """An int8 layer run by the compiled cell, its directions beside each other on torch's threads."""

    def __init__(self, layer: FoldedLayer, cell: ctypes.CDLL) -> None:
        """`layer`: folded weights that `fits`."""
        self._cell = cell
        self._hidden = layer.w_h.shape[2]
        weights = layer.w_x.numel() + layer.w_h.numel()
        self._buffer = _Buffer(weights + _NUMBERS * (_rounded(4 * layer.bias.shape[1]) * len(layer.bias)))
        directions = [self._side(*parts) for parts in zip(layer.w_x, layer.w_h, layer.bias, strict=True)]
        self._sides = (_Side * len(directions))(*directions)

    def _side(self, w_x: Tensor, w_h: Tensor, bias: Tensor) -> _Side:
        numbers = self._buffer.take(_by_unit(bias.detach().float()))
        return _Side(self._matrix(w_x, _INPUT_PANEL), self._matrix(w_h, _STATE_PANEL), numbers)

    def _matrix(self, weights: Tensor, panel: int) -> _Matrix:
        """Weights `[4H, K]` in panels of `panel` channels, with what takes the activations' offset back."""
        quantised, scale = quantise(_by_unit(weights.detach().float()))
        channels, depth = weights.shape
        panels = quantised.view(channels // panel, panel, depth // 4, 4).transpose(1, 2)
        offset = _ZERO * quantised.sum(1, dtype=torch.int32)
        return _Matrix(*map(self._buffer.take, (panels, scale[:, 0], offset)))

    def run(self, x: Tensor, steps: Steps, *, hard: bool = True) -> Tensor:
        """Rows `[N, D]` → rows `[N, G * H]`, from zero states; `Int8Layer.run` but for rounding."""
        x = x.contiguous()
        directions = len(self._sides)
        out = torch.empty(len(x), directions * self._hidden)
        sizes = torch.tensor(steps.sizes)
        failed = self._cell.convai_emotion_layer(
            _pointer(x),
            ctypes.c_long(x.shape[1]),
            ctypes.c_long(self._hidden),
            _pointer(sizes),
            ctypes.c_long(len(sizes)),
            ctypes.c_long(directions),
            self._sides,
            ctypes.c_int(hard),
            _pointer(out),
            ctypes.c_long(torch.get_num_threads()),
        )
        if failed:
            raise MemoryError
        return out


def attend(cell: ctypes.CDLL, vector: Tensor, parts: Sequence[Tensor], packing: Packing) -> Encoded:
    """What `model.Attention` of `vector` gives, float32, but for rounding; `parts`: packed rows `[N, *]`."""
    rows = [part.contiguous() for part in parts]
    widths = torch.tensor([part.shape[1] for part in rows])
    features = torch.empty(packing.steps.batch, len(vector))
    attention = torch.zeros(packing.steps.batch, packing.width)
    sizes = torch.tensor(packing.steps.sizes)
    failed = cell.convai_emotion_attend(
        (ctypes.c_void_p * len(rows))(*(part.data_ptr() for part in rows)),
        _pointer(widths),
        ctypes.c_long(len(rows)),
        _pointer(vector),
        _pointer(sizes),
        ctypes.c_long(len(sizes)),
        _pointer(packing.order),
        _pointer(features),
        _pointer(attention),
        ctypes.c_long(packing.width),
        ctypes.c_long(torch.get_num_threads()),
    )
    if failed:
        raise MemoryError
    return Encoded(features, attention)


def _rounded(size: int) -> int:
    return -(-size // _LINE) * _LINE


def _by_unit(channels: Tensor) -> Tensor:
    """Gate channels `[4H, ...]`, i, f, o and g one after the other, as the cell has them: by 16 units."""
    units: Tensor = channels.unflatten(0, (4, -1, _UNITS))
    return units.transpose(0, 1).flatten(0, 2)


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())
