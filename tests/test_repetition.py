"""Penalties, DRY, bias, dynamic temperature, top-nσ and XTC against their definitions (tests.samplers)."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from convai.core.errors import SettingsError
from convai.core.settings import DecodingConfig
from convai.core.token_texts import biases_of, breakers_of
from convai.decoding import Past, RowSettings, next_tokens, process, row_generator
from convai.engine.past import Dry, Pasts, ReplyPast
from convai.model.logits import (
    count_penalties,
    dynamic_temperature,
    repetition_penalty,
    shift,
    top_n_sigma,
    xtc,
)
from convai.text.segments import EncodedTurn, build_prompt
from convai.text.sequence_breaks import SequenceBreaks, TokenTexts
from convai.text.tokenizer import Tokenizer
from tests import samplers

INF = math.inf
EOS = 1
OFF = DecodingConfig(min_length=0, temperature=1.0, top_p=1.0, no_repeat_ngram=0, no_repeat_own_ngram=0)
BYTES = Tokenizer.byte_level()
NO_BREAKS = SequenceBreaks()

tokens = st.lists(st.integers(0, 3), max_size=30)
"""Of few, so that much is repeated."""


@st.composite
def rows(draw: st.DrawFn) -> Tensor:
    """[V], some of them masked, two and more of them not."""
    width = draw(st.integers(4, 60))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits = torch.randn(width, generator=generator) * draw(st.sampled_from([0.1, 1.0, 4.0]))
    if draw(st.booleans()):
        masked = torch.rand(width, generator=generator) < 0.3
        masked[:2] = False
        logits[masked] = -INF
    return logits


def kept(logits: Tensor) -> set[int]:
    return set((logits > -INF).nonzero()[:, 0].tolist())


def clear(values: list[float], edge: float) -> bool:
    return all(abs(value - edge) > 1e-5 for value in values if value > -INF)


# what was said


@given(rows(), tokens, st.sampled_from([1.0, 1.3, 0.8]), st.floats(-2, 2), st.floats(-2, 2))
def test_penalties(logits: Tensor, said: list[int], repetition: float, often: float, once: float) -> None:
    found = repetition_penalty(logits[None], [said], repetition)
    found = count_penalties(found, [Counter(said)], often, once)
    expected = samplers.penalised(
        logits.tolist(), said, repetition=repetition, frequency=often, presence=once
    )
    torch.testing.assert_close(found[0], torch.tensor(expected))


def test_penalties_a_row_and_off() -> None:
    logits = torch.randn(3, 5)
    seen = [{1: 3, 2: 0}, {4: 1}, {0: 2}]
    found = count_penalties(logits, seen, torch.tensor([0.5, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))
    assert found[0, 1] == logits[0, 1] - 1.5
    assert torch.equal(found[1], logits[1])
    assert found[2, 0] == logits[2, 0] - 1
    assert torch.equal(found[0, [0, 2, 3, 4]], logits[0, [0, 2, 3, 4]])
    for value in (math.nan, INF):
        with pytest.raises(SettingsError, match="frequency_penalty"):
            count_penalties(logits, seen, value, 0.0)


def test_a_bias_is_added_and_false_is_never() -> None:
    logits = torch.zeros(2, 4)
    assert shift(logits, [{1: 2.5, 3: -INF}, {}]).tolist() == [[0, 2.5, 0, -INF], [0, 0, 0, 0]]
    assert shift(torch.full((1, 2), -INF), [{0: 5.0}]).tolist() == [[-INF, -INF]]


@given(tokens, st.sets(st.integers(0, 3), max_size=2), st.integers(1, 4), st.integers(-1, 12))
def test_dry_a_token_at_a_time(said: list[int], breakers: set[int], allowed: int, last_n: int) -> None:
    config = replace(
        OFF, dry_multiplier=0.8, dry_base=1.75, dry_allowed_length=allowed, dry_penalty_last_n=last_n
    )
    dry = Dry(config, SequenceBreaks(frozenset(breakers)))
    for i, token in enumerate(said):
        dry.push(token)
        expected = samplers.dry(
            [0.0] * 4,
            said[: i + 1],
            multiplier=0.8,
            base=1.75,
            allowed=allowed,
            breakers=breakers,
            last_n=last_n,
        )
        found = dry.penalties()
        assert [-found.get(token, 0.0) for token in range(4)] == pytest.approx(expected)


def test_dry_by_hand() -> None:
    """`a b c c b c y a b c`: three tokens before a c, two before a y, one before a b."""
    dry = Dry(replace(OFF, dry_multiplier=1.0, dry_base=2.0, dry_allowed_length=2), NO_BREAKS)
    for char in b"abccbcyabc":
        dry.push(char)
    assert dry.penalties() == {ord("c"): 2.0, ord("y"): 1.0}


def test_a_long_repetition_is_finite() -> None:
    dry = Dry(replace(OFF, dry_multiplier=1.0, dry_base=1.75, dry_allowed_length=2), NO_BREAKS)
    for _ in range(400):
        dry.push(7)
    assert dry.penalties() == {7: 1.75**48}


def test_a_fork_has_a_memory_of_its_own() -> None:
    config = replace(OFF, dry_multiplier=1.0, frequency_penalty=0.5)
    past = ReplyPast(config, {}, (), Dry(config, NO_BREAKS))
    for token in (5, 6, 7, 5, 6):
        past.push(token)
    twin = past.copy()
    before = past.now()
    seen, dry = dict(before.seen), dict(before.dry)
    twin.push(7)
    assert (past.now().seen, past.now().dry) == (seen, dry)
    past.push(8)
    assert twin.now().dry == {5: 1.75}
    assert past.now().dry == {}


@given(tokens, tokens, st.sampled_from([None, -1, 0, 1, 5]))
def test_which_tokens_count_for_penalties(prompt: list[int], reply: list[int], last_n: int | None) -> None:
    past = ReplyPast(replace(OFF, presence_penalty=1.0, repeat_last_n=last_n), {}, prompt, None)
    for token in reply:
        past.push(token)
    whole = [*prompt, *reply]
    window = reply if last_n is None else whole if last_n < 0 else whole[max(len(whole) - last_n, 0) :]
    assert past.now().seen == Counter(window)


# what breaks a sequence


def test_a_breaker_is_found_however_it_is_cut() -> None:
    texts = ["good morning :) to you", "one two: three", "a b"] * 5
    tokenizer = Tokenizer.train(texts, 290)
    pieces = [tokenizer.piece(id) for id in range(tokenizer.vocab_size)]
    vocabulary = TokenTexts(tokenizer)
    assert vocabulary.breaks((":",)).tokens == {i for i, piece in enumerate(pieces) if ":" in piece}
    assert vocabulary.breaks((":", "\n")) is vocabulary.breaks((":", "\n"))
    for text in ("morning", "two: th", ":) to"):
        breaks = vocabulary.breaks((text,))
        said = tokenizer.encode(f"good x {text}")
        ends = [i for i in range(len(said)) if breaks.ended(said[: i + 1])]
        assert ends == [len(said) - 1], text
    assert not TokenTexts(BYTES).breaks(()).tokens


def test_dry_does_not_look_across_a_breaker_of_several_tokens() -> None:
    config = replace(OFF, dry_multiplier=1.0, dry_base=2.0, dry_allowed_length=1)
    dry = Dry(config, TokenTexts(BYTES).breaks(("##",)))
    for char in b"xy##abq xy##ab":
        dry.push(char)
    assert dry.penalties() == {ord("q"): 2.0}, "two tokens since the breaker, not six"


# the whole distribution


@given(rows(), st.floats(0, 2), st.floats(0, 2), st.sampled_from([0.5, 1.0, 2.0]))
def test_dynamic_temperature(logits: Tensor, one: float, other: float, exponent: float) -> None:
    low, high = sorted((one, other))
    t = samplers.dynamic(logits.tolist(), low, high, exponent)
    assume(t > 1e-3 and high > 0)
    found = dynamic_temperature(logits[None], low, high, exponent)[0]
    torch.testing.assert_close(found.softmax(-1), (logits / t).softmax(-1), atol=1e-5, rtol=1e-4)


def test_a_dynamic_temperature_of_0_is_greedy_and_finite() -> None:
    logits = torch.tensor([[50.0, 0.0, -INF]])
    found = dynamic_temperature(logits, 0.0, 1.0, 1.0)
    assert found.softmax(-1).tolist() == [[1, 0, 0]]
    alone = torch.tensor([[-INF, 3.0]])
    assert torch.equal(dynamic_temperature(alone, 0.5, 1.0, 1.0), alone)


@given(rows(), st.floats(0.1, 4))
def test_top_n_sigma(logits: Tensor, n: float) -> None:
    found = kept(top_n_sigma(logits[None], n)[0])
    expected = samplers.kept_by_sigma(logits.tolist(), n)
    there = logits[logits > -INF].double()
    edge = float(there.max() - n * there.std(correction=0))
    assume(clear(logits.tolist(), edge))
    assert found == expected


@given(rows(), st.floats(0.01, 0.6), st.sets(st.integers(0, 3), max_size=2))
def test_xtc(logits: Tensor, threshold: float, guarded: set[int]) -> None:
    assume(clear(samplers.probabilities(logits.tolist()), threshold))
    on = torch.tensor([True])
    found = xtc(logits[None], threshold, on, sorted(guarded))
    assert kept(found[0]) == samplers.kept_by_xtc(logits.tolist(), threshold, guarded)
    assert torch.equal(xtc(logits[None], threshold, ~on), logits[None])


def test_xtc_of_equals_keeps_one() -> None:
    assert kept(xtc(torch.zeros(1, 5), 0.1, torch.tensor([True]))[0]) == {4}
    assert kept(xtc(torch.zeros(1, 5), 0.1, torch.tensor([True]), [1])[0]) == {0, 1, 2, 3, 4}


# together


def test_all_of_them_in_the_documented_order() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(1, 50, generator=generator) * 3
    said = [5, 6, 7, 8, 5, 6, 7]
    config = replace(
        OFF,
        repetition_penalty=1.2,
        frequency_penalty=0.3,
        presence_penalty=-0.2,
        dry_multiplier=0.9,
        dynatemp_low=0.6,
        dynatemp_high=1.8,
        top_n_sigma=2.2,
        top_p=0.97,
        xtc_probability=0.5,
        xtc_threshold=0.08,
    )
    dry = Dry(config, NO_BREAKS)
    for token in said:
        dry.push(token)
    assert dry.penalties()
    bias = {9: 3.0, 10: -INF}
    past = Past(Counter(said), bias, dry.penalties(), chance=0.49)
    settings = RowSettings.stack([config])
    found = process(logits, settings, replies=[said], eos_id=EOS, forbidden=(0,), pasts=[past])

    row = logits[0].tolist()
    row[0] = -INF
    row = [x + bias.get(i, 0.0) for i, x in enumerate(row)]
    row = samplers.penalised(row, said, repetition=1.2, frequency=0.3, presence=-0.2)
    row = samplers.dry(row, said, multiplier=0.9, base=1.75, allowed=2)
    t = samplers.dynamic(row, 0.6, 1.8, 1.0)
    row = [x / t for x in row]
    within = samplers.kept_by_sigma(row, 2.2)
    row = [x if i in within else -INF for i, x in enumerate(row)]
    order = sorted(range(50), key=lambda i: -row[i])
    probs = samplers.probabilities(row)
    count = next(n for n in range(1, 51) if sum(probs[i] for i in order[:n]) >= 0.97)
    row = [x if i in order[:count] else -INF for i, x in enumerate(row)]
    left = samplers.kept_by_xtc(row, 0.08, (EOS,))
    assert len(within) > count > len(left) > 1, "every filter takes something"
    assert kept(found[0]) == left
    expected = samplers.probabilities([x if i in left else -INF for i, x in enumerate(row)])
    torch.testing.assert_close(found[0].softmax(-1), torch.tensor(expected), atol=1e-5, rtol=1e-4)

    calm = process(logits, settings, replies=[said], eos_id=EOS, pasts=[replace(past, chance=0.5)])
    assert len(kept(calm[0])) > len(left), "XTC takes action where its number is below its probability"


def test_the_temperature_may_come_last() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    hot = replace(OFF, temperature=5.0, min_p=0.3)
    first, last = (
        process(logits, RowSettings.stack([config]), replies=[[]], eos_id=EOS)
        for config in (hot, replace(hot, temperature_last=True))
    )
    assert (kept(first[0]), kept(last[0])) == ({0, 1, 2, 3}, {0, 1})
    assert last[0, 0] - last[0, 1] == pytest.approx(0.2)


def test_a_greedy_row_is_moved_but_not_filtered() -> None:
    logits = torch.tensor([[3.0, 0.0, 2.9, 1.0]])
    config = replace(OFF, temperature=0.0, xtc_probability=1.0, top_n_sigma=0.1, dynatemp_high=2.0)
    past = Past(bias={0: -1.0})
    token = next_tokens(
        logits, RowSettings.stack([config]), [row_generator(0)], replies=[[]], eos_id=EOS, pasts=[past]
    )
    assert token.tolist() == [2]


# what is typed


def test_texts_are_read() -> None:
    assert breakers_of(DecodingConfig().dry_sequence_breakers) == ("\n", ":", '"', "*")
    assert breakers_of('["a", "", "a"]') == ("a",)
    assert breakers_of("") == ()
    assert biases_of('" pizza": -5, "12": 3, "7": false') == ((" pizza", -5.0), (12, 3.0), (7, -INF))
    assert biases_of('[[12, 1.5], ["no", false]]') == ((12, 1.5), ("no", -INF))
    assert biases_of("") == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dry_sequence_breakers", "a"),
        ("dry_sequence_breakers", "1"),
        ("dry_sequence_breakers", '"' + "x" * 41 + '"'),
        ("dry_sequence_breakers", ", ".join(f'"{i}"' for i in range(65))),
        ("logit_bias", "pizza"),
        ("logit_bias", '"pizza": true'),
        ("logit_bias", '"pizza": 1e9'),
        ("logit_bias", '"pizza": NaN'),
        ("logit_bias", '"": 1'),
        ("logit_bias", "[1, 2]"),
        ("logit_bias", "[" * 5_000),
        ("logit_bias", ", ".join(f'"{i}": 1' for i in range(301))),
        ("logit_bias", '"a": 1' + " " * 20_001),
    ],
)
def test_what_does_not_read_is_named(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}=.*(use|write|name) "):
        DecodingConfig(**{name: text})


def test_dynamic_temperatures_go_together() -> None:
    assert DecodingConfig(dynatemp_low=2.0).dynatemp_high == 0, "off"
    with pytest.raises(SettingsError, match=r"dynatemp_low=1\.5: use at most dynatemp_high"):
        DecodingConfig(dynatemp_low=1.5, dynatemp_high=1.0)


def test_the_past_of_a_request() -> None:
    """The words of the prompt count, its control tokens break; a text has the bias of all its tokens."""
    pasts = Pasts(BYTES)
    turns = [EncodedTurn(0, b"abcd"), EncodedTurn(1, b"xbc"), EncodedTurn(0, b"abc")]
    prompt = build_prompt(BYTES.frame, [b"hi"], turns, 1)
    assert pasts.of(OFF, prompt) is None
    assert pasts.of(replace(OFF, dry_multiplier=1.0, dry_penalty_last_n=0), prompt) is None
    config = replace(OFF, dry_multiplier=1.0, dry_base=2.0, repeat_last_n=-1, presence_penalty=1.0)
    past = pasts.of(config, prompt)
    assert past is not None
    assert past.now().seen == Counter(b"hiabcdxbcabc")
    assert past.now().dry == {}, "a speaker's token is what was said last"
    past.push(ord("b"))
    past.push(ord("c"))
    assert past.now().dry == {ord("d"): 1.0}, "and nothing follows the end of a turn"
    biased = pasts.of(replace(OFF, logit_bias='"aba": -1, "98": 0.5'), prompt)
    assert biased is not None
    assert biased.now().bias == {ord("a"): -1.0, ord("b"): -0.5}
    with pytest.raises(SettingsError, match="logit_bias=300: the model has tokens 0 to 260"):
        pasts.of(replace(OFF, logit_bias='"300": 1'), prompt)
