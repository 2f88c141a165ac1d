"""The tokens of a batch are those of `next_tokens`, whatever the shortcut."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from convai.core.settings import DecodingConfig
from convai.decoding import Past, RowSettings, log_prob_of, next_tokens, row_generator, uniforms
from convai.engine import draw
from convai.engine.draw import BROKEN, draw_tokens, is_plain

EOS = 1
CONTROL = (0, 3)
PLAIN = DecodingConfig(min_length=0, temperature=0.7, top_p=0.9)

plain_configs = st.builds(
    DecodingConfig,
    min_length=st.integers(0, 2),
    temperature=st.sampled_from([1e-6, 0.1, 0.7, 1.0, 1.5, 30.0]),
    top_p=st.sampled_from([1e-9, 0.3, 0.9, 0.99, 1 - 1e-12]),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    frequency_penalty=st.sampled_from([0.0, 0.7]),
    presence_penalty=st.sampled_from([0.0, -0.4]),
)
other_configs = st.builds(
    DecodingConfig,
    min_length=st.integers(0, 2),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    temperature=st.sampled_from([0.0, 0.7]),
    top_k=st.sampled_from([0, 3]),
    top_p=st.sampled_from([0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.1]),
    typical_p=st.sampled_from([1.0, 0.5]),
    dynatemp_high=st.sampled_from([0.0, 1.4]),
    top_n_sigma=st.sampled_from([0.0, 1.0]),
    xtc_probability=st.sampled_from([0.0, 0.5]),
    xtc_threshold=st.sampled_from([0.0, 0.05]),
    temperature_last=st.booleans(),
)


def noise(rows: int, width: int, seed: int, scale: float, ties: bool) -> Tensor:
    logits = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)) * scale
    return (logits * 2).round() / 2 if ties else logits


def reference(
    logits: Tensor,
    configs: Sequence[DecodingConfig],
    seeds: Sequence[int],
    replies: Sequence[Sequence[int]],
    banned: Sequence[Sequence[int]],
    pasts: Sequence[Past] | None = None,
) -> tuple[list[int], list[float]]:
    """Each row by itself, all the way through the processors."""
    tokens, log_probs = [], []
    for row, config in enumerate(configs):
        one = logits[row : row + 1]
        token = next_tokens(
            one,
            RowSettings.stack([config]),
            [row_generator(seeds[row])],
            replies=[replies[row]],
            eos_id=EOS,
            forbidden=CONTROL,
            banned=[banned[row]],
            pasts=None if pasts is None else [pasts[row]],
            guarded=(2,),
        )
        tokens.append(int(token))
        log_probs.append(float(log_prob_of(one, token)))
    return tokens, log_probs


def drawn(
    logits: Tensor,
    configs: Sequence[DecodingConfig],
    seeds: Sequence[int],
    replies: Sequence[Sequence[int]],
    banned: Sequence[Sequence[int]],
    pasts: Sequence[Past] | None = None,
) -> tuple[list[int], list[float]]:
    return draw_tokens(
        logits.clone(),
        configs,
        [uniforms(row_generator(seed), 1)[0] for seed in seeds],
        replies=replies,
        eos_id=EOS,
        forbidden=torch.tensor(CONTROL),
        banned=banned,
        pasts=pasts,
        guarded=(2,),
    )


@settings(max_examples=60)
@given(
    configs=st.lists(plain_configs | other_configs, min_size=1, max_size=6),
    width=st.sampled_from([5, 40, 300, 2000, 5003]),
    scale=st.sampled_from([0.01, 1.0, 4.0]),
    ties=st.booleans(),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
def test_a_batch_draws_what_each_row_draws_alone(
    configs: list[DecodingConfig], width: int, scale: float, ties: bool, seed: int, data: st.DataObject
) -> None:
    logits = noise(len(configs), width, seed, scale, ties)
    ids = st.lists(st.integers(0, width - 1), max_size=4)
    replies = [data.draw(ids) for _ in configs]
    banned = [data.draw(ids) for _ in configs]
    seeds = [seed + row for row in range(len(configs))]
    amounts = st.dictionaries(st.integers(0, width - 1), st.sampled_from([-2.0, 0.5, 30.0]), max_size=3)
    never = st.dictionaries(st.integers(0, width - 1), st.just(-math.inf), max_size=5)
    pasts = [
        Past(Counter(reply), data.draw(amounts | never), data.draw(amounts), data.draw(st.floats(0, 0.99)))
        for reply in replies
    ]
    tokens, log_probs = drawn(logits, configs, seeds, replies, banned, pasts)
    expected = reference(logits, configs, seeds, replies, banned, pasts)
    assert tokens == expected[0]
    assert log_probs == pytest.approx(expected[1], abs=1e-4)


@settings(max_examples=60)
@given(
    count=st.integers(1, 8),
    width=st.sampled_from([300, 1000, 4096]),
    scale=st.sampled_from([0.1, 1.0, 3.0]),
    ties=st.booleans(),
    top_p=st.sampled_from([0.2, 0.9, 0.999]),
    seed=st.integers(0, 10**6),
)
def test_plain_rows_draw_what_the_processors_draw(
    count: int, width: int, scale: float, ties: bool, top_p: float, seed: int
) -> None:
    """Small, middling and large nuclei, with and without equals at the edge."""
    logits = noise(count, width, seed, scale, ties)
    configs = [replace(PLAIN, top_p=top_p)] * count
    seeds = list(range(seed, seed + count))
    nothing: list[list[int]] = [[]] * count
    tokens, _ = drawn(logits, configs, seeds, nothing, nothing)
    assert tokens == reference(logits, configs, seeds, nothing, nothing)[0]


def test_only_the_last_resort_reads_all_of_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small nucleus is found among the best 64, a middling one among 256."""
    widths: list[tuple[int, int]] = []
    inner = draw._from_head

    def noted(scaled: Tensor, probs: Tensor, mass: Tensor, draws: Tensor, width: int) -> object:
        widths.append((len(scaled), width))
        return inner(scaled, probs, mass, draws, width)

    monkeypatch.setattr(draw, "_from_head", noted)
    logits = torch.zeros(3, 5000)
    logits[0, 7] = 20.0
    logits[1, 100:200] = 20.0
    drawn(logits, [PLAIN] * 3, [0, 1, 2], [[]] * 3, [[]] * 3)
    assert widths == [(3, 64), (2, 256), (1, 5000)]


def test_bans_that_take_everything_are_dropped() -> None:
    logits = torch.full((2, 6), -math.inf)
    logits[0, [2, 4]] = torch.tensor([1.0, 2.0])
    logits[1, 5] = 1.0
    expected = reference(logits, [PLAIN] * 2, [3, 4], [[], []], [[2, 4], []])
    assert drawn(logits, [PLAIN] * 2, [3, 4], [[], []], [[2, 4], []])[0] == expected[0]
    only_control = torch.full((1, 6), -math.inf)
    only_control[0, 3] = 1.0
    assert drawn(only_control, [PLAIN], [0], [[]], [[]])[0] == [EOS]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("others", [PLAIN, replace(PLAIN, top_k=4)])
def test_a_broken_row_breaks_no_other(value: float, others: DecodingConfig) -> None:
    logits = noise(3, 50, 1, 2.0, False)
    broken = logits.clone()
    broken[1, 7] = value
    configs = [others, PLAIN, others]
    tokens, log_probs = drawn(broken, configs, [1, 2, 3], [[]] * 3, [[]] * 3)
    whole, _ = drawn(logits, configs, [1, 2, 3], [[]] * 3, [[]] * 3)
    assert tokens == [whole[0], BROKEN, whole[2]]
    assert math.isnan(log_probs[1])


def test_what_is_plain() -> None:
    assert is_plain(DecodingConfig())
    assert is_plain(DecodingConfig(repetition_penalty=1.1, dry_multiplier=1, logit_bias='"a": 1'))
    for change in (
        {"temperature": 0.0},
        {"top_p": 1.0},
        {"top_k": 1},
        {"min_p": 0.1},
        {"typical_p": 0.5},
        {"num_beams": 2},
        {"dynatemp_high": 1.0},
        {"top_n_sigma": 1.0},
        {"xtc_probability": 0.1},
        {"temperature_last": True},
    ):
        assert not is_plain(replace(DecodingConfig(), **change))


def test_many_numbers_at_once_are_those_drawn_one_by_one() -> None:
    one = row_generator(5)
    assert uniforms(row_generator(5), 40) == [uniforms(one, 1)[0] for _ in range(40)]
