"""The converted model computes what the model computes, however its tokens are scheduled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pytest
import torch
from hypothesis import given, settings

from convai.engine.backends import InferenceModel, SlotSpan
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Family
from tests.engine.backends.schedules import Fork, Pass, run, schedules
from tests.tiny import SPECIAL, close, inputs, randomize, tiny_config, tiny_model

FAMILIES: tuple[Family, ...] = get_args(Family)


def small(family: Family) -> DoubleHeadsModel:
    """A random model, two query heads to a key where the family knows that."""
    if family in ("gpt2", "openai-gpt"):
        return tiny_model(family)
    shape = tiny_config(family).replace(n_head=4, n_kv_head=2, head_size=6, tied=family != "llama")
    model = DoubleHeadsModel(shape)
    randomize(model)
    return model.eval()


MODELS = {family: small(family) for family in FAMILIES}
FAST = {family: InferenceModel(MODELS[family], "float32") for family in FAMILIES}
BF16 = {family: InferenceModel(MODELS[family], "bf16") for family in FAMILIES}

MIXED: list[Pass | Fork] = [
    Pass(((0, 0, 9), (2, 0, 4))),
    Fork(0, 1, 5),
    Pass(((1, 5, 1), (0, 9, 3), (2, 4, 1), (3, 0, 1))),
]


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=60)
@given(schedules)
def test_any_schedule_equals_the_whole_sequences(family: Family, schedule: Sequence[Pass | Fork]) -> None:
    for got, expected in run(schedule, FAST[family], MODELS[family]):
        assert close(got, expected)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20)
@given(schedules)
def test_bf16_is_as_near_as_its_rounding(family: Family, schedule: Sequence[Pass | Fork]) -> None:
    for got, expected in run(schedule, BF16[family], MODELS[family]):
        assert got.shape == expected.shape
        assert float((got.float() - expected).norm() / expected.norm()) < 0.06


@pytest.mark.parametrize("family", FAMILIES)
def test_both_heads_equal_the_models(family: Family) -> None:
    hidden = torch.randn(5, MODELS[family].config.n_embd, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert close(FAST[family].lm_logits(hidden), MODELS[family].lm_logits(hidden))
        assert close(FAST[family].mc_logits(hidden), MODELS[family].mc_logits(hidden))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_not_asked_for_changes_nothing(family: Family) -> None:
    fast = FAST[family]
    words, positions, segments = (t[0] for t in inputs(1, 16))
    counts, wanted = [9, 1, 1, 5], [1, 0, 1, 2]
    pools = [fast.new_pool(4, 12) for _ in range(2)]
    everything = fast.forward(
        words, positions, segments, [SlotSpan(i, 0, n) for i, n in enumerate(counts)], pools[0]
    )
    some = [SlotSpan(i, 0, *both) for i, both in enumerate(zip(counts, wanted, strict=True))]
    got = fast.forward(words, positions, segments, some, pools[1])
    assert close(got, everything[[8, 10, 14, 15]])
    assert close(pools[1].data, pools[0].data)


def test_logits_of_every_precision_are_float32() -> None:
    model = BF16["gpt2"]
    pool = model.new_pool(1, 8)
    words, positions, segments = inputs(1, 3)
    hidden = model.forward(words[0], positions[0], segments[0], [SlotSpan(0, 0, 3)], pool)
    assert model.lm_logits(hidden).dtype == model.mc_logits(hidden).dtype == torch.float32
    assert model.lm_logits(hidden).shape == (3, SPECIAL.vocab_size)
    assert model.mc_logits(hidden).shape == (3,)


def test_the_model_it_was_made_from_may_change() -> None:
    source = tiny_model(seed=3)
    fast = InferenceModel(source, "float32")
    before = run(MIXED, fast, source)
    with torch.no_grad():
        for p in source.parameters():
            p.zero_()
    after = run(MIXED, fast, source)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    "spans",
    [
        [SlotSpan(0, 0, 2)],  # fewer tokens than given
        [SlotSpan(0, 0, 2), SlotSpan(1, 0, 2)],  # more
        [SlotSpan(4, 0, 3)],  # no such slot
        [SlotSpan(-1, 0, 3)],
        [SlotSpan(0, 22, 3)],  # past the capacity
        [SlotSpan(0, -1, 3)],
        [SlotSpan(0, 0, 3), SlotSpan(1, 0, 0)],  # an empty span
        [SlotSpan(0, 0, 2), SlotSpan(0, 2, 1)],  # a slot twice
        [SlotSpan(0, 0, 3, 4)],  # more asked for than there are
        [SlotSpan(0, 0, 3, -1)],
    ],
)
def test_spans_that_do_not_fit_are_refused(spans: list[SlotSpan]) -> None:
    pool = FAST["gpt2"].new_pool(4, 24)
    words, positions, segments = (t[0] for t in inputs(1, 3))
    with pytest.raises(ValueError, match=r"span|pool"):
        FAST["gpt2"].forward(words, positions, segments, spans, pool)
