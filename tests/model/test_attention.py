"""Plain products and torch's fused kernel give the same attention."""

from __future__ import annotations

from collections.abc import Callable

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


def branches(length: int, trunk: int, seed: int) -> torch.Tensor:
    """A mask `[T, T]`: a trunk, branches of 9 tokens off random places of it, and 5 places of padding."""
    mask = torch.eye(length, dtype=torch.bool)
    mask[:trunk, :trunk] = torch.ones(trunk, trunk, dtype=torch.bool).tril()
    places = torch.randint(1, trunk, (99,), generator=torch.Generator().manual_seed(seed)).sort().values
    for start, place in zip(range(trunk, length - 5, 9), places, strict=False):
        end = min(start + 9, length - 5)
        mask[start:end, :place] = True
        mask[start:end, start:end] = torch.ones(end - start, end - start, dtype=torch.bool).tril()
    return mask


Computed = tuple[torch.Tensor, ...]


def with_gradients(
    attention: Callable[..., torch.Tensor], leaves: Computed, mask: torch.Tensor | None, by: torch.Tensor
) -> Computed:
    q, k, v = (leaf.clone().requires_grad_() for leaf in leaves)
    out = attention(q, k, v, mask)
    return out, *torch.autograd.grad(out, (q, k, v), by.to(out.dtype))


def fused(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    share = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
    return F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None)


BLOCKS = pytest.mark.parametrize(("length", "masked"), [(256, True), (301, True), (256, False), (301, False)])


def case(length: int, masked: bool, shared: int) -> tuple[Computed, torch.Tensor | None, torch.Tensor]:
    """Queries, keys and values of 6 and `shared` heads, a mask, and what the gradients are of."""
    torch.manual_seed(0)
    mask = torch.stack([branches(length, length // 3, seed) for seed in range(2)])[:, None]
    leaves = tuple(torch.randn(2, heads, length, 8) for heads in (6, shared, shared))
    return leaves, mask if masked else None, torch.randn(2, 6, length, 8)


@BLOCKS
@pytest.mark.parametrize("shared", [6, 2])
def test_blocks_of_queries_give_the_same_and_the_same_gradients(
    length: int, masked: bool, shared: int
) -> None:
    leaves, mask, by = case(length, masked, shared)
    here = with_gradients(attend, leaves, mask, by)
    assert type(here[0].grad_fn).__name__ == "_InBlocksBackward"
    for ours, theirs in zip(here, with_gradients(fused, leaves, mask, by), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@BLOCKS
def test_blocks_in_bfloat16_are_as_near_as_the_fused_kernel_is(length: int, masked: bool) -> None:
    leaves, mask, by = case(length, masked, 2)
    exact = with_gradients(fused, leaves, mask, by)
    with torch.autocast("cpu", torch.bfloat16):  # as a training has it on, also in its backward pass
        here = with_gradients(attend, leaves, mask, by)
        usual = with_gradients(fused, leaves, mask, by)
    assert here[0].dtype is torch.bfloat16
    assert type(here[0].grad_fn).__name__ == "_InBlocksBackward"
    for ours, theirs, wanted in zip(here, usual, exact, strict=True):
        assert error(ours, wanted) <= 2 * error(theirs, wanted)
        assert error(ours, wanted) < 0.02


def error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(((got - wanted).norm() / wanted.norm()).detach())


def test_a_mask_that_changes_its_numbers_is_another_mask() -> None:
    q = torch.randn(1, 1, 192, 4)
    one, other = branches(192, 64, 0)[None, None], branches(192, 64, 1)[None, None]
    first = attend(q, q, q, one)
    assert not torch.equal(attend(q, q, q, other), first)
    assert torch.equal(attend(q, q, q, one), first)


def test_a_query_that_sees_nothing_gets_nothing() -> None:
    mask = branches(192, 64, 0)
    mask[64:128] = False
    mask[150] = False
    q = torch.randn(1, 2, 192, 4)
    out = attend(q, q, q, mask[None, None])
    assert not out[:, :, 64:128].any()
    assert not out[:, :, 150].any()
    assert out[:, :, 128:150].any(-1).all()


def test_a_mask_that_allows_most_takes_the_fused_kernel() -> None:
    q = torch.randn(1, 1, 256, 4, requires_grad=True)
    mask = torch.ones(1, 1, 256, 256, dtype=torch.bool)
    assert "ScaledDotProduct" in type(attend(q, q, q, mask).grad_fn).__name__
