from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from convai import decoding
from convai.core.errors import ConvaiError, SettingsError
from convai.core.settings import DecodingConfig
from convai.decoding import (
    Past,
    RowSettings,
    check_logits,
    greedy,
    log_prob_of,
    next_tokens,
    process,
    row_generator,
    sample,
    top_alternatives,
)
from convai.engine.bans import NgramBan

INF = math.inf
EOS = 1
CONTROL = (0, 2, 3)
PLAIN = DecodingConfig(min_length=0, temperature=1.0, top_p=1.0)


def noise(rows: int, width: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)) * scale


def kept(logits: Tensor) -> list[list[int]]:
    return [(row != -INF).nonzero()[:, 0].tolist() for row in logits]


configs = st.builds(
    DecodingConfig,
    min_length=st.integers(0, 3),
    repetition_penalty=st.sampled_from([1.0, 1.2]),
    temperature=st.sampled_from([0.0, 0.7, 1.0, 1.5]),
    top_k=st.sampled_from([0, 1, 5, 100, 10_000]),
    top_p=st.sampled_from([0.3, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.05]),
    typical_p=st.sampled_from([0.2, 1.0]),
    frequency_penalty=st.sampled_from([0.0, 0.5]),
    presence_penalty=st.sampled_from([0.0, -1.0]),
    dynatemp_low=st.just(0.3),
    dynatemp_high=st.sampled_from([0.0, 1.7]),
    dynatemp_exponent=st.sampled_from([1.0, 2.0]),
    top_n_sigma=st.sampled_from([0.0, 1.5]),
    xtc_probability=st.sampled_from([0.0, 0.5]),
    xtc_threshold=st.sampled_from([0.01, 0.1]),
    temperature_last=st.booleans(),
    num_beams=st.sampled_from([1, 1, 1, 4]),
)


# the order


@pytest.mark.parametrize("seed", range(5))
def test_the_documented_order_is_that_of_a_list_of_transformers_processors(seed: int) -> None:
    logits = noise(1, 400, seed)
    reply = [5, 6, 7, 5, 6]
    config = DecodingConfig(
        repetition_penalty=1.3, temperature=1.4, top_k=120, top_p=0.85, min_p=0.02, typical_p=0.8
    )
    bans = NgramBan(3)
    for token in reply:
        bans.push(token)
    ours = process(
        logits,
        RowSettings.stack([config]),
        replies=[reply],
        eos_id=EOS,
        forbidden=CONTROL,
        banned=[bans.banned()],
    )
    theirs = LogitsProcessorList(
        [
            SuppressTokensLogitsProcessor(CONTROL),
            RepetitionPenaltyLogitsProcessor(1.3),
            NoRepeatNGramLogitsProcessor(3),
            TemperatureLogitsWarper(1.4),
            TopKLogitsWarper(120),
            TopPLogitsWarper(0.85),
            MinPLogitsWarper(0.02),
            TypicalLogitsWarper(0.8),
        ]
    )(torch.tensor([reply]), logits)
    assert kept(ours) == kept(theirs)
    assert 1 < len(kept(ours)[0]) < 120
    torch.testing.assert_close(ours.softmax(-1), theirs.softmax(-1))


def test_control_tokens_are_masked_and_the_end_waits_for_the_shortest_reply() -> None:
    settings = RowSettings.stack([DecodingConfig(min_length=2, temperature=1.0, top_p=1.0)] * 3)
    left = process(torch.zeros(3, 6), settings, replies=[[], [4], [4, 5]], eos_id=EOS, forbidden=CONTROL)
    assert kept(left) == [[4, 5], [4, 5], [1, 4, 5]]
    same = process(
        torch.zeros(3, 6), settings, replies=[[], [4], [4, 5]], eos_id=EOS, forbidden=torch.tensor(CONTROL)
    )
    assert torch.equal(left, same)


def test_the_input_is_left_alone() -> None:
    logits = noise(2, 30)
    before = logits.clone()
    settings = RowSettings.stack([DecodingConfig(repetition_penalty=2.0)] * 2)
    process(logits, settings, replies=[[4], [5]], eos_id=EOS, forbidden=CONTROL, banned=[[6], [7]])
    assert torch.equal(logits, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_precision_is_processed_in_float32(dtype: torch.dtype) -> None:
    logits = noise(2, 300).to(dtype)
    settings = RowSettings.stack([DecodingConfig()] * 2)
    left = process(logits, settings, replies=[[], []], eos_id=EOS)
    assert left.dtype == torch.float32
    assert torch.equal(left, process(logits.float(), settings, replies=[[], []], eos_id=EOS))


# nothing left


def test_bans_that_take_everything_are_dropped_for_that_row_alone() -> None:
    settings = RowSettings.stack([PLAIN] * 2)
    left = process(
        torch.zeros(2, 6),
        settings,
        replies=[[], []],
        eos_id=EOS,
        forbidden=CONTROL,
        banned=[[1, 4, 5], [4]],
    )
    assert kept(left) == [[1, 4, 5], [1, 5]]


def test_where_bans_leave_nothing_the_end_still_waits_for_the_shortest_reply() -> None:
    settings = RowSettings.stack([DecodingConfig(min_length=3, temperature=0.0)])
    left = process(torch.zeros(1, 6), settings, replies=[[4]], eos_id=EOS, forbidden=CONTROL, banned=[[4, 5]])
    assert kept(left) == [[4, 5]]


@pytest.mark.parametrize("config", [PLAIN, DecodingConfig(min_length=3), DecodingConfig(temperature=0.0)])
def test_where_nothing_is_left_the_reply_ends(config: DecodingConfig) -> None:
    logits = torch.zeros(2, 4)
    logits[0, EOS] = -INF
    logits[1] = -INF
    settings = RowSettings.stack([config] * 2)
    left = process(logits, settings, replies=[[], []], eos_id=EOS, forbidden=CONTROL)
    assert kept(left) == [[EOS], [EOS]]
    generators = [row_generator(0), row_generator(1)]
    tokens = next_tokens(logits, settings, generators, replies=[[], []], eos_id=EOS, forbidden=CONTROL)
    assert tokens.tolist() == [EOS, EOS]


# broken input


@pytest.mark.parametrize("value", [math.nan, INF])
def test_broken_logits_are_an_error_that_names_the_row(value: float) -> None:
    logits = noise(3, 6)
    logits[1, 4] = value
    settings = RowSettings.stack([PLAIN] * 3)
    with pytest.raises(ConvaiError, match=r"row 1 is not a finite number.*float32"):
        check_logits(logits)
    with pytest.raises(ConvaiError, match="row 1"):
        process(logits, settings, replies=[[]] * 3, eos_id=EOS)
    for generator in (None, row_generator(0)):
        with pytest.raises(ConvaiError, match="row 1"):
            sample(logits, [generator] * 3)


def test_minus_infinity_is_legal() -> None:
    check_logits(torch.tensor([[-INF, 0.0], [-INF, -INF]]))


@pytest.mark.parametrize("generator", [None, row_generator(0)])
def test_an_empty_row_cannot_be_drawn_from(generator: torch.Generator | None) -> None:
    logits = torch.zeros(2, 3)
    logits[1] = -INF
    with pytest.raises(ConvaiError, match="row 1: every token is forbidden"):
        sample(logits, [row_generator(0), generator])


# sampling

# 99.9 % quantiles of the chi-square distribution (Abramowitz & Stegun, table 26.8), by degrees of freedom
CHI_SQUARE = {4: 18.467, 9: 27.877}


def chi_square(tokens: Tensor, probs: Tensor) -> tuple[float, int]:
    possible = probs > 0
    counts = torch.bincount(tokens, minlength=len(probs)).double()
    assert counts[~possible].sum() == 0, "a token of probability 0 was drawn"
    expected = probs[possible].double() * len(tokens)
    return float(((counts[possible] - expected) ** 2 / expected).sum()), int(possible.sum()) - 1


def test_draws_follow_the_exact_distribution() -> None:
    logits = noise(1, 10, seed=3, scale=1.0)
    generator = row_generator(5)
    tokens = sample(logits.expand(20_000, 10), [generator] * 20_000)
    statistic, freedom = chi_square(tokens, logits[0].double().softmax(-1))
    assert statistic < CHI_SQUARE[freedom]


def test_draws_through_all_filters_follow_the_exact_distribution() -> None:
    """Worked out apart from the code under test, in plain numbers."""
    weights = {4: 0.30, 5: 0.22, 6: 0.16, 7: 0.12, 8: 0.08, 9: 0.06, 10: 0.03, 11: 0.02, 12: 0.01}
    logits = torch.full((1, 13), 9.0)  # the control tokens are the model's favourites
    for token, weight in weights.items():
        logits[0, token] = math.log(weight)
    config = DecodingConfig(min_length=1, temperature=0.5, top_k=7, top_p=0.97, min_p=0.05)
    weights.pop(4)  # banned
    # temperature 0.5 squares; top-k leaves 5..11; 5, 6, 7, 8 and 9 reach 0.97; 0.06² is above 0.05 · 0.22²
    squares = {token: weight**2 for token, weight in weights.items() if token < 10}
    total = sum(squares.values())
    probs = torch.zeros(13, dtype=torch.float64)
    for token, square in squares.items():
        probs[token] = square / total
    n = 20_000
    tokens = next_tokens(
        logits.expand(n, 13),
        RowSettings.stack([config] * n),
        [row_generator(11)] * n,
        replies=[[]] * n,
        eos_id=EOS,
        forbidden=CONTROL,
        banned=[[4]] * n,
    )
    statistic, freedom = chi_square(tokens, probs)
    assert statistic < CHI_SQUARE[freedom]


def test_rows_with_generators_of_their_own_follow_the_distribution_too() -> None:
    """One draw from each of many seeds: the seeds themselves must be well mixed."""
    logits = noise(1, 5, seed=1, scale=1.0)
    tokens = sample(logits.expand(5000, 5), [row_generator(seed) for seed in range(5000)])
    statistic, freedom = chi_square(tokens, logits[0].double().softmax(-1))
    assert statistic < CHI_SQUARE[freedom]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Set what the generators draw."""
    numbers: list[float] = []
    monkeypatch.setattr(decoding, "_uniform", lambda generator: numbers.pop(0))
    yield numbers
    assert not numbers


def test_the_cumulative_distribution_is_inverted(drawn: list[float]) -> None:
    logits = torch.tensor([0.0, 0.25, 0.0, 0.5, 0.25, 0.0]).log()
    for number, token in [(0.0, 1), (0.2499, 1), (0.2501, 3), (0.7499, 3), (0.7501, 4), (1 - 2**-53, 4)]:
        drawn.append(number)
        assert sample(logits[None], [row_generator(0)]).tolist() == [token]


@given(st.integers(0, 2**31), st.sampled_from([3, 1000]))
def test_the_largest_draw_still_falls_on_a_possible_token(seed: int, width: int) -> None:
    logits = noise(1, width, seed, scale=30.0)
    logits[:, width // 2 :] = -INF
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_uniform", lambda generator: 1 - 2**-53)
        token = int(sample(logits, [row_generator(0)]))
    assert logits.softmax(-1)[0, token] > 0


# rows


@given(st.lists(configs, min_size=1, max_size=5), st.integers(0, 2**31))
def test_a_row_is_the_same_alone_and_in_a_batch(settings: list[DecodingConfig], seed: int) -> None:
    size = len(settings)
    logits = noise(size, 400, seed)
    replies = [[4 + row, 9] * (row % 3) for row in range(size)]
    banned = [[5 + row, 6] if row % 2 else [] for row in range(size)]
    pasts = [
        Past({5 + row: row, 9: 2}, {7: row - 1.5}, {8: 0.5 * row} if row else {}, row / 4)
        for row in range(size)
    ]
    together_logits = process(
        logits,
        RowSettings.stack(settings),
        replies=replies,
        eos_id=EOS,
        forbidden=CONTROL,
        banned=banned,
        pasts=pasts,
    )
    together = next_tokens(
        logits,
        RowSettings.stack(settings),
        [row_generator(seed, row) for row in range(size)],
        replies=replies,
        eos_id=EOS,
        forbidden=CONTROL,
        banned=banned,
        pasts=pasts,
    )
    for row in range(size):
        one = slice(row, row + 1)
        alone_logits = process(
            logits[one],
            RowSettings.stack(settings[one]),
            replies=replies[one],
            eos_id=EOS,
            forbidden=CONTROL,
            banned=banned[one],
            pasts=pasts[one],
        )
        assert torch.equal(together_logits[one], alone_logits)
        alone = next_tokens(
            logits[one],
            RowSettings.stack(settings[one]),
            [row_generator(seed, row)],
            replies=replies[one],
            eos_id=EOS,
            forbidden=CONTROL,
            banned=banned[one],
            pasts=pasts[one],
        )
        assert together[row] == alone[0]


def test_a_greedy_row_is_greedy_beside_sampled_ones() -> None:
    """Typical sampling may drop the best token, so no filter may touch a greedy row."""
    logits = torch.tensor([[0.9, 0.025, 0.025, 0.025, 0.025]]).log().expand(2, 5)
    hot = DecodingConfig(min_length=0, typical_p=0.05, temperature=1.0, top_p=1.0)
    cold = DecodingConfig(min_length=0, typical_p=0.05, temperature=0.0, top_p=1.0)
    generators = [row_generator(0), row_generator(1)]
    tokens = next_tokens(logits, RowSettings.stack([cold, hot]), generators, replies=[[], []], eos_id=4)
    assert tokens[0] == 0
    # nor does it use up a number of its generator
    assert torch.equal(generators[0].get_state(), row_generator(0).get_state())


def test_beam_search_uses_no_sampler() -> None:
    logits = noise(1, 50)
    beams = RowSettings.stack([DecodingConfig(num_beams=4, top_k=2, min_length=0)])
    left = process(logits, beams, replies=[[]], eos_id=EOS, forbidden=CONTROL)
    assert kept(left)[0] == [t for t in range(50) if t not in CONTROL]
    assert torch.equal(left[0, 4:], logits[0, 4:])


# seeds


def test_a_seed_repeats_and_seeds_and_candidates_differ() -> None:
    def draws(seed: int, index: int = 0) -> list[float]:
        generator = row_generator(seed, index)
        return [decoding._uniform(generator) for _ in range(3)]

    assert draws(1) == draws(1)
    seen = [draws(seed, index) for seed in (0, 1, 2, 2**32, 2**40, -1) for index in range(3)]
    assert len({tuple(numbers) for numbers in seen}) == len(seen)


def test_without_a_seed_every_generator_is_new() -> None:
    assert row_generator(None).initial_seed() != row_generator(None).initial_seed()


# log-probabilities


def test_log_prob_of_and_top_alternatives() -> None:
    logits = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]).log() + 7
    tokens, log_probs = top_alternatives(logits, 2)
    assert tokens.tolist() == [[1, 2], [0, 2]]
    torch.testing.assert_close(log_probs.exp(), torch.tensor([[0.5, 0.3], [0.6, 0.3]]))
    torch.testing.assert_close(log_prob_of(logits, torch.tensor([0, 1])).exp(), torch.tensor([0.2, 0.1]))
    assert greedy(logits).tolist() == [1, 0]


def test_top_alternatives_of_masked_tokens_and_beyond_the_vocabulary() -> None:
    tokens, log_probs = top_alternatives(torch.tensor([[0.0, -INF, 1.0]]), 9)
    assert tokens.tolist() == [[2, 0, 1]]
    assert log_probs[0, 2] == -INF
    assert top_alternatives(torch.zeros(1, 3), 0)[0].shape == (1, 0)
    with pytest.raises(SettingsError, match="-1"):
        top_alternatives(torch.zeros(1, 3), -1)
