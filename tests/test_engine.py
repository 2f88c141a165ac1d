from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2LMHeadModel

from convai import segments
from convai.checkpoint import save_model
from convai.config import DecodingConfig
from convai.decoding import ReplyBans, RowSettings, next_tokens, row_generator
from convai.dialog import AGENT, USER
from convai.engine import Engine, Event, Finished, Request, Token
from convai.engine.prefix import PrefixCache
from convai.errors import ConvaiError, SettingsError
from convai.model import DoubleHeadsModel
from convai.model_config import Family
from convai.segments import EncodedTurn, build_prompt
from convai.tokenizer import Tokenizer
from tests.tiny import FAMILIES, close, tiny_model
from tests.tokenizer_kinds import kind

BYTES = Tokenizer.byte_level()
UNKNOWN_ROWS = 3
"""Rows of the model's embedding that the tokenizer has no token for."""

NO_BANS = {"no_repeat_ngram": 0, "no_repeat_own_ngram": 0}


def ready(
    family: Family = "gpt2",
    *,
    eos: float = 0.0,
    seed: int = 0,
    n_positions: int = 160,
    tokenizer: Tokenizer = BYTES,
) -> DoubleHeadsModel:
    """A tiny model; `eos` makes the end of a reply more probable, by that much in its logit."""
    model = tiny_model(family, tokenizer.vocab_size + UNKNOWN_ROWS, n_positions, seed)
    last_norm = "ln_f" if family == "gpt2" else "h.1.ln_2"
    bias = model.get_parameter(f"transformer.{last_norm}.bias")  # part of every last hidden state
    with torch.no_grad():
        model.transformer.wte.weight[tokenizer.eos_id] += eos * bias / bias.dot(bias)
    return model.requires_grad_(False)


def engine(model: DoubleHeadsModel, tokenizer: Tokenizer = BYTES) -> Engine:
    return Engine(model, tokenizer)


def prompt(
    *said: str,
    persona: Sequence[str] = ("i bake bread.",),
    tokenizer: Tokenizer = BYTES,
    speaker: int = AGENT,
) -> segments.Sequence:
    """The user begins, then turn about."""
    turns = [EncodedTurn(i % 2, tokenizer.encode(text)) for i, text in enumerate(said)]
    return build_prompt(tokenizer, [tokenizer.encode(s) for s in persona], turns, speaker)


def settings_of(**changes: object) -> DecodingConfig:
    return DecodingConfig(**{"seed": 1, "temperature": 1.0, "top_p": 1.0, **changes})  # type: ignore[arg-type]


def states(model: DoubleHeadsModel, prompt: segments.Sequence, ids: Sequence[int]) -> torch.Tensor:
    """Hidden states `[T, D]` of prompt and reply, computed all at once and without a cache."""
    n = len(prompt) + len(ids)
    with torch.no_grad():
        hidden = model(
            torch.tensor([[*prompt.words, *ids]]),
            torch.arange(n)[None],
            torch.tensor([prompt.segments + [prompt.segments[-1]] * len(ids)]),
        )
    return hidden[0]  # type: ignore[no-any-return]


def forbidden(model: DoubleHeadsModel, tokenizer: Tokenizer) -> list[int]:
    unknown = range(tokenizer.vocab_size, model.config.vocab_size)
    return sorted((tokenizer.hidden_ids | set(unknown)) - {tokenizer.eos_id})


def naive(
    model: DoubleHeadsModel, request: Request, index: int = 0, tokenizer: Tokenizer = BYTES
) -> tuple[list[int], str]:
    """The blog post's loop: everything is computed again for every token."""
    config, eos_id = request.config, tokenizer.eos_id
    generator = row_generator(config.seed, index)
    bans = ReplyBans(config, request.own_turns)
    ids: list[int] = []
    room = model.config.n_positions - len(request.prompt) - 1
    for _ in range(min(config.max_length, room)):
        logits = model.lm_logits(states(model, request.prompt, ids)[-1:])
        token = int(
            next_tokens(
                logits,
                RowSettings.stack([config]),
                [generator],
                replies=[ids],
                eos_id=eos_id,
                forbidden=forbidden(model, tokenizer),
                banned=[bans.banned()],
            )
        )
        if token == eos_id:
            return ids, "stop"
        ids.append(token)
        bans.push(token)
    return ids, "length"


def finished(events: Sequence[Event]) -> list[Finished]:
    return sorted((e for e in events if isinstance(e, Finished)), key=lambda e: e.candidate)


def uncached_logprob(model: DoubleHeadsModel, prompt: segments.Sequence, drawn: Sequence[int]) -> float:
    logits = model.lm_logits(states(model, prompt, drawn))[len(prompt) - 1 : -1]
    return float(logits.log_softmax(-1)[range(len(drawn)), list(drawn)].sum())


def uncached_score(
    model: DoubleHeadsModel, prompt: segments.Sequence, ids: Sequence[int], eos_id: int
) -> float:
    return float(model.mc_logits(states(model, prompt, [*ids, eos_id])[-1]).detach())


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
    ],
    ids=["greedy", "greedy free", "sampled", "filtered", "penalised", "one"],
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


def test_tokens_come_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first token is there before the second is computed."""
    model = ready()
    forward = model.forward
    lengths: list[int] = []

    def counted(*args: torch.Tensor, **kwargs: object) -> torch.Tensor:
        lengths.append(args[0].shape[1])
        return forward(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "forward", counted)
    request = Request(prompt("hi"), settings_of(max_length=5, min_length=5))
    events = engine(model).stream(request)
    for n in range(1, 6):
        assert isinstance(next(events), Token)
        assert lengths == [len(request.prompt)] + [1] * (n - 1)
    assert isinstance(next(events), Finished)
    assert next(events, None) is None
    assert lengths == [len(request.prompt)] + [1] * 6, "one more for the <eos> that is scored"


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
        assert token.alternatives[0][0] == BYTES.decode([int(expected.indices[0])])
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
            torch.tensor([request.prompt.words]),
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


# -- the prefix of a conversation


class Conversation:
    """A prompt under random edits."""

    def __init__(self) -> None:
        self.persona: list[list[int]] = [[1, 2], [3]]
        self.turns = [EncodedTurn(USER, [5])]

    def edit(self, kind: str, ids: list[int]) -> None:
        if kind == "persona":
            self.persona = [ids]
        elif kind == "one more sentence":
            self.persona = [*self.persona, ids][-3:]
        elif kind == "drop" and len(self.turns) > 2:
            self.turns = self.turns[2:]
        elif kind == "undo" and len(self.turns) > 2:
            self.turns = self.turns[:-2]
        elif kind == "rewrite":
            self.turns = [*self.turns[:-1], EncodedTurn(self.turns[-1].speaker, ids)]
        elif kind == "exchange":
            self.turns = [*self.turns, EncodedTurn(AGENT, ids), EncodedTurn(USER, ids[:2])][-9:]
        elif kind == "chair":
            self.turns = [*self.turns[:-1], EncodedTurn(1 - self.turns[-1].speaker, self.turns[-1].ids)]

    def prompt(self) -> segments.Sequence:
        return build_prompt(BYTES, self.persona, self.turns)


edits = st.tuples(
    st.sampled_from(
        ["persona", "one more sentence", "drop", "undo", "rewrite", "exchange", "exchange", "chair", "again"]
    ),
    st.lists(st.integers(0, 6), min_size=1, max_size=6),
)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=15)
@given(script=st.lists(edits, min_size=1, max_size=7))
def test_a_reused_prefix_changes_nothing(family: Family, script: list[tuple[str, list[int]]]) -> None:
    model = ready(family, eos=3.0)
    run, kept = engine(model), PrefixCache(model, torch.float32)
    conversation = Conversation()
    for what, ids in script:
        conversation.edit(what, ids)
        request = Request(conversation.prompt(), settings_of(max_length=4, candidates=2))
        with torch.no_grad():
            hidden, _, _ = kept.prefill(request.prompt)
        assert close(hidden[0], states(model, request.prompt, [])[-1], 1e-5)
        ours, fresh = (finished(list(e.stream(request))) for e in (run, engine(model)))
        assert [r.ids for r in ours] == [r.ids for r in fresh]
        assert [r.logprob for r in ours] == pytest.approx([r.logprob for r in fresh], abs=1e-4)
        assert [r.score for r in ours] == pytest.approx([r.score for r in fresh], abs=1e-5)


def test_the_next_turn_computes_only_what_is_new() -> None:
    model = ready()
    kept = PrefixCache(model, torch.float32)
    first = prompt("hi")
    second = prompt("hi", "hello", "who are you?")
    with torch.no_grad():
        assert kept.prefill(first)[2] == 0
        assert kept.prefill(second)[2] == len(first), "the <speaker2> that ended the prompt is in place"
        assert kept.prefill(second)[2] == len(second) - 1, "the last token's state is what is asked for"
        assert kept.prefill(first)[2] == len(first) - 1
        persona = prompt("hi", persona=("i bake cake.",))
        assert kept.prefill(persona)[2] == 1 + len("i bake ")
        kept.clear()
        assert kept.prefill(persona)[2] == 0


def test_a_changed_segment_is_a_change() -> None:
    """The same words at the same places, said by somebody else."""
    model = ready()
    kept = PrefixCache(model, torch.float32)
    one = build_prompt(BYTES, [], [EncodedTurn(USER, [5, 6])])
    other = build_prompt(BYTES, [], [EncodedTurn(USER, [5, 6])])
    other.segments[2:4] = [BYTES.speaker2_id] * 2
    with torch.no_grad():
        kept.prefill(one)
        hidden, _, reused = kept.prefill(other)
    assert reused == 2
    assert close(hidden[0], states(model, other, [])[-1], 1e-5)


def test_an_interrupted_prefill_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a layer: some layers hold the new tokens and others do not."""
    model = ready()
    run = engine(model)
    run.best(Request(prompt("hi"), settings_of()))
    request = Request(prompt("hi", "hello", "and you?"), settings_of())

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model.transformer.h[1], "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.best(request)
    assert run.best(request) == engine(model).best(request)


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
        else Engine(model, BYTES, autocast=torch.bfloat16)
    )
    reply = run.best(request)
    # the same reply is not to be expected, but its probability and score are nearly what float32 says
    drawn = [*reply.ids] + [BYTES.eos_id] * (reply.reason == "stop")
    expected = uncached_logprob(exact.model, request.prompt, drawn)
    assert reply.logprob == pytest.approx(expected, abs=1.0)
    score = uncached_score(exact.model, request.prompt, reply.ids, BYTES.eos_id)
    assert reply.score == pytest.approx(score, abs=0.2)
    assert run.best(request) == reply
