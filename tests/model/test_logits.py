from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from convai.core.errors import SettingsError
from convai.model import logits as processors
from convai.model.logits import (
    ban,
    forbid,
    min_p,
    repetition_penalty,
    temperature,
    top_k,
    top_p,
    typical,
)

INF = math.inf

# widths on both sides of what the nucleus looks at first
widths = st.one_of(st.integers(1, 8), st.sampled_from([63, 64, 65, 255, 256, 257, 600]))
masses = st.floats(0.001, 0.999)


@st.composite
def logit_rows(draw: st.DrawFn, ties: bool = False) -> Tensor:
    """[B, V]: peaked, flat, with masked tokens, and on request with many equal values."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    rows, width = draw(st.integers(1, 4)), draw(widths)
    logits = torch.randn(rows, width, generator=generator) * draw(st.sampled_from([0.1, 1.0, 3.0, 10.0]))
    if ties:
        logits = logits.round(decimals=draw(st.integers(0, 1)))
    if draw(st.booleans()):
        masked = torch.rand(rows, width, generator=generator) < 0.3
        masked[:, 0] = False
        logits = logits.masked_fill(masked, -INF)
    return logits


def kept(logits: Tensor) -> Tensor:
    return logits != -INF


def clear_cut(values: Tensor, edge: Tensor | float) -> bool:
    """Whether no value is so near the edge that rounding decides on its side."""
    return bool((values.double() - edge).abs().min() > 1e-5)


# against transformers


@given(logit_rows(), st.floats(0.05, 20))
def test_temperature(logits: Tensor, t: float) -> None:
    ours, theirs = temperature(logits, t), TemperatureLogitsWarper(t)(None, logits)
    torch.testing.assert_close(ours.softmax(-1), theirs.softmax(-1), rtol=1e-4, atol=1e-6)


@given(st.one_of(logit_rows(), logit_rows(ties=True)), st.integers(1, 700))
def test_top_k(logits: Tensor, k: int) -> None:
    assert torch.equal(top_k(logits, k), TopKLogitsWarper(k)(None, logits))


@given(logit_rows(), masses)
def test_top_p(logits: Tensor, p: float) -> None:
    assume(clear_cut(logits.double().softmax(-1).sort(descending=True).values.cumsum(-1), p))
    assert torch.equal(top_p(logits, p), TopPLogitsWarper(p)(None, logits))


@given(logit_rows(ties=True), masses)
def test_top_p_with_ties_keeps_as_many_of_the_same_values(logits: Tensor, p: float) -> None:
    """Which of the equal tokens stay is up to the sort there, and the lower ids here."""
    assume(clear_cut(logits.double().softmax(-1).sort(descending=True).values.cumsum(-1), p))
    ours, theirs = top_p(logits, p), TopPLogitsWarper(p)(None, logits)
    assert torch.equal(ours.sort().values, theirs.sort().values)
    for row, edge in zip(ours, ours.masked_fill(ours == -INF, INF).amin(-1), strict=True):
        equals = logits[int((ours == row).all(-1).nonzero()[0, 0])] == edge
        stays = kept(row)[equals]
        assert stays.tolist() == sorted(stays.tolist(), reverse=True)


@given(logit_rows(), st.floats(0.001, 1))
def test_min_p(logits: Tensor, share: float) -> None:
    probs = logits.double().softmax(-1)
    assume(share == 1 or clear_cut(probs / probs.amax(-1, keepdim=True), share))
    assert torch.equal(min_p(logits, share), MinPLogitsWarper(share)(None, logits))


@given(logit_rows(), masses)
def test_typical(logits: Tensor, mass: float) -> None:
    log_probs = logits.double().log_softmax(-1)
    entropy = -(log_probs * log_probs.exp()).nansum(-1, keepdim=True)
    distance, order = (-log_probs - entropy).abs().sort()
    assume(clear_cut(log_probs.exp().gather(-1, order).cumsum(-1), mass))
    # tokens on either side of the entropy may be nearly as far from it
    gaps = distance.diff()
    assume(gaps.numel() == 0 or bool((gaps.nan_to_num(1.0) > 1e-5).all()))
    assert torch.equal(typical(logits, mass), TypicalLogitsWarper(mass)(None, logits))


@given(logit_rows(), st.floats(0.5, 3), st.data())
def test_repetition_penalty(logits: Tensor, penalty: float, data: st.DataObject) -> None:
    width, length = logits.size(-1), data.draw(st.integers(1, 6))
    seen = data.draw(
        st.lists(
            st.lists(st.integers(0, width - 1), min_size=length, max_size=length),
            min_size=len(logits),
            max_size=len(logits),
        )
    )
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor(seen), logits)
    torch.testing.assert_close(repetition_penalty(logits, seen, penalty), theirs)


# against the definitions


def test_forbid_and_ban() -> None:
    logits = torch.arange(8.0).view(2, 4)
    assert forbid(logits, [0, 3]).tolist() == [[-INF, 1, 2, -INF], [-INF, 5, 6, -INF]]
    assert torch.equal(forbid(logits, torch.tensor([0, 3])), forbid(logits, [0, 3]))
    assert torch.equal(forbid(logits, []), logits)
    assert ban(logits, [[1, 1], []]).tolist() == [[0, -INF, 2, 3], [4, 5, 6, 7]]
    assert torch.equal(ban(logits, [[], []]), logits)


def test_repetition_penalty_by_hand() -> None:
    logits = torch.tensor([[2.0, -2.0, 1.0, -INF], [2.0, -2.0, 1.0, -INF]])
    found = repetition_penalty(logits, [[0, 1, 0, 3], []], 2.0)
    assert found.tolist() == [[1, -4, 1, -INF], [2, -2, 1, -INF]]


def test_nucleus_by_hand() -> None:
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log()
    assert kept(top_p(logits, 0.4)).tolist() == [[False, True, False, False]]
    assert kept(top_p(logits, 0.6)).tolist() == [[False, True, False, True]]
    assert kept(top_p(logits, 0.8)).tolist() == [[False, True, True, True]]
    assert kept(top_p(logits, 0.95)).all()
    assert kept(top_p(logits, 1e-9)).tolist() == [[False, True, False, False]]


@pytest.mark.parametrize("width", [10, 64, 100, 256, 300, 1000])
def test_a_flat_nucleus_keeps_exactly_its_share(width: int) -> None:
    share = kept(top_p(torch.zeros(2, width), 0.5 - 0.25 / width))
    assert share.sum(-1).tolist() == [width // 2, width // 2]
    assert share[:, : width // 2].all()


def test_a_wide_nucleus_is_as_exact_as_a_narrow_one() -> None:
    """Rows that end within the first look, within the second, and after a full sort, in one batch."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5000, generator=generator) * torch.tensor([[8.0], [3.0], [0.3]])
    counts = kept(top_p(logits, 0.9)).sum(-1).tolist()
    assert counts[0] < processors.HEADS[0] < counts[1] < processors.HEADS[1] + 300 < counts[2]
    ordered = logits.double().softmax(-1).sort(descending=True).values.cumsum(-1)
    for row, count in enumerate(counts):
        assert ordered[row, count - 2] < 0.9 <= ordered[row, count - 1]


def test_the_smallest_temperature_is_greedy_and_finite() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [-5.0, -9.0, -INF]])
    for t in (1e-300, 1e-38, 1e-6):
        assert temperature(logits, t).softmax(-1).tolist() == [[0, 1, 0], [1, 0, 0]]
        assert temperature(logits.half(), t).softmax(-1).tolist() == [[0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("k", [5, 6, 10**9])
def test_k_above_the_vocabulary_keeps_all(k: int) -> None:
    logits = torch.randn(2, 5)
    assert top_k(logits, k) is logits


FILTERS = [
    (temperature, st.one_of(st.just(0.0), st.just(1.0), st.floats(0.1, 5)), (0.0, 1.0)),
    (top_k, st.integers(0, 700), (0,)),
    (top_p, st.one_of(st.just(1.0), masses), (1.0,)),
    (min_p, st.one_of(st.just(0.0), masses), (0.0,)),
    (typical, st.one_of(st.just(1.0), masses), (1.0,)),
]
named = pytest.mark.parametrize(("step", "values", "off"), FILTERS, ids=[f[0].__name__ for f in FILTERS])


@named
@given(data=st.data())
def test_each_row_has_its_own_setting(step, values, off, data) -> None:  # type: ignore[no-untyped-def]
    """A batch with a setting a row is, bit by bit, its rows alone with that one number."""
    logits = data.draw(st.one_of(logit_rows(), logit_rows(ties=True)))
    settings = [data.draw(values) for _ in logits]
    before = logits.clone()
    together = step(logits, torch.tensor(settings, dtype=torch.float64))
    assert torch.equal(logits, before), "a processor must not change its input"
    for row, setting in enumerate(settings):
        assert torch.equal(together[row], step(logits[row : row + 1], setting)[0])
        if setting in off:
            assert torch.equal(together[row], logits[row])


@named
@given(data=st.data())
def test_something_is_always_kept(step, values, off, data) -> None:  # type: ignore[no-untyped-def]
    logits = data.draw(st.one_of(logit_rows(), logit_rows(ties=True)))
    found = step(logits, data.draw(values))
    assert kept(found).any(-1).all()
    assert not found.isnan().any()
    assert not (kept(found) & ~kept(logits)).any()


@named
def test_an_empty_row_stays_empty(step, values, off) -> None:  # type: ignore[no-untyped-def]
    logits = torch.tensor([[-INF] * 3, [1.0, 2.0, 3.0]])
    setting = 2 if step is top_k else 0.5
    assert step(logits, setting)[0].tolist() == [-INF] * 3


def test_repetition_penalty_a_row() -> None:
    logits = torch.randn(3, 6)
    seen = [[1, 2], [2, 2], [5]]
    penalties = torch.tensor([1.5, 1.0, 0.5])
    together = repetition_penalty(logits, seen, penalties)
    for row in range(3):
        alone = repetition_penalty(logits[row : row + 1], seen[row : row + 1], float(penalties[row]))
        assert torch.equal(together[row], alone[0])
    assert torch.equal(together[1], logits[1])


NAN = math.nan


@pytest.mark.parametrize(
    ("step", "name", "values"),
    [
        (temperature, "temperature", [-0.1, INF, NAN]),
        (top_k, "top_k", [-1, 1.5, NAN, INF]),
        (top_p, "top_p", [0, -0.5, 1.0001, NAN]),
        (min_p, "min_p", [-0.1, 1.1, NAN]),
        (typical, "typical_p", [0, 1.1, NAN]),
        (lambda x, p: repetition_penalty(x, [[0], [0]], p), "repetition_penalty", [0, -1, INF, NAN]),
    ],
)
def test_settings_out_of_range(step, name, values) -> None:  # type: ignore[no-untyped-def]
    logits = torch.randn(2, 5)
    for value in values:
        with pytest.raises(SettingsError, match=f"^{name}=.*use "):
            step(logits, value)
        with pytest.raises(SettingsError, match=f"^{name}="):
            step(logits, torch.tensor([0.5 if name != "top_k" else 1, value], dtype=torch.float64))
