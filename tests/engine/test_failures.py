"""What breaks, breaks for those it concerns: errors in a step, numbers that are none, interruptions."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from convai.core.errors import ConvaiError
from convai.core.settings import EngineConfig
from convai.engine import Engine, EngineError, NotANumber, Request
from convai.engine.backends import InferenceModel
from convai.engine.beam import BeamState
from convai.engine.runner import Runner
from tests.drawing import BYTES, engine, finished, prompt, ready, settings_of

POISON = BYTES.encode("~")[0]
"""A token whose embedding is no number, in the tests below."""


def poisoned() -> Any:
    model = ready(eos=3.0)
    with torch.no_grad():
        model.transformer.wpe.weight[70] = math.nan
    return model


def far(text: str = "x") -> Request:
    """A prompt that reaches the position which is no number."""
    return Request(prompt(text * 60), settings_of())


@pytest.mark.parametrize("beams", [1, 3])
def test_numbers_that_are_none_end_their_request_alone(beams: int) -> None:
    model = poisoned()
    run = Engine(model, BYTES, EngineConfig(slots=8, prefix_mib=0))
    good = [Request(prompt(f"hi {i}"), settings_of(seed=i, max_length=20)) for i in range(3)]
    alone = [engine(ready(eos=3.0)).best(request).ids for request in good]
    assert run.health().status == "ok"
    bad = Request(prompt("x" * 60), settings_of(num_beams=beams))
    streams = [run.stream(request) for request in (good[0], bad, good[1], good[2])]
    with pytest.raises(NotANumber, match="not a finite number; the checkpoint is damaged"):
        list(streams[1])
    for stream, ids in zip((streams[0], streams[2], streams[3]), alone, strict=True):
        assert finished(list(stream))[0].ids == ids
    health = run.health()
    assert health.status == "poisoned"
    assert health.detail.startswith("1 requests ended because the model's output was not a finite number")
    stats = run.stats()
    assert (stats.failed, stats.finished, stats.slots_in_use) == (1, 3, 0)


def test_a_slot_that_held_no_numbers_spoils_nobody() -> None:
    """What it held is masked later, but not-a-number times nothing is still not a number."""
    run = Engine(poisoned(), BYTES, EngineConfig(slots=3, prefix_mib=0))
    for _ in range(4):
        with pytest.raises(NotANumber):
            run.best(far())
    requests = [Request(prompt("hi" * n), settings_of(seed=n, max_length=9)) for n in (1, 9, 3)]
    together = [run.stream(request) for request in requests]
    for stream, request in zip(together, requests, strict=True):
        assert finished(list(stream))[0].ids == engine(ready(eos=3.0)).best(request).ids


def test_a_request_that_breaks_a_step_fails_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ready(eos=3.0)
    forward = InferenceModel.forward

    def fragile(self: InferenceModel, words: torch.Tensor, *rest: Any) -> torch.Tensor:
        if (words == POISON).any():
            raise RuntimeError("a cable was pulled")
        return forward(self, words, *rest)

    monkeypatch.setattr(InferenceModel, "forward", fragile)
    good = [Request(prompt(f"hi {i}"), settings_of(seed=i, max_length=20)) for i in range(3)]
    alone = [engine(model).best(request).ids for request in good]
    run = engine(model)
    running = run.stream(good[0])
    begun = [next(running), next(running)]
    streams = [run.stream(r) for r in (Request(prompt("~"), settings_of()), good[1], good[2])]
    for stream, ids in zip(streams[1:], alone[1:], strict=True):
        assert finished(list(stream))[0].ids == ids
    assert finished([*begun, *running])[0].ids == alone[0]
    with pytest.raises(
        EngineError, match="could not be computed: RuntimeError: a cable was pulled"
    ) as caught:
        list(streams[0])
    assert isinstance(caught.value.__cause__, RuntimeError)
    stats = run.stats()
    assert (stats.failed, stats.finished, stats.slots_in_use) == (1, 3, 0)
    assert run.health().status == "ok"
    monkeypatch.undo()
    assert run.best(Request(prompt("~"), settings_of())).ids


def test_an_engine_with_a_thread_survives_a_broken_step(monkeypatch: pytest.MonkeyPatch) -> None:
    run = engine(ready(eos=3.0)).start()
    with run, monkeypatch.context() as patch:
        patch.setattr(Runner, "compute", lambda *_: 1 / 0)
        for _ in range(2):
            with pytest.raises(EngineError, match="ZeroDivisionError"):
                run.best(Request(prompt("hi"), settings_of()))
        patch.undo()
        assert run.best(Request(prompt("hi"), settings_of())).ids


def test_a_search_that_breaks_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ready(eos=3.0)
    run = engine(model)
    plain = Request(prompt("hi"), settings_of())
    expected = run.best(plain).ids

    def broken(*_: object) -> None:
        raise ConvaiError("no way")

    with monkeypatch.context() as patch:
        patch.setattr(BeamState, "step", broken)
        searching, other = run.stream(Request(prompt("hi"), settings_of(num_beams=2))), run.stream(plain)
        with pytest.raises(ConvaiError, match="no way"):
            list(searching)
        assert finished(list(other))[0].ids == expected
    assert run.stats().slots_in_use == 0


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_step_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
) -> None:
    """Ctrl-C in the middle of a step: some layers hold the new tokens and others do not."""
    model = ready(eos=3.0)
    run = Engine(model, BYTES, EngineConfig(slots=2))
    first = Request(prompt("hi"), settings_of())
    expected = engine(model).best(first)
    run.best(first)
    request = Request(prompt("hi", "hello", "and you?"), settings_of(candidates=2))
    waiting = None

    def interrupted(*_: object) -> None:
        raise interruption

    with monkeypatch.context() as patch:
        patch.setattr(InferenceModel, "forward", interrupted)
        streams = [run.stream(request) for _ in range(2)]
        waiting = streams[1]
        with pytest.raises(interruption):
            list(streams[0])
    with pytest.raises(EngineError, match=f"broken off by {interruption.__name__}"):
        list(streams[0])
    assert [r.ids for r in finished(list(waiting))] == [
        r.ids for r in finished(list(engine(model).stream(request)))
    ]
    again = run.best(first)
    assert again.ids == expected.ids
    assert again.score == pytest.approx(expected.score, abs=1e-5)
    stats = run.stats()
    assert (stats.failed, stats.finished, stats.submitted) == (1, 3, 4)
    assert (stats.slots_in_use, stats.running, stats.waiting) == (0, 0, 0)
