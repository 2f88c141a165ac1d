"""Replies in the frame of a chat template: those of a loop without a cache, ended by every end there is."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from convai.core.dialog import AGENT, USER
from convai.engine import Engine, Request
from convai.model.double_heads import DoubleHeadsModel
from convai.text.segments import EncodedTurn, build_prompt
from convai.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from tests.chat_templates import chat_bytes
from tests.drawing import prompt, ready, settings_of, states, uncached_score
from tests.tiny import tiny_model

CHAT = chat_bytes()
ENDS = (256, 257)
"""Control tokens that a generation config names as ends too."""


def many_ends() -> Tokenizer:
    assert CHAT.chat is not None
    assert [CHAT.control_name(id) for id in ENDS] == list(SPECIAL_TOKENS[:2])
    return Tokenizer.from_json(CHAT.to_json(), dataclasses.replace(CHAT.chat, stop_ids=ENDS))


def wanting_to_end() -> DoubleHeadsModel:
    """A model that likes both of the other ends, and the template's own less."""
    model = ready(tokenizer=CHAT)
    bias = model.get_parameter("transformer.ln_f.bias")
    with torch.no_grad():
        model.transformer.wte.weight[list(ENDS)] += 6.0 * bias / bias.dot(bias)
    return model


def test_every_end_ends_a_reply() -> None:
    requests = [Request(prompt("hi", tokenizer=CHAT), settings_of(seed=seed)) for seed in range(6)]
    with_all, with_one = Engine(wanting_to_end(), many_ends()), Engine(wanting_to_end(), CHAT)
    drawn = [with_all.best(request) for request in requests]
    assert [reply.reason for reply in drawn] == ["stop"] * 6
    other = [with_one.best(request) for request in requests]
    assert any(reply.reason == "length" for reply in other), "they are no ends where no config says so"
    assert all(id < 256 for reply in (*drawn, *other) for id in reply.ids)


def test_no_end_comes_before_the_minimum_length() -> None:
    for seed in range(6):
        config = settings_of(seed=seed, min_length=5)
        reply = Engine(wanting_to_end(), many_ends()).best(Request(prompt("hi", tokenizer=CHAT), config))
        assert len(reply.ids) >= 5


def test_a_beam_ends_as_the_frame_says() -> None:
    config = settings_of(temperature=0.0, num_beams=3, max_length=6)
    reply = Engine(wanting_to_end(), many_ends()).best(Request(prompt("hi", tokenizer=CHAT), config))
    assert all(id < 256 for id in reply.ids)


def test_a_reply_is_scored_at_the_templates_own_end() -> None:
    model = wanting_to_end()
    request = Request(prompt("hi", "hello", "and?", tokenizer=CHAT), settings_of(seed=3))
    reply = Engine(model, many_ends()).best(request)
    assert reply.reason == "stop"
    assert reply.score == pytest.approx(
        uncached_score(model, request.prompt, reply.ids, CHAT.eos_id), abs=1e-4
    )


def test_greedy_is_the_best_token_of_an_uncached_pass() -> None:
    """Segments, positions and what was said before are those of training."""
    model = ready(tokenizer=CHAT)
    asked = prompt("hi", "hello", "and?", tokenizer=CHAT)
    config = settings_of(temperature=0.0, no_repeat_ngram=0, no_repeat_own_ngram=0, max_length=8)
    reply = Engine(model, CHAT).best(Request(asked, config))
    ids: list[int] = []
    while len(ids) < 8:
        logits = model.lm_logits(states(model, asked, ids)[-1])
        logits[[*(CHAT.special_ids - {CHAT.eos_id}), *range(CHAT.vocab_size, len(logits))]] = -torch.inf
        best = int(logits.argmax())
        if best == CHAT.eos_id:
            break
        ids.append(best)
    assert list(reply.ids) == ids


def test_the_next_turn_goes_on_from_the_last_ones_end() -> None:
    """The end that closes a reply stands in the history: nothing of it is computed again."""
    model = tiny_model(vocab_size=CHAT.vocab_size)
    engine = Engine(model, CHAT)
    persona = [CHAT.encode("i bake bread.")]
    turns = [EncodedTurn(USER, CHAT.encode("hi"))]
    first = build_prompt(CHAT.frame, persona, turns)
    reply = engine.best(Request(first, settings_of(max_length=4)))
    turns += [EncodedTurn(AGENT, reply.ids), EncodedTurn(USER, CHAT.encode("and?"))]
    second = build_prompt(CHAT.frame, persona, turns)
    known = len(first) + len(reply.ids) + 1
    assert engine.best(Request(second, settings_of(max_length=4))).timings.reused_tokens == known
