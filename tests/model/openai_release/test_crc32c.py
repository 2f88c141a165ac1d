from __future__ import annotations

import random

import numpy as np
import pytest

from convai.model.openai_release.crc32c import crc32c, masked_crc32c

# RFC 3720, B.4, and the check value of the CRC catalogues
KNOWN = {
    b"": 0,
    b"123456789": 0xE3069283,
    bytes(32): 0x8A9136AA,
    b"\xff" * 32: 0x62A8AB43,
    bytes(range(32)): 0x46DD794E,
}


@pytest.mark.parametrize(("data", "expected"), KNOWN.items())
def test_published_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


def bit_by_bit(data: bytes) -> int:
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize("size", [1, 3, 127, 128, 129, 1000, 4096, 20011])
def test_lanes_side_by_side_equal_one_bit_after_the_other(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert crc32c(data) == bit_by_bit(data)
    assert crc32c(np.frombuffer(data, np.uint8)) == bit_by_bit(data)


def test_the_mask_of_tensorflow() -> None:
    # tsl/lib/hash/crc32c.h: rotated right by 15 bits, plus a constant
    crc = 0xE3069283
    assert masked_crc32c(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32
