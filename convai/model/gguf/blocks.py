"""Quantised tensors to float32: in C for the types that bases come in, else by the gguf package.

The package's numpy takes 1.2 s of a core for SmolLM2-135M, a good part of what a chat waits for; the C code
reads each block once and gives the same numbers.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any, Final

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from numpy.typing import NDArray

from convai.model import native

_FUNCTIONS: Final = ("convai_blocks_four_bits", "convai_blocks_eight_bits")
_NUMBERS: Final = 32
_HALF: Final = np.dtype("<f2")


def to_floats(
    raw: NDArray[np.uint8], kind: GGMLQuantizationType, *, compiled: bool = True
) -> NDArray[np.float32]:
    """The numbers, `[n]`, of a tensor's bytes. `compiled`: whether C may compute them.

    Raises NotImplementedError for a type that cannot be read.
    """
    library = _library() if compiled else None
    if library is None or kind not in _PARTS:
        values: NDArray[np.float32] = dequantize(raw.reshape(-1, GGML_QUANT_SIZES[kind][1]), kind)
        return values.reshape(-1)
    blocks = raw.reshape(-1, GGML_QUANT_SIZES[kind][1])
    scale = _halves(blocks, 0)
    out = np.empty(blocks.shape[0] * _NUMBERS, np.float32)
    size, stride = (ctypes.c_long(n) for n in blocks.shape)
    start = ctypes.c_void_p(blocks.ctypes.data + _PARTS[kind])
    if kind == GGMLQuantizationType.Q8_0:
        library.convai_blocks_eight_bits(start, stride, _at(scale), size, _at(out))
        return out
    # Q4_0's levels are 0 ... 15 for -8 ... 7
    minimum = _halves(blocks, 2) if kind == GGMLQuantizationType.Q4_1 else np.float32(-8) * scale
    library.convai_blocks_four_bits(start, stride, _at(scale), _at(minimum), size, _at(out))
    return out


_PARTS: Final = {
    GGMLQuantizationType.Q4_0: 2,
    GGMLQuantizationType.Q4_1: 4,
    GGMLQuantizationType.Q8_0: 2,
}
"""The byte of a block at which its levels begin, behind a scale and perhaps a minimum in half precision."""


def _halves(blocks: NDArray[np.uint8], start: int) -> NDArray[np.float32]:
    """The number in half precision at byte `start` of every block."""
    part = np.ascontiguousarray(blocks[:, start : start + _HALF.itemsize])
    return part.view(_HALF).reshape(-1).astype(np.float32)


def _at(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@functools.cache
def _library() -> ctypes.CDLL | None:
    """levels.c, where it is compiled."""
    return native.library(Path(__file__).with_name("levels"), "convai_blocks_supported", _FUNCTIONS)
