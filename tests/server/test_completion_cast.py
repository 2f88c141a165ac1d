"""Completions know the caller's characters: by name, by model, greeting first; and who the caller is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from tests.server.serving import Running
from tests.server.test_characters import imported
from tests.text.cards.test_character import CARD

HI: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture
def api(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(api: openai.OpenAI, model: str = "tiny", messages: Any = HI, **more: Any) -> Any:
    return api.chat.completions.create(model=model, messages=messages, seed=7, extra_body=more)


def said(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def test_a_character_is_named_in_a_field_or_behind_the_model(server: Running, api: openai.OpenAI) -> None:
    id = imported(server, {"name": "Zoe", "description": "Zoe is a baker.", "first_mes": "Bread?"})
    by_name = ask(api, character="zoe")
    assert said(by_name) == said(ask(api, character=id)) == said(ask(api, "tiny/Zoe"))
    plain = ask(api)
    assert by_name.usage.prompt_tokens > plain.usage.prompt_tokens
    names = [model.id for model in api.models.list().data]
    assert names[0] == "tiny"
    assert "tiny/Zoe" in names
    assert api.models.retrieve("tiny/Zoe").id == "tiny/Zoe"
    listed = httpx2.get(f"{server.url}/v1/characters").json()["data"]
    assert {"id": id, "name": "Zoe", "greetings": ["Bread?"], "object": "character"}.items() <= next(
        one for one in listed if one["id"] == id
    ).items()
    httpx2.delete(f"{server.url}/api/characters/{id}")
    for model, more in (("tiny/Zoe", {}), ("tiny", {"character": "Zoe"})):
        with pytest.raises(openai.NotFoundError, match="there is no character 'Zoe'"):
            ask(api, model, **more)


def test_without_messages_it_greets_and_nothing_is_drawn(server: Running, api: openai.OpenAI) -> None:
    imported(server)
    first = ask(api, messages=[], character="annie", user_name="Bob")
    assert said(first) == "Morning, Bob!"
    assert first.usage.total_tokens == 0
    streamed = api.chat.completions.create(
        model="tiny/Annie", messages=[], stream=True, stream_options={"include_usage": True}
    )
    chunks = list(streamed)
    assert "".join(one.choices[0].delta.content or "" for one in chunks[:-1]) == "Morning!"
    assert chunks[-2].choices[0].finish_reason == "stop"
    other = CARD["data"]["alternate_greetings"][0]
    assert said(ask(api, messages=[], character="Annie", greeting=1, user_name="Bob")) == other.replace(
        "{{user}}", "Bob"
    )
    for more in ({"greeting": 9}, {"greeting": True}, {"greeting": -1}):
        with pytest.raises(openai.BadRequestError, match="greeting"):
            ask(api, character="Annie", **more)


def test_a_greeting_stands_before_the_messages(server: Running, api: openai.OpenAI) -> None:
    imported(server)
    greeted = ask(api, character="Annie", greeting=0, user_name="Bob")
    told = [{"role": "assistant", "content": "Morning, Bob!"}, *HI]
    assert said(greeted) == said(ask(api, messages=told, character="Annie", user_name="Bob"))
    again = ask(api, messages=told, character="Annie", user_name="Bob", greeting=0)
    assert again.usage.prompt_tokens == greeted.usage.prompt_tokens
    own = ask(api, character="Annie", greeting="Morning, Bob!", user_name="Bob")
    assert said(own) == said(greeted)


def test_what_the_system_says_stands_beside_the_character(server: Running, api: openai.OpenAI) -> None:
    imported(server)
    system = [{"role": "system", "content": "It rains."}, *HI]
    alone, with_it = ask(api, character="Annie"), ask(api, messages=system, character="Annie")
    assert with_it.usage.prompt_tokens - alone.usage.prompt_tokens >= len("It rains.")


def test_who_the_caller_is_is_kept_chosen_changed_and_deleted(server: Running, api: openai.OpenAI) -> None:
    address = f"{server.url}/api/you"
    bob = {"name": "Bob", "sentences": ["i am a smith."]}
    made = httpx2.post(address, json=bob)
    assert made.status_code == 201
    id = made.json()["id"]
    assert httpx2.get(address).json()["you"] == [{"id": id, **bob}]
    kept = ask(api, you="bob")
    assert said(kept) == said(ask(api, you=id)) == said(ask(api, user_name="Bob", user_bio="i am a smith."))
    assert kept.usage.prompt_tokens > ask(api).usage.prompt_tokens
    changed = httpx2.put(f"{address}/{id}", json={"name": "Rob"})
    assert changed.json() == {"id": id, "name": "Rob", "sentences": []}
    with pytest.raises(openai.NotFoundError, match="there is no you 'Bob'"):
        ask(api, you="Bob")
    assert httpx2.delete(f"{address}/{id}").status_code == 200
    assert httpx2.put(f"{address}/{id}", json=bob).status_code == 404
    assert httpx2.get(address).json() == {"you": []}


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"name": 7}', b'{"name": "x", "y": 1}', b'{"sentences": [3]}', b'{"name": " "}'],
)
def test_nobody_in_particular_is_refused_in_a_line(server: Running, body: bytes) -> None:
    answer = httpx2.post(f"{server.url}/api/you", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "\n" not in json.dumps(answer.json()["error"]["message"], ensure_ascii=False)


def test_who_is_asked_for_is_checked(api: openai.OpenAI) -> None:
    for more in ({"character": 7}, {"you": []}, {"user_bio": "x" * 20_000}):
        with pytest.raises(openai.BadRequestError, match="use a text"):
            ask(api, **more)
    with pytest.raises(openai.BadRequestError, match="messages"):
        ask(api, messages=[])
