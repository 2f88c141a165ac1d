from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convai.core.settings import TrainConfig
from convai.model.double_heads import DoubleHeadsModel
from convai.training.optim import Optimizers
from convai.training.rates import depth, rate_factor
from tests.tiny import inputs, tiny_model

# -- the learning rate's course


def test_linear() -> None:
    config = TrainConfig(warmup=0.4, schedule="linear")
    factors = [rate_factor(step, 10, config) for step in range(11)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0])


def test_trapezoid() -> None:
    config = TrainConfig(warmup=0.2, schedule="trapezoid")
    factors = [rate_factor(step, 20, config) for step in range(21)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, *[1.0] * 13, 0.75, 0.5, 0.25, 0.0])


def test_no_warmup_begins_at_the_peak() -> None:
    for schedule in ("linear", "trapezoid"):
        config = TrainConfig(warmup=0.0, schedule=schedule)
        assert rate_factor(0, 5, config) == 1.0
    assert rate_factor(0, 1, config) == 1.0


@given(
    total=st.integers(1, 300),
    warmup=st.floats(0, 1),
    schedule=st.sampled_from(["linear", "trapezoid"]),
)
def test_every_course_rises_stays_and_falls(total: int, warmup: float, schedule: str) -> None:
    config = TrainConfig(warmup=warmup, schedule=schedule)  # type: ignore[arg-type]
    factors = [rate_factor(step, total, config) for step in range(total)]
    assert all(0 < f <= 1 for f in factors), "no step is without effect"
    peak = factors.index(max(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert rate_factor(total, total, config) in (0.0, 1.0)
    if warmup < 0.9:
        assert rate_factor(total, total, config) == 0.0


# -- the optimizers


def trained(model: DoubleHeadsModel, optimizers: Optimizers, steps: int, first: int = 0) -> None:
    for step in range(first, first + steps):
        optimizers.set_rate(rate_factor(step, 10, optimizers.config))
        words, positions, segments = inputs(seed=step)
        hidden = model(words, positions, segments)
        loss = model.lm_logits(hidden).logsumexp(-1).mean() + model.mc_logits(hidden).square().mean()
        loss.backward()
        optimizers.clip(optimizers.config.max_norm)
        optimizers.step()
        optimizers.zero_grad()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_every_parameter_is_in_one_group(optimizer: str) -> None:
    model = tiny_model()
    config = TrainConfig(optimizer=optimizer, weight_decay=0.1, lr=1e-3, muon_lr=2e-2)  # type: ignore[arg-type]
    optimizers = Optimizers(model, config)
    names = {id(p): name for name, p in model.named_parameters()}
    found: dict[str, tuple[str, float]] = {}
    for part, _ in optimizers.parts:
        for group in part.param_groups:
            for p in group["params"]:
                name = names[id(p)]
                assert name not in found
                found[name] = (type(part).__name__, group["weight_decay"])
    assert found.keys() == set(names.values())
    assert sorted(id(p) for p in optimizers.parameters) == sorted(names)
    for name, (kind, decay) in found.items():
        matrix = model.get_parameter(name).dim() == 2
        assert decay == (0.1 if matrix else 0.0), name
        in_block = matrix and ".h." in name
        assert kind == ("Muon" if in_block and optimizer == "muon" else "AdamW"), name
    assert sum(kind == "Muon" for kind, _ in found.values()) == (8 if optimizer == "muon" else 0)


def test_frozen_parameters_are_left_alone() -> None:
    model = tiny_model()
    frozen = model.transformer.wpe.weight.requires_grad_(False)
    optimizers = Optimizers(model, TrainConfig(optimizer="muon"))
    assert all(p is not frozen for p in optimizers.parameters)


def test_rates_are_shares_of_their_peaks() -> None:
    optimizers = Optimizers(tiny_model(), TrainConfig(optimizer="muon", lr=1e-3, muon_lr=2e-2))
    optimizers.set_rate(0.25)
    rates = [group["lr"] for part, _ in optimizers.parts for group in part.param_groups]
    assert rates == pytest.approx([2.5e-4, 2.5e-4, 5e-3])


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_one_step_goes_the_right_way(optimizer: str) -> None:
    """Every parameter that has a gradient moves, by about the learning rate, and the loss falls."""
    model = tiny_model()
    config = TrainConfig(optimizer=optimizer, lr=1e-3, muon_lr=1e-3, weight_decay=0.0, warmup=0.0)  # type: ignore[arg-type]
    optimizers = Optimizers(model, config)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    words, positions, segments = inputs()

    def loss() -> torch.Tensor:
        return model.lm_logits(model(words, positions, segments)).logsumexp(-1).mean()

    first = loss()
    first.backward()
    optimizers.step()
    optimizers.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    for name, p in model.named_parameters():
        if "multiple_choice" in name:
            continue
        moved = float((p.detach() - before[name]).square().mean().sqrt())
        if optimizer == "muon" and ".h." in name and p.dim() == 2:
            assert moved == pytest.approx(0.2e-3, rel=0.25), name  # Liu et al. 2025, §2.2
        else:
            assert 1e-5 < moved < 2e-3, name
    assert float(loss().detach()) < float(first.detach())


def test_clipping_is_of_the_joint_norm() -> None:
    model = tiny_model()
    optimizers = Optimizers(model, TrainConfig(optimizer="muon"))
    hidden = model(*inputs())
    (model.lm_logits(hidden).square().sum() + model.mc_logits(hidden).sum()).backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
    assert norm > 1
    assert float(optimizers.clip(1.0)) == pytest.approx(norm, rel=1e-4)
    clipped = [p.grad for p in model.parameters() if p.grad is not None]
    assert sum(float(g.square().sum()) for g in clipped) == pytest.approx(1.0, rel=1e-3)
    assert float(optimizers.clip(10.0)) == pytest.approx(1.0, rel=1e-3), "a small one stays"
    model.transformer.wte.weight.grad[0, 0] = math.nan  # type: ignore[index]
    assert math.isnan(float(optimizers.clip(1.0)))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_state_survives_a_round_trip(optimizer: str) -> None:
    """Three steps, state saved and loaded into a new object, three more: the same as six."""
    config = TrainConfig(optimizer=optimizer, lr=1e-2, muon_lr=1e-2, warmup=0.3)  # type: ignore[arg-type]
    whole = tiny_model()
    trained(whole, Optimizers(whole, config), 6)

    first = tiny_model()
    optimizers = Optimizers(first, config)
    trained(first, optimizers, 3)
    state = copy.deepcopy(optimizers.state_dict())
    second = tiny_model(seed=9)
    second.load_state_dict(first.state_dict())
    again = Optimizers(second, config)
    again.load_state_dict(state)
    trained(second, again, 3, first=3)
    for (name, p), (_, q) in zip(whole.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(p, q), name

    forgot = tiny_model()
    forgot.load_state_dict(first.state_dict())
    trained(forgot, Optimizers(forgot, config), 3, first=3)
    pairs = zip(whole.parameters(), forgot.parameters(), strict=True)
    assert not all(torch.equal(p, q) for p, q in pairs), "the state must matter, or this test says nothing"


def test_a_state_of_other_optimizers_is_refused() -> None:
    adamw, muon = (Optimizers(tiny_model(), TrainConfig(optimizer=kind)) for kind in ("adamw", "muon"))
    for one, other in ((adamw, muon), (muon, adamw)):
        with pytest.raises(ValueError, match=r"zip|size of optimizer's group"):
            one.load_state_dict(other.state_dict())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_each_layer_has_its_share_of_the_rate(optimizer: str) -> None:
    """Howard & Ruder 2018, §3.2: 2.6 times less a layer, the embeddings below the first block."""
    model = tiny_model()
    config = TrainConfig(optimizer=optimizer, lr=1e-3, muon_lr=2e-2, layer_decay=2.6, weight_decay=0.1)  # type: ignore[arg-type]
    optimizers = Optimizers(model, config)
    optimizers.set_rate(0.5)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {}
    for part, _ in optimizers.parts:
        for group in part.param_groups:
            for p in group["params"]:
                name = names[id(p)]
                found[name] = group["lr"]
                assert group["weight_decay"] == (0.1 if p.dim() == 2 else 0.0), name
                peak = 2e-2 if type(part).__name__ == "Muon" else 1e-3
                below = 2 if ".wte." in name or ".wpe." in name else 1 if ".h.0." in name else 0
                assert group["lr"] == pytest.approx(0.5 * peak / 2.6**below), name
    assert found.keys() == set(names.values())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_layers_share_is_what_its_own_optimizer_would_do_at_that_rate(optimizer: str) -> None:
    """A step with shares equals steps at the single rates, each seen in its own layer."""

    def stepped(**options: object) -> dict[str, torch.Tensor]:
        model = tiny_model()
        config = TrainConfig(optimizer=optimizer, weight_decay=0.1, **options)  # type: ignore[arg-type]
        hidden = model(*inputs())
        (model.lm_logits(hidden).logsumexp(-1).mean() + model.mc_logits(hidden).square().mean()).backward()
        Optimizers(model, config).step()
        return {name: p.detach() for name, p in model.named_parameters()}

    shared = stepped(lr=1e-2, muon_lr=1e-2, layer_decay=2.0)
    for below in range(3):
        rate = 1e-2 / 2.0**below
        for name, p in stepped(lr=rate, muon_lr=rate).items():
            if depth(name, 2) == below:
                torch.testing.assert_close(shared[name], p, atol=0, rtol=0)
