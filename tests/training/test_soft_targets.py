"""The divergences equal the whole computation, values and gradients, in chunks and at any temperature."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import convai.training.losses as module
from convai.training.losses import CHUNK, choice_divergence, linear_divergence, state_distance


def made(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Student's states and words, the teacher's, of other widths."""
    torch.manual_seed(seed)
    hidden = torch.randn(n, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(50, 8, dtype=torch.float64, requires_grad=True)
    return hidden, weight, torch.randn(n, 12, dtype=torch.float64), torch.randn(50, 12, dtype=torch.float64)


def naive(student: Tensor, teacher: Tensor, t: float) -> Tensor:
    """All logits at once, as the paper's equations say."""
    own, target = F.log_softmax(student / t, -1), F.softmax(teacher / t, -1)
    return F.kl_div(own, target, reduction="sum") * t**2


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 7.0])
@pytest.mark.parametrize("n", [1, CHUNK, 2 * CHUNK + 3])
def test_chunks_equal_the_whole(n: int, temperature: float) -> None:
    hidden, weight, wise, words = made(n)
    expected = naive(hidden @ weight.t(), wise @ words.t(), temperature)
    wanted = torch.autograd.grad(expected / 7, (hidden, weight))
    loss = linear_divergence(hidden, weight, wise, words, temperature)
    got = torch.autograd.grad(loss / 7, (hidden, weight))
    torch.testing.assert_close(loss, expected.float(), rtol=1e-5, atol=1e-4)
    for ours, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


def test_the_gradient_is_that_of_soft_cross_entropy() -> None:
    hidden, weight, wise, words = made(9)
    target = F.softmax(wise @ words.t() / 3, -1)
    entropy = -(target * F.log_softmax(hidden @ weight.t() / 3, -1)).sum() * 9
    wanted = torch.autograd.grad(entropy, hidden)[0]
    got = torch.autograd.grad(linear_divergence(hidden, weight, wise, words, 3.0), hidden)[0]
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


def test_the_teacher_gets_no_gradient_and_itself_is_no_distance() -> None:
    hidden, weight, *_ = made(5)
    loss = linear_divergence(hidden, weight, hidden, weight, 2.0)
    assert abs(float(loss.detach())) < 1e-5
    loss.backward()
    assert hidden.grad is not None
    assert float(hidden.grad.abs().max()) < 1e-5
    wise = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    words = torch.randn(50, 4, dtype=torch.float64, requires_grad=True)
    linear_divergence(hidden, weight, wise, words).backward()
    assert (wise.grad, words.grad) == (None, None)


def test_only_the_gradient_that_is_wanted() -> None:
    hidden, weight, wise, words = made(5)
    linear_divergence(hidden, weight.detach(), wise, words).backward()
    frozen = hidden.grad
    hidden.grad = None
    linear_divergence(hidden, weight, wise, words).backward()
    assert frozen is not None
    assert hidden.grad is not None
    assert torch.equal(frozen, hidden.grad)


def test_without_gradients_none_are_computed() -> None:
    hidden, weight, wise, words = made(5)
    with torch.no_grad():
        assert not linear_divergence(hidden, weight, wise, words).requires_grad


def test_logits_are_never_held_for_more_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the largest tensor that any operation makes: CHUNK words of either model."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor):
                largest = max(largest, out.numel())
            return out

    monkeypatch.setattr(module, "CHUNK", 16)
    hidden, weight, wise, words = made(160)
    with Sizes():  # type: ignore[no-untyped-call]
        linear_divergence(hidden, weight, wise, words).backward()
    assert largest == 160 * 12, "the teacher's states, which were given"
    assert largest < 160 * 50 / 4


def test_in_bfloat16_it_is_as_close_as_autocast_is() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(300, 64), torch.randn(500, 64) * 0.1
    wise, words = torch.randn(300, 96), torch.randn(500, 96) * 0.1
    exact = naive(hidden @ weight.t(), wise @ words.t(), 2.0)
    with torch.autocast("cpu", torch.bfloat16):
        ours = linear_divergence(hidden, weight, wise, words, 2.0)
        usual = naive((hidden @ weight.t()).float(), (wise @ words.t()).float(), 2.0)
    assert ours.dtype == torch.float32
    assert abs(ours - exact) <= 2 * abs(usual - exact) + 0.02 * exact


def test_choices_are_compared_as_a_list_and_absent_ones_have_no_part() -> None:
    gone = -math.inf
    scores = torch.tensor([[gone, 0.3, -1.0], [0.5, 2.0, 1.0]], requires_grad=True)
    wise = torch.tensor([[gone, 2.0, 0.0], [1.0, 1.0, 4.0]])
    loss = choice_divergence(scores, wise, 2.0)
    expected = naive(scores[:1, 1:], wise[:1, 1:], 2.0) + naive(scores[1:], wise[1:], 2.0)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert scores.grad[0, 0] == 0
    assert float(choice_divergence(wise, wise + 3.0)) == pytest.approx(0, abs=1e-6), "only differences count"


def test_states_are_compared_by_direction() -> None:
    states = torch.tensor([[1.0, 0.0], [0.0, 5.0], [2.0, 0.0]])
    wise = torch.tensor([[7.0, 0.0], [0.0, -1.0], [0.0, 3.0]])
    assert float(state_distance(states, wise)) == pytest.approx(0 + 2 + 1)
