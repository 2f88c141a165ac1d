"""`/v1/chat/completions` with OpenAI's own client; who leaves is in test_stopping.py."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from convai.conversation.session import Session
from convai.core.dialog import Persona
from convai.engine import ModelLimits
from convai.server.api_error import ApiError
from convai.server.completion_request import parse_chat
from convai.server.protocol import Limits
from tests.chatting import tiny_agent
from tests.server.serving import PATIENCE, Running

MESSAGES: Any = [
    {"role": "system", "content": "i am a nurse. i have two dogs."},
    {"role": "user", "content": "hi"},
]


@pytest.fixture
def api(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(api: openai.OpenAI, **more: Any) -> Any:
    return api.chat.completions.create(**{"model": "tiny", "messages": MESSAGES, **more})


def test_a_completion_says_what_the_terminal_says(server: Running, api: openai.OpenAI) -> None:
    agent = server.app.service.agent
    session = Session(agent, agent.engine(), Persona(("i am a nurse.", "i have two dogs.")))
    session.decoding = agent.decoding.__class__(**{**server.app.service.settings(), "seed": 7})  # type: ignore[arg-type]
    completion = ask(api, seed=7)
    (choice,) = completion.choices
    assert choice.message.content == session.answer("hi")
    assert choice.finish_reason in ("stop", "length")
    usage = completion.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens == len("i am a nurse.i have two dogs.hi") + 3
    assert 0 < usage.completion_tokens <= 20


@pytest.mark.parametrize("more", [{}, {"n": 3}, {"stop": ["e", "a"]}, {"candidates": 2}, {"num_beams": 2}])
def test_streamed_is_whole(api: openai.OpenAI, more: dict[str, Any]) -> None:
    own = {name: more[name] for name in ("candidates", "num_beams") if name in more}
    given = {name: value for name, value in more.items() if name not in own}
    whole = ask(api, seed=3, extra_body=own, **given)
    texts = {choice.index: "" for choice in whole.choices}
    ends: dict[int, str] = {}
    chunks: list[ChatCompletionChunk] = list(
        ask(api, seed=3, stream=True, stream_options={"include_usage": True}, extra_body=own, **given)
    )
    for chunk in chunks[:-1]:
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        if choice.finish_reason:
            assert choice.index not in ends
            ends[choice.index] = choice.finish_reason
    assert texts == {choice.index: choice.message.content for choice in whole.choices}
    assert ends == {choice.index: choice.finish_reason for choice in whole.choices}
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    if "stop" not in more:  # where a stop text ends a reply, a token more or less may be under way
        assert chunks[-1].usage == whole.usage
    for text in texts.values():
        assert not any(stop in text for stop in more.get("stop", []))


@pytest.mark.computes
def test_log_probabilities_are_the_models_own(api: openai.OpenAI) -> None:
    completion = ask(api, seed=1, logprobs=True, top_logprobs=4)
    content = completion.choices[0].logprobs.content
    assert "".join(entry.token for entry in content) == completion.choices[0].message.content
    for entry in content:
        best = [other.logprob for other in entry.top_logprobs]
        assert len(best) == 4
        assert best == sorted(best, reverse=True)
        assert entry.logprob <= 0


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 0}, "n"),
        ({"n": 10_000}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 0.5}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"extra_body": {"n_predict": 0}}, "n_predict"),
        ({"extra_body": {"min_tokens": 30}, "max_tokens": 20}, "min_tokens"),
        ({"extra_body": {"candidates": 1000}}, "candidates"),
        ({"extra_body": {"num_beams": 2}, "n": 2}, "n"),
        ({"extra_body": {"max_length": 5}}, "max_length"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 7}, "top_p"),
        ({"stop": ["a"] * 33}, "stop"),
        ({"stop": ["x" * 101]}, "stop"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 99}, "top_logprobs"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x" * 5000}]}, "messages"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [*MESSAGES, {"role": "assistant", "content": "i"}], "n": 2}, "n"),
        ({"messages": [{"role": "user", "content": "x" * 900}]}, "messages"),
        ({"frequency_penalty": 2.5}, "frequency_penalty"),
        ({"extra_body": {"temprature": 1}}, "temprature"),
        ({"extra_body": {"repeat_penalty": -1}}, "repeat_penalty"),
        ({"extra_body": {"mirostat": 2}}, "mirostat"),
        ({"extra_body": {"seed": "x"}}, "seed"),
        ({"extra_body": {"stream": 1}}, "stream"),
    ],
)
def test_what_is_out_of_range_is_named(api: openai.OpenAI, more: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(api, **more)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("value", [0, -3, 0.5])
def test_fewer_than_one_token_are_no_reply(value: float) -> None:
    """More than are given is shortened, so the message names no most that is refused above it."""
    agent = tiny_agent()
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "n_predict": value, "min_tokens": 3})
    limits = ModelLimits(positions=400, vocabulary=agent.tokenizer.vocab_size, slots=4)
    with pytest.raises(ApiError) as caught:
        parse_chat(body.encode(), agent, limits, Limits())
    assert str(caught.value) == (
        "n_predict: use a whole number of 1 or more (at most 512 tokens are given), or -1 for that many"
    )
    assert caught.value.code == "integer_below_min_value"
    body = body.replace(f'"n_predict": {value}', '"max_completion_tokens": 2')
    with pytest.raises(ApiError, match=r"^min_tokens=3: use 0 to max_completion_tokens \(2\)$"):
        parse_chat(body.encode(), agent, limits, Limits())


def test_another_model_is_not_found(api: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(api, model="gpt-5")
    assert caught.value.code == "model_not_found"
    first, *characters = [model.id for model in api.models.list()]
    assert first == "tiny"
    assert all(name.startswith("tiny/") for name in characters)
    assert api.models.retrieve("tiny").owned_by == "convai"
    with pytest.raises(openai.NotFoundError):
        api.models.retrieve("other")


@pytest.mark.parametrize("body", [b"", b"[1]", b"\xff", b"{", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(server: Running, body: bytes) -> None:
    answer = httpx2.post(f"{server.url}/v1/chat/completions", content=body, timeout=PATIENCE)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_packed_body_is_refused_as_that(server: Running) -> None:
    packed = gzip.compress(json.dumps({"messages": MESSAGES}).encode())
    headers = {"content-encoding": "gzip"}
    url = f"{server.url}/v1/chat/completions"
    answer = httpx2.post(url, content=packed, headers=headers, timeout=PATIENCE)
    assert answer.status_code == 415
    assert answer.json()["error"]["message"] == (
        "a body in the encoding 'gzip' is not read; send it as it is"
    )


def test_too_large_a_body_and_another_method_are_refused(server: Running) -> None:
    url = f"{server.url}/v1/chat/completions"
    assert httpx2.post(url, content=b" " * 1_048_577, timeout=PATIENCE).status_code == 413
    assert httpx2.get(url, timeout=PATIENCE).status_code == 405
