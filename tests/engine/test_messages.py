"""What goes to an engine and comes from one: the same after a pipe, and after JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.errors import SettingsError
from convai.core.settings import DecodingConfig
from convai.engine import Begun, EngineClosed, EngineError, EngineLost, NotANumber, Overloaded
from convai.engine.messages import (
    Failure,
    Finished,
    Health,
    Message,
    ModelLimits,
    Request,
    Stats,
    Timings,
    Token,
    from_json,
    to_json,
)
from convai.text.segments import Prompt

numbers = st.integers(0, 2**40)
floats = st.floats(allow_nan=False)  # a number that is none is tested below: it equals nothing
ids = st.lists(st.integers(0, 60_000), max_size=5)
prompts = st.builds(Prompt, ids, ids, ids, st.lists(st.integers(-1, 9), max_size=5), numbers, numbers)
decoding = st.builds(
    DecodingConfig, temperature=st.floats(0, 2), top_p=st.floats(0.1, 1), seed=st.none() | st.integers()
)
EXAMPLES: dict[type[Any], st.SearchStrategy[Any]] = {
    ModelLimits: st.builds(ModelLimits, positions=numbers, vocabulary=numbers, slots=numbers, name=st.text()),
    Request: st.builds(
        Request,
        prompts,
        decoding,
        st.lists(ids, max_size=2),
        numbers,
        st.none() | st.floats(0),
        st.just(0),
        st.just(()) | st.tuples(st.builds(Begun, st.just(0), ids.map(tuple), floats, st.booleans())),
        st.text(),
        st.text(),
    )
    | st.builds(Request, prompts, decoding, st.lists(ids, max_size=2), first_candidate=numbers),
    Token: st.builds(
        Token,
        numbers,
        numbers,
        st.text(),
        floats,
        st.lists(st.tuples(st.text(), floats), max_size=3).map(tuple),
    ),
    Finished: st.builds(
        Finished,
        numbers,
        ids.map(tuple),
        st.text(),
        floats,
        floats,
        st.sampled_from(["stop", "length", "deadline"]),
        st.builds(Timings, floats, floats, floats, numbers, numbers, numbers),
    ),
    Stats: st.builds(Stats, **{field.name: numbers for field in dataclasses.fields(Stats)}),
    Health: st.builds(Health, st.sampled_from(["ok", "poisoned", "closed", "lost", "draining"]), st.text()),
    Failure: st.builds(Failure, st.sampled_from(["overloaded", "engine", "lost"]), st.text(), floats),
}


def test_every_message_has_examples_here() -> None:
    assert set(EXAMPLES) == set(get_args(Message))


@pytest.mark.parametrize("kind", EXAMPLES)
@given(data=st.data())
def test_a_message_arrives_as_it_was_sent(kind: type[Message], data: st.DataObject) -> None:
    message = data.draw(EXAMPLES[kind])
    assert pickle.loads(pickle.dumps(message)) == message  # noqa: S301
    text = json.dumps(to_json(message), allow_nan=False)
    again = from_json(json.loads(text))
    assert again == message
    if isinstance(message, Finished):
        assert isinstance(again, Finished)
        assert again.timings == message.timings  # no part of their being equal
    assert type(again) is type(message)


def test_numbers_that_json_has_not_arrive_too() -> None:
    text = json.dumps(to_json(Finished(0, (), "", -math.inf, -math.inf, "stop")), allow_nan=False)
    again = from_json(json.loads(text))
    assert isinstance(again, Finished)
    assert again.score == -math.inf
    assert math.isnan(again.timings.queued)


@pytest.mark.parametrize(
    "error",
    [
        Overloaded(3, 7.5),
        EngineClosed(),
        EngineLost("gone"),
        NotANumber("a logit"),
        SettingsError("no room"),
        EngineError("x"),
    ],
)
def test_an_error_arrives_as_what_it_was(error: Any) -> None:
    again = from_json(json.loads(json.dumps(to_json(Failure.of(error)))))
    assert isinstance(again, Failure)
    made = again.error()
    assert (type(made), str(made)) == (type(error), str(error))
    assert getattr(made, "retry_after", None) == getattr(error, "retry_after", None)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({}, "no message of the type None"),
        ({"type": "nonsuch"}, "no message of the type 'nonsuch'"),
        ({"type": "token", "candidate": 0}, "token: Object missing required field"),
        ({"type": "health", "status": "fine"}, "health: Invalid enum value 'fine'"),
    ],
)
def test_what_is_no_message_is_one_line(value: dict[str, Any], says: str) -> None:
    with pytest.raises(EngineError) as caught:
        from_json(value)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
