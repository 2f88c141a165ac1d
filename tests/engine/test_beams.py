"""Beam search inside the engine: transformers' replies, and brute force's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2LMHeadModel

from convai.engine import Finished, Request
from convai.model.checkpoint import save_model
from convai.model.double_heads import DoubleHeadsModel
from tests.drawing import (
    BYTES,
    NO_BANS,
    engine,
    forbidden,
    prompt,
    ready,
    settings_of,
    states,
    uncached_logprob,
    uncached_score,
)

# -- beam search


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[DoubleHeadsModel, Any]:
    folder: Path = tmp_path_factory.mktemp("beam")
    model = ready(eos=3.0)
    save_model(model, folder)
    theirs: Any = GPT2LMHeadModel.from_pretrained(folder)
    return model, theirs.eval()


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("beams", [2, 5])
def test_beam_search_is_transformers(
    searched: tuple[DoubleHeadsModel, Any], beams: int, length_penalty: float
) -> None:
    model, theirs = searched
    reasons = set()
    for said in ("hi", "what is your favourite bread?", "tell me about the sea."):
        request = Request(
            prompt(said),
            settings_of(
                num_beams=beams, length_penalty=length_penalty, max_length=12, min_length=0, **NO_BANS
            ),
        )
        (reply,) = engine(model).stream(request)
        assert isinstance(reply, Finished)
        expected = theirs.generate(
            torch.tensor([request.prompt.ids]),
            attention_mask=torch.ones(1, len(request.prompt), dtype=torch.long),
            token_type_ids=torch.tensor([request.prompt.segments]),
            num_beams=beams,
            length_penalty=length_penalty,
            early_stopping="never",
            do_sample=False,
            max_new_tokens=12,
            suppress_tokens=forbidden(model, BYTES),
            eos_token_id=BYTES.eos_id,
            pad_token_id=BYTES.pad_id,
        )[0, len(request.prompt) :].tolist()
        ids = [id for id in expected if id not in (BYTES.eos_id, BYTES.pad_id)]
        assert list(reply.ids) == ids
        assert reply.reason == ("stop" if BYTES.eos_id in expected else "length")
        reasons.add(reply.reason)
        drawn = ids + [BYTES.eos_id] * (reply.reason == "stop")
        assert reply.logprob == pytest.approx(uncached_logprob(model, request.prompt, drawn), abs=1e-3)
        assert reply.score == pytest.approx(
            uncached_score(model, request.prompt, ids, BYTES.eos_id), abs=1e-4
        )
        assert reply.text == BYTES.decode(ids)
    if (beams, length_penalty) == (5, 0.0):
        assert reasons == {"stop"}


def test_more_beams_find_more_probable_replies() -> None:
    model = ready(eos=3.0)
    config = {"max_length": 8, "length_penalty": 0.0, "min_length": 8, **NO_BANS}
    greedy = engine(model).best(Request(prompt("hi"), settings_of(temperature=0.0, **config)))
    beam = engine(model).best(Request(prompt("hi"), settings_of(num_beams=16, **config)))
    assert beam.logprob > greedy.logprob


def test_beam_search_over_all_there_is() -> None:
    """Two tokens, more beams than tokens: nothing can be missed, so brute force agrees."""
    model = ready(eos=2.0)
    request = Request(
        prompt("hi"), settings_of(num_beams=64, max_length=2, min_length=0, length_penalty=0.0, **NO_BANS)
    )
    allowed = [i for i in range(model.config.vocab_size) if i not in forbidden(model, BYTES)]
    first = model.lm_logits(states(model, request.prompt, [])[-1]).log_softmax(-1)
    best = (float(first[BYTES.eos_id]), [BYTES.eos_id])
    ranked = sorted((i for i in allowed if i != BYTES.eos_id), key=lambda i: -float(first[i]))
    for token in ranked[:64]:
        second = model.lm_logits(states(model, request.prompt, [token])[-1]).log_softmax(-1)
        for other in allowed:
            best = max(best, (float(first[token] + second[other]), [token, other]))
    # what begins with a token beyond the 64 best cannot win
    assert best[0] > float(first[ranked[64]])
    reply = engine(model).best(request)
    assert list(reply.ids) == [t for t in best[1] if t != BYTES.eos_id]
    assert reply.logprob == pytest.approx(best[0], abs=1e-4)
