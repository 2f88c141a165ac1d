"""Tokens of different slots taken together (as off a CPU) equal each by itself."""

from __future__ import annotations

import pytest
import torch

from convai.engine.backends import SlotSpan
from convai.engine.backends.attention import Singles, SpanLayout
from convai.engine.backends.pool import KVPool
from tests.tiny import close, tiny_config


def pool_of(heads: int) -> KVPool:
    shape = tiny_config().replace(n_embd=8 * heads, n_head=heads)
    made = KVPool(shape, 4, 12, torch.float32, torch.device("cpu"))
    made.data.normal_(generator=torch.Generator().manual_seed(0))
    return made


def pool() -> KVPool:
    return pool_of(2)


@pytest.mark.parametrize("share", [1, 3])
@pytest.mark.parametrize("start", [6, 11])
def test_single_tokens_together_equal_each_by_itself(start: int, share: int) -> None:
    spans = [SlotSpan(3, 5, 1), SlotSpan(0, start, 1), SlotSpan(2, 0, 1)]
    g = torch.Generator().manual_seed(1)
    q, kv = torch.randn(3, 2 * share, 8, generator=g), torch.randn(3, 2, 2, 8, generator=g)
    one_by_one, batched = pool(), pool()
    expected = SpanLayout(spans, one_by_one).attend(q, kv, one_by_one.data[0])
    together = Singles.of(torch.tensor([3, 0, 2]), torch.tensor([5, start, 0]), 12)
    assert close(together.attend(q, kv, batched.data[0]), expected, atol=1e-6)
    assert torch.equal(batched.data, one_by_one.data)


def test_heads_that_share_keys_are_heads_with_equal_keys() -> None:
    g = torch.Generator().manual_seed(2)
    spans = [SlotSpan(1, 0, 6), SlotSpan(0, 0, 1), SlotSpan(2, 3, 4)]
    q, kv = torch.randn(11, 4, 8, generator=g), torch.randn(11, 2, 1, 8, generator=g)
    shared, plain = (pool_of(heads) for heads in (1, 4))
    plain.data.copy_(shared.data.expand(-1, -1, -1, 4, -1, -1))
    got = SpanLayout(spans, shared).attend(q, kv, shared.data[0])
    expected = SpanLayout(spans, plain).attend(q, kv.expand(-1, -1, 4, -1), plain.data[0])
    assert close(got, expected, atol=1e-6)


@pytest.mark.parametrize("window", [1, 3, 5, 40])
def test_a_window_hides_what_is_far(window: int) -> None:
    """Spans and single tokens see what a mask over the whole slot lets them see."""
    spans = [SlotSpan(1, 0, 6), SlotSpan(0, 9, 1), SlotSpan(2, 4, 5), SlotSpan(3, 0, 1)]
    g = torch.Generator().manual_seed(3)
    q, kv = torch.randn(13, 2, 8, generator=g), torch.randn(13, 2, 2, 8, generator=g)
    made = pool()
    got = SpanLayout(spans, made, (None, window)).attend(q, kv, made.data[0], window)
    first = 0
    for span in spans:
        end = span.start + span.count
        keys, values = made.data[0][span.slot, :, :, :end]
        places, looking = torch.arange(end), torch.arange(span.start, end)[:, None]
        seen = (places <= looking) & (places > looking - window)
        queries = q[first : first + span.count].transpose(0, 1)
        expected = torch.nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
        assert close(got[first : first + span.count], expected.transpose(0, 1).flatten(1), atol=1e-5)
        first += span.count
    together = Singles.of(torch.tensor([0, 3]), torch.tensor([9, 0]), 12)
    rows = torch.tensor([6, 12])
    assert close(together.attend(q[rows], kv[rows], made.data[0], window), got[rows], atol=1e-5)
