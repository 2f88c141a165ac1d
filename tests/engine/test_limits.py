"""Prompts without room, damaged weights, half precision."""

from __future__ import annotations

import math

import pytest
import torch

from convai.core.errors import ConvaiError, SettingsError
from convai.core.settings import EngineConfig
from convai.engine import Engine, Request
from tests.drawing import (
    BYTES,
    engine,
    prompt,
    ready,
    settings_of,
    uncached_logprob,
    uncached_score,
)
from tests.tiny import tiny_model

# -- limits and damage


def test_a_reply_ends_with_the_positions() -> None:
    model = ready(n_positions=60)
    for said in ("x" * 30, "x" * 40, "x" * 41):
        request = Request(prompt(said, persona=()), settings_of(max_length=100, min_length=100))
        reply = engine(model).best(request)
        assert reply.reason == "length"
        # the <eos> has a position of its own
        assert len(reply.ids) == 60 - len(request.prompt) - 1
        score = uncached_score(model, request.prompt, reply.ids, BYTES.eos_id)
        assert reply.score == pytest.approx(score, abs=1e-4)
        beam = Request(request.prompt, settings_of(max_length=100, num_beams=2, min_length=100))
        assert len(engine(model).best(beam).ids) == len(reply.ids)


@pytest.mark.parametrize("length", [59, 60, 61, 200])
def test_a_prompt_without_room_is_refused(length: int) -> None:
    request = Request(prompt("x" * (length - 3), persona=()), settings_of())
    assert len(request.prompt) == length
    with pytest.raises(SettingsError) as caught:
        engine(ready(n_positions=60)).best(request)
    assert str(caught.value) == (
        f"the prompt has {length} tokens, the model 60 positions: no room for a reply; "
        "shorten the persona or the history"
    )


def test_the_longest_prompt_has_a_reply_of_one_token() -> None:
    model = ready(n_positions=60)
    request = Request(prompt("x" * 55, persona=()), settings_of(min_length=1))
    assert len(request.prompt) == 58
    assert len(engine(model).best(request).ids) == 1


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_broken_weights_are_said(beams: int, value: float) -> None:
    model = ready()
    with torch.no_grad():
        model.get_parameter("transformer.h.1.mlp.c_fc.weight")[0, 0] = value
    with pytest.raises(ConvaiError, match="not a finite number; the checkpoint is damaged"):
        engine(model).best(Request(prompt("hi"), settings_of(num_beams=beams)))


@pytest.mark.parametrize("beams", [1, 3])
def test_a_broken_head_is_said(beams: int) -> None:
    model = ready()
    with torch.no_grad():
        model.multiple_choice_head.summary.weight[0, 0] = math.nan
    with pytest.raises(ConvaiError, match="next-sentence head's output is not a finite number"):
        engine(model).best(Request(prompt("hi"), settings_of(num_beams=beams, max_length=3)))


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"knows 200 tokens, its tokenizer gives 261; take both from the same"
    ):
        engine(tiny_model(vocab_size=200))


# -- half precision


@pytest.mark.parametrize("how", ["weights", "autocast"])
@pytest.mark.parametrize("beams", [1, 3])
def test_half_precision(how: str, beams: int) -> None:
    model = ready(eos=2.0)
    request = Request(prompt("hi"), settings_of(num_beams=beams, candidates=1, max_length=10))
    exact = engine(model)
    run = (
        Engine(ready(eos=2.0).bfloat16(), BYTES)
        if how == "weights"
        else Engine(model, BYTES, EngineConfig(precision="bf16"))
    )
    reply = run.best(request)
    # the same reply is not to be expected, but its probability and score are nearly what float32 says
    drawn = [*reply.ids] + [BYTES.eos_id] * (reply.reason == "stop")
    expected = uncached_logprob(exact.model, request.prompt, drawn)
    assert reply.logprob == pytest.approx(expected, abs=1.0)
    score = uncached_score(exact.model, request.prompt, reply.ids, BYTES.eos_id)
    assert reply.score == pytest.approx(score, abs=0.2)
    assert run.best(request).ids == reply.ids
