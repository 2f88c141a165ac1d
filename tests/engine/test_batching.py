"""Many requests at once: each is what it is alone, whoever comes, goes or breaks beside it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convai.core.errors import SettingsError
from convai.core.settings import DecodingConfig, EngineConfig
from convai.engine import Engine, Event, Finished, Overloaded, Request, Stream
from convai.model.shape import Family
from tests.drawing import BYTES, engine, finished, prompt, ready, settings_of
from tests.tiny import FAMILIES

ALL_KINDS = (
    settings_of(),
    settings_of(temperature=0.0),
    settings_of(temperature=0.7, top_p=0.9),
    settings_of(temperature=0.7, top_p=0.9, candidates=3),
    settings_of(num_beams=3, max_length=9),
    settings_of(top_k=5, repetition_penalty=1.3),
    settings_of(typical_p=0.5, min_p=0.02, min_length=4),
    settings_of(max_length=1, candidates=2),
    settings_of(num_beams=2, max_length=1),
    settings_of(top_p=0.9, dry_multiplier=2.0, dry_allowed_length=1, frequency_penalty=0.5, candidates=2),
    settings_of(xtc_probability=0.5, xtc_threshold=0.01, dynatemp_high=1.5, top_n_sigma=2.0),
    settings_of(num_beams=2, dry_multiplier=2.0, presence_penalty=1.0, logit_bias='"a": 2'),
)
TEXTS = ("hi", "what do you do?", "a" * 40, "tell me about the sea, please.", "hi")


def asked(kind: int, text: int, seed: int) -> Request:
    config = replace(ALL_KINDS[kind], seed=seed)
    return Request(prompt(TEXTS[text]), config, own_turns=[BYTES.encode("you too?")], alternatives=kind % 2)


def told(events: Sequence[Event]) -> list[tuple[int, tuple[int, ...], str, str]]:
    return [(e.candidate, e.ids, e.text, e.reason) for e in finished(events)]


requests = st.builds(
    asked, st.integers(0, len(ALL_KINDS) - 1), st.integers(0, len(TEXTS) - 1), st.integers(0, 3)
)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("config", [EngineConfig(), EngineConfig(slots=5, prefix_mib=0, step_tokens=7)])
@settings(max_examples=10)
@given(
    together=st.lists(requests, min_size=2, max_size=7),
    order=st.randoms(use_true_random=False),
    leave=st.integers(0, 6),
    when=st.integers(0, 12),
)
def test_each_is_what_it_is_alone(
    family: Family, config: EngineConfig, together: list[Request], order: object, leave: int, when: int
) -> None:
    """They are begun and read in turn, at random, and one of them leaves in the middle."""
    model = ready(family, eos=3.0)
    fresh = engine(model)
    alone = [told(list(fresh.stream(request))) for request in together]
    run = Engine(model, BYTES, config)
    left: list[tuple[Stream, list[Event], int]] = []
    coming = list(enumerate(together))
    for turn in itertools.count():
        if not coming and not left:
            break
        choice = order.randrange(len(left) + bool(coming))  # type: ignore[attr-defined]
        if choice == len(left):
            number, request = coming.pop(0)
            left.append((run.stream(request), [], number))
            continue
        stream, events, number = left[choice]
        if turn >= when and number == leave:
            stream.close()
            left.pop(choice)
            continue
        event = next(stream, None)
        if event is not None:
            events.append(event)
            continue
        assert told(events) == alone[number]
        left.pop(choice)
    stats = run.stats()
    assert (stats.waiting, stats.running, stats.slots_in_use) == (0, 0, 0)
    assert stats.submitted == stats.finished + stats.cancelled == len(together)
    assert stats.failed == stats.expired == stats.refused == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_of_one_prompt_are_requests_with_the_same_seeds(family: Family) -> None:
    model = ready(family, eos=3.0)
    config = settings_of(candidates=6, temperature=0.7, top_p=0.9)
    many = Request(prompt("what do you do?"), config)
    replies = finished(list(engine(model).stream(many)))
    one = replace(config, candidates=1)
    run = engine(model)
    streams = [run.stream(Request(many.prompt, one, first_candidate=i)) for i in range(6)]
    singles = [event for stream in streams for event in finished(list(stream))]
    assert told(singles) == told(replies)
    assert len({reply.ids for reply in replies}) == 6
    computed = engine(model)
    list(computed.stream(many))
    drawn = sum(reply.timings.tokens + (reply.reason == "length") for reply in replies)
    assert computed.stats().tokens_computed == len(many.prompt) + drawn, "the prompt was computed once"


def test_a_step_takes_everything_that_runs() -> None:
    run = engine(ready())
    config = settings_of(min_length=10, max_length=10)
    streams = [run.stream(Request(prompt("hi"), replace(config, seed=i))) for i in range(8)]
    for stream in streams:
        list(stream)
    # the first reads the prompt, the others wait for what it shares; then all go together
    assert run.stats().steps == 1 + 1 + 10


def test_replies_go_on_while_a_long_prompt_is_read() -> None:
    run = Engine(ready(n_positions=400), BYTES, EngineConfig(step_tokens=16))
    running = run.stream(Request(prompt("hi"), settings_of(min_length=40, max_length=40)))
    next(running)
    before = run.stats().steps
    long = run.stream(Request(prompt("x" * 300, persona=()), settings_of()))
    for _ in range(8):
        next(running)
    assert before + 15 <= run.stats().steps <= before + 16, "a token in every second step"
    assert run.stats().running == 2
    assert run.stats().tokens_drawn == 9, "the long prompt is not through yet"
    next(long)
    assert run.stats().steps == before + 20, "303 tokens, 16 and 15 by turns"
    running.close()
    long.close()
    assert run.stats().slots_in_use == 0


def test_map_answers_in_order_and_many_at_once() -> None:
    model = ready(eos=3.0)
    requests = [Request(prompt(f"number {i}"), settings_of(seed=i, candidates=1 + i % 3)) for i in range(30)]
    alone = [engine(model).best(request).ids for request in requests[:6]]
    run = Engine(model, BYTES, EngineConfig(slots=8, queue=16))
    replies = list(run.map(requests))
    assert [reply.ids for reply in replies[:6]] == alone
    assert len(replies) == 30
    assert run.stats().steps < 30 * 20
    some = run.map(requests)
    next(some)
    some.close()  # type: ignore[attr-defined]
    stats = run.stats()
    assert (stats.running, stats.waiting) == (0, 0)
    assert stats.cancelled > 0


def test_a_full_queue_refuses_at_once() -> None:
    now = [0.0]
    run = Engine(ready(), BYTES, EngineConfig(slots=1, queue=2), clock=lambda: now[0])
    config = settings_of(max_length=3, min_length=3)
    request = Request(prompt("hi"), config)
    first = run.stream(request)
    next(first)
    waiting = [run.stream(request) for _ in range(2)]
    with pytest.raises(Overloaded, match=r"^2 requests are waiting already; try again in 1 seconds$"):
        run.stream(request)
    assert run.stats().refused == 1
    with pytest.raises(Overloaded):
        next(run.map([request]))
    waiting[0].close()
    run.stream(request).close()
    for stream in (first, waiting[1]):
        now[0] += 5
        list(stream)
    full = [run.stream(request) for _ in range(2)]
    with pytest.raises(Overloaded) as caught:
        run.stream(request)
    assert caught.value.retry_after == pytest.approx(10.0), "two wait, one is through every five seconds"
    for stream in full:
        stream.close()
    stats = run.stats()
    assert stats.submitted == stats.finished + stats.cancelled == 6
    assert stats.refused == 3


def test_more_replies_than_slots_are_refused() -> None:
    run = Engine(ready(), BYTES, EngineConfig(slots=2))
    for config in (settings_of(candidates=3), settings_of(num_beams=3)):
        with pytest.raises(SettingsError, match=r"^3 replies at once are asked for, the engine has 2 slots"):
            run.stream(Request(prompt("hi"), config))
    assert run.stats().submitted == 0


def test_deadlines() -> None:
    """In the middle of a reply, of a beam search, of a prompt, and in the queue."""
    now = [0.0]
    model = ready(n_positions=400)
    run = Engine(model, BYTES, EngineConfig(slots=7, step_tokens=64, deadline=100.0), clock=lambda: now[0])
    config = settings_of(min_length=30, max_length=30)
    speaking = run.stream(Request(prompt("hi"), replace(config, candidates=2), deadline=5.0))
    searching = run.stream(Request(prompt("hi"), replace(config, num_beams=3), deadline=5.0))
    heard = [next(speaking) for _ in range(6)]
    reading = run.stream(Request(prompt("x" * 300, persona=()), config, deadline=5.0))
    held = run.stream(Request(prompt("hi"), config))
    heard += [next(speaking) for _ in range(2)]
    queued = run.stream(Request(prompt("hi"), replace(config, candidates=2), deadline=5.0))
    now[0] = 5.0
    replies = [finished([*heard, *speaking]), *(finished(list(s)) for s in (searching, reading, queued))]
    assert [[(r.candidate, r.reason) for r in some] for some in replies] == [
        [(0, "deadline"), (1, "deadline")],
        [(0, "deadline")],
        [(0, "deadline")],
        [(0, "deadline"), (1, "deadline")],
    ]
    whole = finished(list(engine(model).stream(Request(prompt("hi"), replace(config, candidates=2)))))
    for reply, complete in zip(replies[0], whole, strict=True):
        assert 0 < len(reply.ids) < 30
        assert reply.ids == complete.ids[: len(reply.ids)], "it is the begin of the whole reply"
        assert reply.score > -1e9
    assert replies[1][0].ids
    assert [(r.ids, r.text, r.score) for r in replies[2] + replies[3]] == [((), "", float("-inf"))] * 3
    (alone,) = finished(list(held))
    assert alone.reason == "length"
    stats = run.stats()
    assert (stats.expired, stats.finished, stats.slots_in_use) == (4, 1, 0)


def test_timings_are_on_the_engine_s_clock() -> None:
    now = [10.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    run = Engine(ready(), BYTES, EngineConfig(slots=1), clock=clock)
    config = settings_of(min_length=4, max_length=4)
    first, second = (run.stream(Request(prompt("hi"), config)) for _ in range(2))
    one, two = finished(list(first))[0].timings, finished(list(second))[0].timings
    # two readings of the clock a step: when it is planned and when it is done
    assert (one.queued, one.first_token, one.total) == (2.0, 3.0, 11.0)
    assert (one.tokens, one.prompt_tokens, one.reused_tokens) == (4, len(prompt("hi")), 0)
    assert two.queued == 11.0
    assert two.reused_tokens == len(prompt("hi")) - 1


@pytest.mark.parametrize(
    "change", [{"slots": 0}, {"queue": 0}, {"step_tokens": 0}, {"prefix_mib": -1}, {"deadline": 0.0}]
)
def test_settings_out_of_range_are_named(change: dict[str, float]) -> None:
    (name,) = change
    with pytest.raises(SettingsError, match=f"^{name}="):
        EngineConfig(**change)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"^deadline=-1"):
        Request(prompt("hi"), deadline=-1.0)
    with pytest.raises(SettingsError, match=r"^alternatives=-1"):
        Request(prompt("hi"), DecodingConfig(), alternatives=-1)
    assert isinstance(engine(ready()).best(Request(prompt("hi"), settings_of(max_length=1))), Finished)
