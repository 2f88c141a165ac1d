"""CRC-32C (Castagnoli) of large buffers with numpy, and TensorFlow's masking of it.

A byte loop in Python takes minutes for half a gigabyte. Here the buffer is cut into many lanes of equal
length whose checksums advance side by side, four bytes a step by two tables (after "slicing by N", Kounavis &
Berry 2005), and are then joined pair by pair: appending zeros to a message is a linear map over GF(2) (zlib's
crc32_combine).
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

_POLYNOMIAL: Final = 0x82F63B78  # reflected
_MASK_DELTA: Final = 0xA282EAD8
_MAX_LANES: Final = 1 << 14
_SHORTEST_LANE: Final = 16
"""Words a lane: below that a plain loop is as fast."""


def crc32c(data: bytes | NDArray[np.uint8]) -> int:
    """The checksum of `data`, as in RFC 3720, appendix B.4."""
    array = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
    return _extend(0xFFFFFFFF, array) ^ 0xFFFFFFFF


def masked_crc32c(data: bytes | NDArray[np.uint8]) -> int:
    """The checksum as LevelDB and TensorFlow store it, rotated and shifted (tsl/lib/hash/crc32c.h)."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _extend(state: int, array: NDArray[np.uint8]) -> int:
    """The state of the register after `array`."""
    n_words = array.size // 4
    lanes = 1
    while lanes < _MAX_LANES and n_words // (2 * lanes) >= _SHORTEST_LANE:
        lanes *= 2
    if lanes == 1:
        table = _byte_table()
        for byte in array.tobytes():
            state = int(table[(state ^ byte) & 0xFF]) ^ (state >> 8)
        return state
    width = n_words // lanes
    used = 4 * lanes * width
    words = array[:used].view("<u4").reshape(lanes, width)
    states = np.zeros(lanes, np.uint32)
    states[0] = state
    first, second = _half_tables()
    x, y = np.empty((2, lanes), np.uint32)
    halves = x.astype("<u4", copy=False).view("<u2")
    low, high = np.empty((2, lanes), np.intp)  # what `take` wants, and converts to if it is given less
    for start in range(0, width, 64):
        for column in np.ascontiguousarray(words[:, start : start + 64].T):
            np.bitwise_xor(states, column, out=x)
            low[:], high[:] = halves[::2], halves[1::2]
            np.take(first, low, out=states, mode="clip")  # nothing is out of range, and "raise" copies
            np.take(second, high, out=y, mode="clip")
            states ^= y
    zeros = _power(_zero_byte(), 4 * width)
    while states.size > 1:
        states = _apply(zeros, states[::2]) ^ states[1::2]
        zeros = _apply(zeros, zeros)
    return _extend(int(states[0]), array[used:])


@cache
def _byte_table() -> Words:
    """The register after each byte `[256]`, from zero."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


@cache
def _half_tables() -> tuple[Words, Words]:
    """The register after a word of which the first, or the second, two bytes are not zero: `[65536]` each."""
    tables = [_byte_table()]
    for _ in range(3):
        last = tables[-1]
        tables.append(tables[0][last & 0xFF] ^ (last >> 8))
    pairs = np.arange(1 << 16)
    low, high = pairs & 0xFF, pairs >> 8
    return tables[3][low] ^ tables[2][high], tables[1][low] ^ tables[0][high]


def _zero_byte() -> Words:
    """What a zero byte does to the register, as the images `[32]` of its bits."""
    bit = np.array([_POLYNOMIAL, *(1 << i for i in range(31))], np.uint32)
    for _ in range(3):
        bit = _apply(bit, bit)
    return bit


def _power(matrix: Words, exponent: int) -> Words:
    result = (np.uint32(1) << np.arange(32, dtype=np.uint32)).astype(np.uint32)
    while exponent:
        if exponent & 1:
            result = _apply(matrix, result)
        matrix = _apply(matrix, matrix)
        exponent >>= 1
    return result


def _apply(matrix: Words, states: Words) -> Words:
    """The images `[N]` of the registers `states` `[N]`."""
    result = np.zeros_like(states)
    for i in range(32):
        result ^= np.where((states >> np.uint32(i)) & 1, matrix[i], np.uint32(0))
    return result
