"""What of a conversation is computed again, and that it changes nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convai.core.dialog import AGENT, USER
from convai.core.settings import EngineConfig
from convai.engine import Engine, Request, Token
from convai.model.shape import Family
from convai.text import segments
from convai.text.segments import EncodedTurn, build_prompt
from tests.drawing import (
    BYTES,
    engine,
    finished,
    forbidden,
    prompt,
    ready,
    settings_of,
    states,
    uncached_score,
)
from tests.tiny import FAMILIES


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

    def prompt(self) -> segments.TokenSequence:
        return build_prompt(BYTES.frame, self.persona, self.turns)


edits = st.tuples(
    st.sampled_from(
        ["persona", "one more sentence", "drop", "undo", "rewrite", "exchange", "exchange", "chair", "again"]
    ),
    st.lists(st.integers(0, 6), min_size=1, max_size=6),
)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("config", [EngineConfig(), EngineConfig(slots=2, prefix_mib=0, step_tokens=5)])
@settings(max_examples=12)
@given(script=st.lists(st.tuples(st.integers(0, 1), edits), min_size=1, max_size=8))
def test_a_reused_prefix_changes_nothing(
    family: Family, config: EngineConfig, script: list[tuple[int, tuple[str, list[int]]]]
) -> None:
    """Two conversations under random edits on one engine: each token's logits are those computed afresh."""
    model = ready(family, eos=3.0)
    run = Engine(model, BYTES, config)
    conversations = [Conversation(), Conversation()]
    for which, (what, ids) in script:
        conversations[which].edit(what, ids)
        request = Request(
            conversations[which].prompt(), settings_of(max_length=3, candidates=2), alternatives=500
        )
        events = list(run.stream(request))
        for reply in finished(events):
            tokens = [e for e in events if isinstance(e, Token) and e.candidate == reply.candidate]
            logits = model.lm_logits(states(model, request.prompt, reply.ids)[len(request.prompt) - 1 :])
            logits[:, forbidden(model, BYTES)] = -math.inf
            for token, row in zip(tokens, logits, strict=False):
                allowed = row[row > -math.inf]
                log_probs = (allowed - row.logsumexp(-1)).sort(descending=True).values
                assert [p for _, p in token.alternatives] == pytest.approx(log_probs.tolist(), abs=1e-5)
            score = uncached_score(model, request.prompt, reply.ids, BYTES.eos_id)
            assert reply.score == pytest.approx(score, abs=1e-5)


def reused(run: Engine, request: Request) -> int:
    return run.best(request).timings.reused_tokens


def test_the_next_turn_computes_only_what_is_new() -> None:
    run = engine(ready(eos=3.0))
    first = Request(prompt("hi"), settings_of())
    reply = run.best(first)
    assert reply.timings.reused_tokens == 0
    turns = [EncodedTurn(USER, BYTES.encode("hi")), EncodedTurn(AGENT, reply.ids)]
    turns.append(EncodedTurn(USER, BYTES.encode("and you?")))
    second = Request(build_prompt(BYTES.frame, [BYTES.encode("i bake bread.")], turns), settings_of())
    computed = run.stats().tokens_computed
    drawn = run.best(second)
    assert drawn.timings.reused_tokens == len(first.prompt) + len(reply.ids)
    new = len("<and you?<") + len(drawn.ids) + 1
    assert run.stats().tokens_computed == computed + new, "a turn costs its new tokens and its reply"
    assert reused(run, second) == len(second.prompt) - 1, "the last token's state is what is asked for"


def test_a_persona_is_shared_and_each_conversation_kept() -> None:
    run = engine(ready(eos=3.0))
    one, other = Request(prompt("hi"), settings_of()), Request(prompt("what now?"), settings_of())
    run.best(one)
    persona = 1 + len("i bake bread.") + 1
    assert reused(run, other) == persona
    assert reused(run, one) == len(one.prompt) - 1
    assert reused(run, other) == len(other.prompt) - 1
    assert reused(run, Request(prompt("hi", persona=("i bake cake.",)), settings_of())) == 1 + len("i bake ")


def test_an_edit_and_a_branch_keep_what_came_before() -> None:
    run = engine(ready(eos=3.0))
    long = Request(prompt("hi", "hello", "who are you?"), settings_of())
    run.best(long)
    edited = Request(prompt("hi", "hello", "who is it?"), settings_of())
    assert reused(run, edited) == len(prompt("hi", "hello", "")) - 1 + len("who ")
    assert reused(run, long) == len(long.prompt) - 1, "the branch left behind is still there"


def test_suggestions_share_the_conversation() -> None:
    """The model as the user, after its own reply."""
    run = engine(ready(eos=3.0))
    request = Request(prompt("hi"), settings_of())
    reply = run.best(request)
    turns = [EncodedTurn(USER, BYTES.encode("hi")), EncodedTurn(AGENT, reply.ids)]
    suggestion = Request(
        build_prompt(BYTES.frame, [BYTES.encode("i bake bread.")], turns, USER), settings_of(candidates=3)
    )
    (first, *_) = finished(list(run.stream(suggestion)))
    assert first.timings.reused_tokens == len(suggestion.prompt) - 1


def test_the_conversation_silent_longest_goes_first() -> None:
    model = ready(eos=3.0)
    run = Engine(model, BYTES, EngineConfig(slots=1, prefix_mib=0))
    assert run.stats().slots == 2
    requests = [Request(prompt(text, persona=()), settings_of()) for text in ("abcdef", "ghijkl", "mnopqr")]
    for request in requests:
        run.best(request)
    assert reused(run, requests[2]) == len(requests[2].prompt) - 1
    assert reused(run, requests[1]) == len(requests[1].prompt) - 1
    assert reused(run, requests[0]) == 2, "<bos> and <speaker1>"


def test_of_several_candidates_the_best_stays() -> None:
    """The others are the first to go."""
    model = ready(eos=3.0)
    run = Engine(model, BYTES, EngineConfig(slots=4, prefix_mib=0))
    before = Request(prompt("before", persona=()), settings_of())
    run.best(before)
    best = run.best(Request(prompt("hi", persona=()), settings_of(candidates=4)))
    for text in ("x", "y", "z"):
        run.best(Request(prompt(text, persona=()), settings_of()))
    turns = [EncodedTurn(USER, BYTES.encode("hi")), EncodedTurn(AGENT, best.ids)]
    again = Request(build_prompt(BYTES.frame, [], turns, USER), settings_of())
    assert reused(run, again) == len(again.prompt) - 1
    assert reused(run, before) == len(before.prompt) - 1


def test_memory_is_bounded_and_counted() -> None:
    model = ready(eos=3.0)
    run = Engine(model, BYTES, EngineConfig(slots=3, prefix_mib=0))
    held = run.stats().cache_bytes
    for i in range(20):
        run.best(Request(prompt(f"number {i}"), settings_of(candidates=3)))
        stats = run.stats()
        assert (stats.slots, stats.slots_in_use, stats.cache_bytes) == (4, 0, held)
    assert stats.slots_resting == 4
    with_room = Engine(model, BYTES, EngineConfig(slots=3, prefix_mib=1)).stats()
    assert with_room.slots == 3 + 2**20 // (held // 4)


def test_requests_that_begin_alike_compute_that_once() -> None:
    """They come together, so the first one's prompt is still being computed when the others begin."""
    run = engine(ready(eos=3.0))
    persona = "i bake bread, cake and rolls."
    requests = [Request(prompt(f"{i} hi", persona=(persona,)), settings_of(seed=i)) for i in range(6)]
    alone = [engine(run.model).best(request).ids for request in requests]
    streams = [run.stream(request) for request in requests]
    together = [finished(list(stream))[0] for stream in streams]
    assert [reply.ids for reply in together] == alone
    shared = 1 + len(persona) + 1
    assert [reply.timings.reused_tokens for reply in together] == [0] + [shared] * 5


def test_a_changed_segment_is_a_change() -> None:
    """The same words at the same places, said by somebody else."""
    run = engine(ready())
    one = build_prompt(BYTES.frame, [], [EncodedTurn(USER, [5, 6])])
    other = build_prompt(BYTES.frame, [], [EncodedTurn(USER, [5, 6])])
    other.segments[2:4] = [BYTES.speaker2_id] * 2
    run.best(Request(one, settings_of()))
    request = Request(other, settings_of())
    assert reused(run, request) == 2
    assert run.best(request).ids == engine(run.model).best(request).ids
