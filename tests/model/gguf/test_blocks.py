"""Quantised blocks in C: the numbers of the gguf package."""

from __future__ import annotations

import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

from convai.model.gguf import blocks

KINDS = [GGMLQuantizationType[name] for name in ("Q4_0", "Q4_1", "Q8_0")]


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_are_the_packages(kind: GGMLQuantizationType) -> None:
    if blocks._library() is None:
        pytest.skip("levels.c is not compiled")
    generator = np.random.default_rng(kind)
    values = generator.normal(size=(7, 96)).astype(np.float32) * np.exp(generator.normal(size=(7, 1)))
    raw = quantize(values.astype(np.float32), kind)
    wanted = dequantize(raw, kind)
    found = blocks.to_floats(raw.reshape(-1), kind)
    assert found.dtype == np.float32
    assert np.array_equal(found, wanted.reshape(-1))
    assert np.array_equal(blocks.to_floats(raw.reshape(-1), kind, compiled=False), found)
    assert np.abs(found - values.reshape(-1)).max() < 0.2 * np.abs(values).max()


@pytest.mark.parametrize("kind", KINDS)
def test_every_level_and_sign_of_a_block(kind: GGMLQuantizationType) -> None:
    """Bytes at random are a block of any kind: every level occurs, and scales of either sign."""
    generator = np.random.default_rng(1)
    raw = generator.integers(0, 256, (200, GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
    raw[:, 1] &= 0b10111011  # no infinite scales
    raw[:, 3] &= 0b10111011
    assert np.array_equal(blocks.to_floats(raw.reshape(-1), kind), dequantize(raw, kind).reshape(-1))


def test_other_types_are_read_by_the_package() -> None:
    values = np.linspace(-1, 1, 64, dtype=np.float32)
    kind = GGMLQuantizationType.Q5_0
    raw = quantize(values, kind)
    assert np.array_equal(blocks.to_floats(raw, kind), dequantize(raw, kind))


def test_a_type_that_nobody_reads_is_refused() -> None:
    kind = GGMLQuantizationType.Q8_1
    with pytest.raises(NotImplementedError):
        blocks.to_floats(np.zeros(GGML_QUANT_SIZES[kind][1], np.uint8), kind)
