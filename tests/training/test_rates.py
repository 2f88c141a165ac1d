"""The learning rate's courses and its share in each layer, against the papers' formulas."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.errors import SettingsError
from convai.core.settings import TrainConfig
from convai.training.rates import depth, n_blocks, rate_factor
from tests.tiny import tiny_model


def ulmfit(t: int, total: int, cut_frac: float, ratio: float = 32) -> float:
    """Howard & Ruder 2018, equation 3, with the peak at 1."""
    cut = math.floor(total * cut_frac)
    p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
    return (1 + p * (ratio - 1)) / ratio


@pytest.mark.parametrize(("total", "cut_frac"), [(100, 0.1), (40, 0.25), (1000, 0.1)])
def test_slanted_is_the_papers_formula(total: int, cut_frac: float) -> None:
    config = TrainConfig(schedule="slanted", warmup=cut_frac)
    for t in range(total + 1):
        assert rate_factor(t, total, config) == pytest.approx(ulmfit(t, total, cut_frac)), t


@given(total=st.integers(1, 300), warmup=st.floats(0, 1))
def test_slanted_peaks_once_and_never_stands_still(total: int, warmup: float) -> None:
    config = TrainConfig(schedule="slanted", warmup=warmup)
    factors = [rate_factor(step, total, config) for step in range(total + 1)]
    assert all(1 / 32 <= f <= 1 for f in factors)
    peak = factors.index(max(factors))
    assert factors[peak] == 1.0
    assert peak == int(total * warmup)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)


def test_depth_is_counted_from_the_top() -> None:
    names = [name for name, _ in tiny_model().named_parameters()]
    assert n_blocks(names) == 2
    depths = {name: depth(name, 2) for name in names}
    assert {n for n, d in depths.items() if d == 2} == {"transformer.wte.weight", "transformer.wpe.weight"}
    assert {d for n, d in depths.items() if ".h.1." in n} == {0}
    assert {d for n, d in depths.items() if ".h.0." in n} == {1}
    assert depths["transformer.ln_f.weight"] == depths["multiple_choice_head.summary.weight"] == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layer_decay", 0.9),
        ("unfreeze_every", -1.0),
        ("last_blocks", -1),
        ("lora_rank", -1),
        ("lora_rank", 1025),
        ("lora_alpha", 0.0),
        ("lora_dropout", 1.0),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"{name}="):
        TrainConfig(**{name: value})  # type: ignore[arg-type]
