"""Tokens of different slots taken together (as off a CPU) equal each by itself."""

from __future__ import annotations

import pytest
import torch

from convai.engine.backends import Span
from convai.engine.backends.attention import Layout, Singles
from convai.engine.backends.pool import KVPool
from tests.tiny import close, tiny_config


def pool() -> KVPool:
    made = KVPool(tiny_config(), 4, 12, torch.float32, torch.device("cpu"))
    made.data.normal_(generator=torch.Generator().manual_seed(0))
    return made


@pytest.mark.parametrize("start", [6, 11])
def test_single_tokens_together_equal_each_by_itself(start: int) -> None:
    heads, size = 2, 8
    spans = [Span(3, 5, 1), Span(0, start, 1), Span(2, 0, 1)]
    qkv = torch.randn(3, 3 * heads * size, generator=torch.Generator().manual_seed(1))
    one_by_one, batched = pool(), pool()
    expected = Layout(spans, one_by_one, heads).attend(qkv, one_by_one.data[0])
    together = Singles.of(torch.tensor([3, 0, 2]), torch.tensor([5, start, 0]), 12)
    got = together.attend(qkv.view(3, 3, heads, size), batched.data[0])
    assert close(got.reshape(3, -1), expected, atol=1e-6)
    assert torch.equal(batched.data, one_by_one.data)
