"""The pool of caches: its size, and copies between slots."""

from __future__ import annotations

import pytest
import torch

from convai.engine.backends import KVPool
from tests.tiny import tiny_config


def pool(dtype: torch.dtype = torch.float32) -> KVPool:
    return KVPool(tiny_config(), 3, 10, dtype, torch.device("cpu"))


def test_bytes_are_those_of_keys_and_values_of_all_layers() -> None:
    config = tiny_config()
    numbers = 2 * config.n_layer * 3 * 10 * config.n_embd
    assert pool().bytes == 4 * numbers
    assert pool(torch.bfloat16).bytes == 2 * numbers
    assert (pool().slots, pool().capacity) == (3, 10)


def test_a_copy_takes_the_first_tokens_and_leaves_the_rest() -> None:
    p = pool()
    p.data.copy_(torch.arange(p.data.numel()).view_as(p.data))
    before = p.data.clone()
    p.copy(0, 2, 4)
    assert torch.equal(p.data[:, 2, ..., :4, :], before[:, 0, ..., :4, :])
    assert torch.equal(p.data[:, 2, ..., 4:, :], before[:, 2, ..., 4:, :])
    assert torch.equal(p.data[:, :2], before[:, :2])
    p.copy(1, 1, 10)
    assert torch.equal(p.data[:, 1], before[:, 1])
    p.copy(1, 2, 6, start=4)  # what it has already stays
    assert torch.equal(p.data[:, 2, ..., :4, :], before[:, 0, ..., :4, :])
    assert torch.equal(p.data[:, 2, ..., 4:6, :], before[:, 1, ..., 4:6, :])
    assert torch.equal(p.data[:, 2, ..., 6:, :], before[:, 2, ..., 6:, :])


@pytest.mark.parametrize(("source", "target", "length"), [(3, 0, 1), (0, -1, 1), (0, 1, 11), (0, 1, -1)])
def test_a_copy_outside_is_refused(source: int, target: int, length: int) -> None:
    with pytest.raises(ValueError, match="slots"):
        pool().copy(source, target, length)
    with pytest.raises(ValueError, match="slots"):
        pool().copy(0, 1, 3, start=4)


@pytest.mark.parametrize(("slots", "capacity"), [(0, 5), (5, 0)])
def test_an_empty_pool_is_refused(slots: int, capacity: int) -> None:
    with pytest.raises(ValueError, match="above 0"):
        KVPool(tiny_config(), slots, capacity, torch.float32, torch.device("cpu"))


def test_reserving_changes_nothing() -> None:
    p = pool(torch.float16)
    p.data.copy_(torch.randn(p.data.shape))
    before = p.data.clone()
    p.reserve()
    assert torch.equal(p.data, before)
