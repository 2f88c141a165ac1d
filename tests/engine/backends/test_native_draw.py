"""Tokens drawn by the C kernel are those of the processors, up to rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from convai.core.settings import DecodingConfig
from convai.decoding import log_prob_of
from convai.engine.backends import InferenceModel
from convai.engine.backends.native_backend import available
from convai.engine.draw import BROKEN, EMPTY, PlainDraw, draw_tokens
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Shape

CONFIG = Shape(family="gpt2", vocab_size=20, n_positions=16, n_embd=32, n_layer=1, n_head=2)
pytestmark = pytest.mark.skipif(not available(CONFIG), reason="the C kernels do not run here")

CONTROL = (0, 3)
SLACK = 1e-5
"""Of a probability, for single precision."""


@pytest.fixture(scope="module")
def plain_draw() -> PlainDraw:
    found = InferenceModel(DoubleHeadsModel(CONFIG), "int8", threads=2).plain_draw
    assert found is not None
    return found


def nucleus(logits: Tensor, heat: float, mass: float, masked: Sequence[int]) -> Tensor:
    """Probabilities `[V]` in float64 of the tokens of the nucleus, 0 for the others."""
    left = logits.double()
    left[list(masked)] = -math.inf
    probs = ((left - left.max()) / max(heat, 1e-30)).softmax(-1)
    values, ids = probs.sort(descending=True, stable=True)
    taken = values.cumsum(0)
    count = int((taken < mass).sum()) + 1
    kept = torch.zeros_like(probs)
    kept[ids[:count]] = values[:count]
    return kept


@settings(max_examples=60)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([0.1, 0.7, 1.0, 1.5, 30.0]),
            st.sampled_from([1e-9, 0.3, 0.9, 0.99, 1 - 1e-12]),
            st.floats(0, 1, exclude_max=True),
            st.lists(st.integers(0, 4), max_size=3),
        ),
        min_size=1,
        max_size=5,
    ),
    width=st.sampled_from([7, 16, 40, 300, 5003]),
    scale=st.sampled_from([0.01, 1.0, 4.0, 30.0]),
    seed=st.integers(0, 10**6),
)
def test_a_token_is_where_its_number_is_in_the_nucleus(
    plain_draw: PlainDraw,
    rows: list[tuple[float, float, float, list[int]]],
    width: int,
    scale: float,
    seed: int,
) -> None:
    logits = torch.randn(len(rows), width, generator=torch.Generator().manual_seed(seed)) * scale
    logits[:, width - 1] = -math.inf  # legal, and never drawn
    before = logits.clone()
    heat, mass, numbers, banned = (list(column) for column in zip(*rows, strict=True))
    tokens, log_probs = plain_draw(logits, heat, mass, numbers, banned, torch.tensor(CONTROL))
    assert torch.equal(logits, before)
    for row, token in enumerate(tokens):
        kept = nucleus(logits[row], heat[row], mass[row], [*CONTROL, *banned[row]])
        near = nucleus(logits[row], heat[row], min(mass[row] + SLACK, 1.0), [*CONTROL, *banned[row]])
        assert near[token] > 0
        shares = kept / kept.sum()
        end = float(shares.cumsum(0)[token])
        # where the edge is among tokens almost alike, rounding may take another one in, or leave one out
        slack = SLACK + 3 * float(shares[shares > 0].min())
        assert end - float(shares[token]) - slack <= numbers[row] <= end + slack
    assert log_probs == pytest.approx(log_prob_of(logits, torch.tensor(tokens)).tolist(), abs=1e-4)


@settings(max_examples=60)
@given(
    levels=st.lists(st.integers(0, 3), min_size=20, max_size=200),
    mass=st.sampled_from([0.25, 0.55, 0.85]),
    number=st.floats(0, 1, exclude_max=True),
)
def test_of_equals_the_lower_ids_stay(
    plain_draw: PlainDraw, levels: list[int], mass: float, number: float
) -> None:
    logits = torch.tensor([levels], dtype=torch.float32)
    [token], _ = plain_draw(logits, [0.7], [mass], [number], [[]], torch.tensor(CONTROL))
    assert nucleus(logits[0], 0.7, mass + SLACK, CONTROL)[token] > 0


def test_a_row_is_the_same_alone_and_among_others(plain_draw: PlainDraw) -> None:
    logits = torch.randn(7, 3000, generator=torch.Generator().manual_seed(1)) * 3
    numbers = [0.1 * row for row in range(7)]
    together = plain_draw(logits, [0.7] * 7, [0.9] * 7, numbers, [[]] * 7, torch.tensor(CONTROL))
    for row in range(7):
        alone = plain_draw(logits[row : row + 1], [0.7], [0.9], [numbers[row]], [[]], torch.tensor(CONTROL))
        assert (together[0][row], together[1][row]) == (alone[0][0], alone[1][0])


@pytest.mark.parametrize("heat", [1e-6, 1e-300])
def test_next_to_no_temperature_takes_the_best(plain_draw: PlainDraw, heat: float) -> None:
    logits = torch.randn(1, 300, generator=torch.Generator().manual_seed(2))
    logits[0, 0] = 9.0  # masked
    best = int(logits[0, 4:].argmax()) + 4
    assert plain_draw(logits, [heat], [0.9], [0.99], [[1, 2]], torch.tensor(CONTROL))[0] == [best]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 7, 49])  # the first is masked
def test_what_is_no_number_is_told(plain_draw: PlainDraw, value: float, place: int) -> None:
    logits = torch.randn(2, 50, generator=torch.Generator().manual_seed(1))
    logits[1, place] = value
    tokens, log_probs = plain_draw(logits, [0.7] * 2, [0.9] * 2, [0.5] * 2, [[]] * 2, torch.tensor(CONTROL))
    assert tokens[0] >= 0
    assert tokens[1] == BROKEN
    assert math.isnan(log_probs[1])


def test_what_is_masked_altogether_is_told(plain_draw: PlainDraw) -> None:
    logits = torch.full((2, 40), -math.inf)
    logits[0, 5] = 1.0
    tokens, _ = plain_draw(logits, [0.7] * 2, [0.9] * 2, [0.5] * 2, [[5, 5, 3], []], torch.tensor(CONTROL))
    assert tokens == [EMPTY, BROKEN]
    assert logits[0, 5] == 1.0


def test_a_batch_of_all_kinds_goes_to_those_who_can(plain_draw: PlainDraw) -> None:
    """Plain rows, others, one without a token left and one that is broken: as without the kernel."""
    logits = torch.randn(4, 60, generator=torch.Generator().manual_seed(3)) * 2
    logits[2] = -math.inf
    logits[2, [4, 5]] = torch.tensor([1.0, 2.0])
    logits[3, 9] = math.nan
    plain = DecodingConfig(min_length=0, temperature=0.7, top_p=0.9)
    configs = [plain, DecodingConfig(min_length=0, temperature=0.0), plain, plain]

    def tokens(how: PlainDraw | None) -> list[int]:
        return draw_tokens(
            logits.clone(),
            configs,
            [0.2, 0.4, 0.6, 0.8],
            replies=[[]] * 4,
            eos_id=1,
            forbidden=torch.tensor(CONTROL),
            banned=[[], [], [4, 5], []],
            plain_draw=how,
        )[0]

    assert tokens(plain_draw) == tokens(None)
    assert tokens(plain_draw)[3] == BROKEN


def test_without_the_kernels_torch_draws() -> None:
    assert InferenceModel(DoubleHeadsModel(CONFIG), "float32").plain_draw is None
