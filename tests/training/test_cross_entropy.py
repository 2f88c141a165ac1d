"""The chunked cross-entropy equals torch's, loss and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from convai.training.losses import CHUNK, linear_cross_entropy


@pytest.mark.parametrize("n", [1, CHUNK - 1, CHUNK, 2 * CHUNK + 3])
def test_loss_and_gradients_equal_the_whole_computation(n: int) -> None:
    torch.manual_seed(n)
    hidden = torch.randn(n, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(50, 8, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 50, (n,))
    expected = F.cross_entropy(hidden @ weight.t(), labels, reduction="sum")
    wanted = torch.autograd.grad(expected / 7, (hidden, weight))
    loss = linear_cross_entropy(hidden, weight, labels)
    got = torch.autograd.grad(loss / 7, (hidden, weight))
    torch.testing.assert_close(loss, expected.float())
    for ours, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_in_bfloat16_it_is_as_close_as_autocast_is() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(300, 64), torch.randn(500, 64) * 0.1
    labels = torch.randint(0, 500, (300,))
    exact = F.cross_entropy(hidden @ weight.t(), labels, reduction="sum")
    with torch.autocast("cpu", torch.bfloat16):
        ours = linear_cross_entropy(hidden, weight, labels)
        usual = F.cross_entropy((hidden @ weight.t()).float(), labels, reduction="sum")
    assert abs(ours - exact) <= 2 * abs(usual - exact) + 0.05


def test_without_gradients_none_are_computed() -> None:
    with torch.no_grad():
        loss = linear_cross_entropy(torch.randn(3, 4), torch.randn(5, 4), torch.tensor([0, 1, 4]))
    assert not loss.requires_grad


def test_only_the_gradient_that_is_wanted() -> None:
    hidden = torch.randn(3, 4, requires_grad=True)
    linear_cross_entropy(hidden, torch.randn(5, 4), torch.tensor([0, 1, 4])).backward()
    assert hidden.grad is not None


def test_a_frozen_embedding_changes_nothing_for_the_hidden_states() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(300, 8, requires_grad=True), torch.randn(20, 8, requires_grad=True)
    labels = torch.randint(0, 20, (300,))
    wanted, _ = torch.autograd.grad(linear_cross_entropy(hidden, weight, labels), (hidden, weight))
    [got] = torch.autograd.grad(linear_cross_entropy(hidden, weight.detach(), labels), (hidden,))
    assert torch.equal(got, wanted)


def test_a_frozen_embedding_that_changes_is_seen_in_bfloat16() -> None:
    torch.manual_seed(0)
    hidden, weight, labels = torch.randn(4, 8), torch.randn(20, 8), torch.randint(0, 20, (4,))
    with torch.autocast("cpu", torch.bfloat16):
        before = linear_cross_entropy(hidden, weight, labels)
        assert torch.equal(linear_cross_entropy(hidden, weight, labels), before)
        weight.mul_(2)
        assert torch.equal(
            linear_cross_entropy(hidden, weight, labels), linear_cross_entropy(hidden, weight.clone(), labels)
        )
