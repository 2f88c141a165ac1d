"""Replies are those of the blog post's loop, whatever is cached, and the stream tells what is finished."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from convai.core.dialog import USER
from convai.core.settings import DecodingConfig
from convai.engine import Engine, Event, Request, Token
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Family
from convai.text.segments import complete
from convai.training.batches import collate
from tests.drawing import (
    BYTES,
    NO_BANS,
    engine,
    finished,
    forbidden,
    naive,
    prompt,
    ready,
    settings_of,
    states,
    uncached_logprob,
    uncached_score,
)
from tests.tiny import FAMILIES, randomize
from tests.tokenizer_kinds import kind

# -- cached = uncached


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "config",
    [
        settings_of(temperature=0.0),
        settings_of(temperature=0.0, **NO_BANS),
        settings_of(),
        settings_of(temperature=0.7, top_k=40, top_p=0.9, seed=5),
        settings_of(min_length=6, repetition_penalty=1.5, typical_p=0.9, min_p=0.01),
        settings_of(max_length=1),
        settings_of(
            top_p=0.99, frequency_penalty=0.6, presence_penalty=0.4, repeat_last_n=12, logit_bias='"105": 4'
        ),
        settings_of(top_p=0.99, dry_multiplier=3.0, dry_allowed_length=1, **NO_BANS),
        settings_of(
            dry_multiplier=2.0, dry_allowed_length=1, dry_penalty_last_n=30, dry_sequence_breakers=""
        ),
        settings_of(xtc_probability=0.5, xtc_threshold=0.005, top_n_sigma=2.5),
        settings_of(dynatemp_low=0.2, dynatemp_high=1.5, temperature_last=True, min_p=0.02),
    ],
    ids=[
        *("greedy", "greedy free", "sampled", "filtered", "penalised", "one"),
        *("counted", "dry", "dry and no breakers", "xtc", "dynamic"),
    ],
)
def test_a_reply_is_that_of_the_naive_loop(family: Family, config: DecodingConfig) -> None:
    model = ready(family, eos=4.0)
    own = [BYTES.encode("i have two dogs."), BYTES.encode("you too?")]
    for said in (["hi"], ["hello there!", "i have two dogs.", "and?"], []):
        request = Request(prompt(*said), config, own_turns=own)
        reply = engine(model).best(request)
        ids, reason = naive(model, request)
        assert (list(reply.ids), reply.reason) == (ids, reason)
        drawn = ids + [BYTES.eos_id] * (reason == "stop")
        assert reply.logprob == pytest.approx(uncached_logprob(model, request.prompt, drawn), abs=1e-3)
        score = uncached_score(model, request.prompt, ids, BYTES.eos_id)
        assert reply.score == pytest.approx(score, abs=1e-4)


def test_replies_differ_from_one_another() -> None:
    """What the test above compares is not one constant reply."""
    model = ready(eos=4.0)
    replies = [engine(model).best(Request(prompt("hi"), settings_of(seed=seed))) for seed in range(12)]
    assert len({reply.ids for reply in replies}) > 8
    assert {reply.reason for reply in replies} == {"stop", "length"}
    assert len({reply.ids for reply in (engine(model).best(Request(prompt("hi"), settings_of())),) * 2}) == 1


@pytest.mark.parametrize("name", ["own", "gpt2", "openai-gpt"])
def test_every_kind_of_tokenizer(name: str) -> None:
    tokenizer = kind(name)
    model = ready(tokenizer=tokenizer, eos=3.0)
    request = Request(prompt("Hello, who are you?", tokenizer=tokenizer), settings_of())
    events = list(Engine(model, tokenizer).stream(request))
    (reply,) = finished(events)
    assert list(reply.ids) == naive(model, request, tokenizer=tokenizer)[0]
    assert reply.text == tokenizer.decode(reply.ids)


# -- several candidates


@pytest.mark.parametrize("family", FAMILIES)
def test_a_candidate_is_itself_whatever_the_others(family: Family) -> None:
    model = ready(family, eos=3.0)
    many = Request(prompt("what do you do?"), settings_of(candidates=15))
    replies = finished(list(engine(model).stream(many)))
    assert [r.candidate for r in replies] == list(range(15))
    assert len({len(r.ids) for r in replies}) > 3, "they end at different times"
    assert {r.reason for r in replies} == {"stop", "length"}
    for i, reply in enumerate(replies):
        ids, reason = naive(model, many, i)
        assert (list(reply.ids), reply.reason) == (ids, reason)
        drawn = ids + [BYTES.eos_id] * (reason == "stop")
        assert reply.logprob == pytest.approx(uncached_logprob(model, many.prompt, drawn), abs=1e-3)
        assert reply.score == pytest.approx(uncached_score(model, many.prompt, ids, BYTES.eos_id), abs=1e-4)
    fewer = finished(list(engine(model).stream(Request(many.prompt, settings_of(candidates=3)))))
    assert [r.ids for r in fewer] == [r.ids for r in replies[:3]]


def test_the_best_is_the_head_s_choice() -> None:
    model = ready(eos=4.0)
    request = Request(prompt("what do you do?"), settings_of(candidates=6))
    replies = finished(list(engine(model).stream(request)))
    best = engine(model).best(request)
    assert best.score == max(r.score for r in replies)
    assert best.candidate == [r.score for r in replies].index(best.score)
    assert best.candidate > 0, "the first would be taken without a head, too"


def test_without_a_seed_every_reply_is_new() -> None:
    run = engine(ready())
    request = Request(prompt("hi"), settings_of(seed=None, candidates=2, max_length=12))
    assert len({r.ids for _ in range(3) for r in finished(list(run.stream(request)))}) == 6


# -- the stream


@pytest.mark.parametrize("name", ["bytes", "own", "openai-gpt"])
@pytest.mark.parametrize("candidates", [1, 4])
def test_what_is_streamed_is_what_is_finished(name: str, candidates: int) -> None:
    tokenizer = kind(name)
    model = ready(tokenizer=tokenizer, eos=3.0)
    for seed in range(4):
        config = settings_of(candidates=candidates, seed=seed, temperature=2.0)
        request = Request(prompt("hi", tokenizer=tokenizer), config)
        open_ones = set(range(candidates))
        events = list(Engine(model, tokenizer).stream(request))
        ids: list[list[int]] = [[] for _ in range(candidates)]
        texts = [""] * candidates
        logprobs = [0.0] * candidates
        for event in events:
            assert event.candidate in open_ones, "nothing comes after the end"
            if isinstance(event, Token):
                ids[event.candidate].append(event.id)
                texts[event.candidate] += event.text
                logprobs[event.candidate] += event.logprob
                assert event.alternatives == ()
            else:
                open_ones.remove(event.candidate)
        assert not open_ones
        for reply in finished(events):
            assert list(reply.ids) == ids[reply.candidate]
            assert reply.text == tokenizer.decode(reply.ids)
            assert reply.text.startswith(texts[reply.candidate])
            if reply.reason == "length":
                assert reply.logprob == pytest.approx(logprobs[reply.candidate], abs=1e-4)
            else:
                assert reply.logprob < logprobs[reply.candidate], "the <eos> counts"


def test_alternatives() -> None:
    model = ready(eos=4.0)
    request = Request(prompt("hi"), settings_of(max_length=6, min_length=6), alternatives=300)
    tokens = [e for e in engine(model).stream(request) if isinstance(e, Token)]
    ids: list[int] = []
    for token in tokens:
        logits = model.lm_logits(states(model, request.prompt, ids)[-1])
        logits[forbidden(model, BYTES)] = -math.inf
        expected = logits.log_softmax(-1).sort(descending=True, stable=True)
        allowed = 256 + 1
        assert [p for _, p in token.alternatives] == pytest.approx(
            expected.values[:allowed].tolist(), abs=1e-4
        )
        likeliest = int(expected.indices[0])
        assert token.alternatives[0][0] == (BYTES.piece(likeliest) if ids else BYTES.decode([likeliest]))
        ids.append(token.id)
    three = [
        e.alternatives
        for e in engine(model).stream(Request(request.prompt, request.config, alternatives=3))
        if isinstance(e, Token)
    ]
    assert three == [token.alternatives[:3] for token in tokens]


def test_a_closed_stream_leaves_the_engine_usable() -> None:
    model = ready()
    run = engine(model)
    request = Request(prompt("hi", "hello", "who are you?"), settings_of(candidates=2))
    list(run.stream(request))
    expected = finished(list(run.stream(request)))
    for n in (0, 1, 3, 10):
        events = run.stream(request)
        for _ in itertools.islice(events, n):
            pass
        events.close()
        assert next(events, None) is None
        assert finished(list(run.stream(request))) == expected
    left = run.stream(Request(prompt("something else"), settings_of()))
    next(left)
    del left
    again = finished(list(run.stream(request)))
    assert [r.ids for r in again] == [r.ids for r in expected]
    assert [r.score for r in again] == pytest.approx([r.score for r in expected], abs=1e-5)
    assert not torch.is_inference_mode_enabled()


def test_streams_may_be_read_in_turn() -> None:
    """Two replies begun on one engine do not disturb each other."""
    model = ready(eos=3.0)
    requests = [Request(prompt("hi"), settings_of(seed=s)) for s in range(3)]
    requests.append(Request(prompt("another question", persona=()), settings_of(num_beams=3)))
    alone = [list(engine(model).stream(request)) for request in requests]
    run = engine(model)
    streams = [run.stream(request) for request in requests]
    together: list[list[Event]] = [[] for _ in requests]
    for events in itertools.zip_longest(*streams):
        for i, event in enumerate(events):
            if event is not None:
                together[i].append(event)
    for ours, theirs in zip(together, alone, strict=True):
        assert [type(e) for e in ours] == [type(e) for e in theirs]
        assert finished(ours)[0].ids == finished(theirs)[0].ids


def test_training_mode_is_left() -> None:
    model = ready().train()
    assert not engine(model).model.training


# -- what is never drawn


@pytest.mark.parametrize("beams", [1, 4])
def test_control_ids_are_never_drawn(beams: int) -> None:
    """Nor rows that the tokenizer does not know, even where the model wants nothing else."""
    model = ready()
    wanted = [*forbidden(model, BYTES), BYTES.eos_id]
    bias = model.get_parameter("transformer.ln_f.bias")
    with torch.no_grad():
        model.transformer.wte.weight[wanted] += 20 * bias / bias.dot(bias)
    logits = model.lm_logits(states(model, prompt("hi"), [])[-1])
    assert int(logits.argmax()) in wanted
    config = settings_of(
        num_beams=beams, candidates=1 if beams > 1 else 5, min_length=30, max_length=30, temperature=100
    )
    for reply in finished(list(engine(model).stream(Request(prompt("hi"), config)))):
        assert len(reply.ids) == 30
        assert all(id < 256 for id in reply.ids)


def test_no_n_gram_of_ones_own_turns_again() -> None:
    model = ready()
    free = engine(model).best(Request(prompt("hi"), settings_of(temperature=0.0, **NO_BANS)))
    config = settings_of(temperature=0.0, no_repeat_ngram=0, no_repeat_own_ngram=2)
    banned = engine(model).best(Request(prompt("hi"), config, own_turns=[free.ids]))
    assert banned.ids != free.ids
    pairs = set(itertools.pairwise(free.ids))
    assert pairs.isdisjoint(itertools.pairwise(banned.ids))
    beam = settings_of(num_beams=3, no_repeat_ngram=2, no_repeat_own_ngram=2, max_length=20)
    searched = engine(model).best(Request(prompt("hi"), beam, own_turns=[free.ids]))
    own = list(itertools.pairwise(searched.ids))
    assert pairs.isdisjoint(own)
    assert len(set(own)) == len(own)


def test_the_user_s_turn_may_be_drawn_too() -> None:
    model = ready(eos=3.0)
    request = Request(prompt("hi", "hello", speaker=USER), settings_of())
    assert list(engine(model).best(request).ids) == naive(model, request)[0]


def test_the_match_head_adds_to_the_scores() -> None:
    """As in evaluation: the score of a candidate counts the words that it shares with what was said."""
    plain = ready(eos=4.0)
    model = DoubleHeadsModel(plain.config.replace(match_size=4))
    model.load_state_dict(plain.state_dict(), strict=False)
    assert model.match_head is not None
    randomize(model.match_head)
    request = Request(prompt("hi", "hello", "what do you do?"), settings_of(candidates=5))
    replies = finished(list(engine(model.eval()).stream(request)))
    without = finished(list(engine(plain).stream(request)))
    wholes = [complete(request.prompt, reply.ids, BYTES.eos_id) for reply in replies]
    batch = collate(wholes, BYTES.pad_id, groups=[len(wholes)])
    added = model.match_scores(batch, len(wholes)).tolist()
    assert [r.ids for r in replies] == [r.ids for r in without]
    expected = [reply.score + more for reply, more in zip(without, added, strict=True)]
    assert [reply.score for reply in replies] == pytest.approx(expected, abs=1e-4)
    assert max(added) - min(added) > 1e-3
