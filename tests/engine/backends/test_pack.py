"""Weights in the kernels' layout: the numbers and places that torch finds for them."""

from __future__ import annotations

import ctypes

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from convai.engine.backends import native
from convai.engine.backends.pack import interleaved
from convai.model.native import quantise

library = native.library()
pytestmark = pytest.mark.skipif(library is None, reason="the kernels are not compiled, or cannot run here")


def packed(rows: Tensor, threads: int = 1) -> tuple[Tensor, Tensor]:
    """What convai_pack makes of the rows `[out, in]`: `[out / 32, in / 4, 32, 4]` and scales."""
    outputs, inputs = rows.shape
    stored, padded = (n + -n % 64 for n in rows.shape)
    numbers, scale = torch.zeros(stored * padded, dtype=torch.uint8), torch.full((stored,), -1.0)
    addresses = torch.tensor([row.data_ptr() for row in rows])
    assert library is not None
    library.convai_pack(
        ctypes.c_void_p(addresses.data_ptr()),
        outputs,
        inputs,
        ctypes.c_void_p(numbers.data_ptr()),
        ctypes.c_void_p(scale.data_ptr()),
        threads,
    )
    return numbers.view(stored // 32, padded // 4, 32, 4), scale


def expected(rows: Tensor) -> tuple[Tensor, Tensor]:
    numbers, scale = quantise(rows)
    outputs, inputs = rows.shape
    stored = F.pad(numbers.view(torch.uint8) ^ 128, (0, -inputs % 64, 0, -outputs % 64), value=128)
    return stored.view(len(stored) // 32, 32, -1, 4).transpose(1, 2), F.pad(scale[:, 0], (0, -outputs % 64))


@pytest.mark.parametrize(("outputs", "inputs"), [(64, 64), (1, 16), (100, 48), (33, 208), (96, 21)])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_numbers_are_torchs(outputs: int, inputs: int, threads: int) -> None:
    generator = torch.Generator().manual_seed(outputs)
    rows = (
        torch.randn(outputs, inputs, generator=generator) * torch.randn(outputs, 1, generator=generator).exp()
    )
    rows[0] = 0.0
    rows[-1, 0] = 5 * rows[-1].abs().max() + 1
    numbers, scale = packed(rows, threads)
    wanted, scales = expected(rows)
    assert torch.equal(numbers, wanted)
    assert torch.equal(scale, scales)


def test_halves_are_rounded_to_even_as_torch_does() -> None:
    rows = torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -126.5] + [0.0] * 9])
    numbers, scale = packed(rows)
    assert torch.equal(numbers, expected(rows)[0])
    assert scale[0] == 1.0


def test_what_is_not_a_number_shows_in_the_scale() -> None:
    rows = torch.ones(2, 32)
    rows[1, 20] = torch.nan
    _, scale = packed(rows)
    assert scale[0] == 1 / 127
    assert torch.isnan(scale[1])


def test_gates_and_what_they_gate_take_turns_by_sixteen() -> None:
    assert interleaved(torch.arange(64)).tolist() == [
        *range(16),
        *range(32, 48),
        *range(16, 32),
        *range(48, 64),
    ]
