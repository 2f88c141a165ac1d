"""Plain products and torch's fused kernel give the same attention."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from convai.model.attention import PLAIN_UP_TO, attend


@pytest.mark.parametrize("masked", ["causal", "tree", "shared"])
def test_the_plain_path_equals_the_fused_one(masked: str) -> None:
    torch.manual_seed(0)
    shape = (2, 3, 17, 8)
    q, k, v = (torch.randn(shape).bfloat16() for _ in range(3))
    mask = None
    if masked != "causal":
        rows = 2 if masked == "tree" else 1
        mask = torch.rand(rows, 1, 17, 17) < 0.5
        mask |= torch.eye(17, dtype=torch.bool)
        mask = mask if masked == "tree" else mask[0, 0]
    exact = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), mask, is_causal=mask is None)
    fused = attend(q, k, v, mask)
    plain = attend(q.requires_grad_(), k, v, mask)
    assert "baddbmm" in names(plain) or "Bmm" in names(plain)
    assert (plain - exact).abs().max() <= 2 * (fused - exact).abs().max() + 1e-2


def names(tensor: torch.Tensor) -> str:
    """Names of the functions that made `tensor`, one level of branches deep."""
    seen, nodes = [], [tensor.grad_fn]
    for _ in range(4):
        nodes = [child for node in nodes if node for child, _ in node.next_functions]
        seen += [type(node).__name__ for node in nodes if node]
    return " ".join([type(tensor.grad_fn).__name__, *seen])


def test_long_rows_and_float32_take_the_fused_kernel() -> None:
    q = torch.randn(1, 1, PLAIN_UP_TO + 1, 4, dtype=torch.bfloat16, requires_grad=True)
    assert "Attention" in names(attend(q, q, q, None))
    q = torch.randn(1, 1, 8, 4, requires_grad=True)
    assert "Attention" in names(attend(q, q, q, None))


def test_one_new_token_sees_the_whole_cache() -> None:
    q, k = torch.randn(1, 2, 1, 4), torch.randn(1, 2, 6, 4)
    torch.testing.assert_close(attend(q, k, k, None), (q @ k.mT / 2).softmax(-1) @ k)
