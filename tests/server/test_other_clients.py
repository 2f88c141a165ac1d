"""What clients made for OpenAI and for other servers send: it is taken where its meaning is clear."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from convai.conversation.conversation import Place
from convai.conversation.reply import Reply
from convai.core.dialog import AGENT, USER, Persona, Turn
from convai.server.dialects import in_own_words
from tests.server.serving import PATIENCE, Running

HI: Any = {"role": "user", "content": "hi"}
NURSE: Any = {"role": "system", "content": "i am a nurse. i have two dogs."}


@pytest.fixture
def api(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(api: openai.OpenAI, *messages: Any, **more: Any) -> Any:
    return api.chat.completions.create(**{"model": "tiny", "messages": list(messages), "seed": 5, **more})


def said(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def drawn(server: Running, *turns: Turn, persona: str = "", begun: str = "", seed: int = 5) -> str:
    """What the engine says there, asked without a server."""
    agent = server.app.service.agent
    place = Place.after(turns).onward(begun)
    reply = Reply(
        agent, Persona.parse(persona), place, agent.decoding, seed=seed, max_history=agent.max_history
    )
    with agent.engine() as engine:
        for request in reply.requests():
            for event in engine.stream(request):
                reply.take(event)
    assert reply.chosen is not None
    return reply.finished[reply.chosen].text


# -- messages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("type", ["text", "input_text", "output_text"])
def test_parts_hold_text_by_several_names(api: openai.OpenAI, type: str) -> None:
    parts = {"role": "user", "content": [{"type": type, "text": "hi"}]}
    assert said(ask(api, NURSE, parts)) == said(ask(api, NURSE, HI))


@pytest.mark.parametrize("nothing", ["", None, " \n", [], "\u0000\u001b"])
@pytest.mark.parametrize("role", ["assistant", "user", "system"])
def test_an_earlier_message_without_words_is_left_out(api: openai.OpenAI, role: str, nothing: Any) -> None:
    empty = {"role": role, "content": nothing}
    answer = ask(api, NURSE, HI, empty, {"role": "user", "content": "how are you?"})
    assert said(answer) == said(ask(api, NURSE, HI, {"role": "user", "content": "how are you?"}))


def test_what_a_stop_text_cut_at_once_can_be_sent_back(api: openai.OpenAI) -> None:
    whole = said(ask(api, NURSE, HI))
    cut = ask(api, NURSE, HI, stop=[whole[0]])
    assert cut.choices[0].message.content == ""
    back = cut.choices[0].message.model_dump(exclude_none=True)
    assert said(ask(api, NURSE, HI, back, {"role": "user", "content": "go on"}))


@pytest.mark.parametrize("count", [401, 2001])
def test_a_long_chat_goes_on(api: openai.OpenAI, count: int) -> None:
    chat = [{"role": "assistant" if i % 2 else "user", "content": f"number {i}"} for i in range(count)]
    answer = ask(api, NURSE, *chat)
    assert said(answer)
    assert answer.usage.prompt_tokens == ask(api, NURSE, *chat[-401:]).usage.prompt_tokens


@pytest.mark.parametrize("long", ["word " * 1_000, "x" * 4_001, "word " * 40_000])
def test_an_old_message_that_no_window_holds_is_left_out(api: openai.OpenAI, long: str) -> None:
    old = {"role": "user", "content": long}
    last = [{"role": "assistant", "content": "oh."}, {"role": "user", "content": "well?"}]
    answer = ask(api, NURSE, old, *last)
    assert answer.usage.prompt_tokens == ask(api, NURSE, *last[1:]).usage.prompt_tokens


CALL = {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
CALLED: list[Any] = [
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "12:00"},
]


def test_what_another_models_tools_said_before_is_left_out(server: Running, api: openai.OpenAI) -> None:
    then = [{"role": "assistant", "content": "noon."}, {"role": "user", "content": "so?"}]
    assert said(ask(api, NURSE, HI, *CALLED, *then)) == said(ask(api, NURSE, HI, *then))
    with pytest.raises(openai.BadRequestError) as caught:
        ask(api, NURSE, HI, *CALLED)
    assert caught.value.param == "messages[3].role"
    assert "tools are not supported here; ask in words" in str(caught.value)


PICTURE: dict[str, Any] = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
LATER: list[Any] = [{"role": "assistant", "content": "a dog."}, {"role": "user", "content": "so?"}]


@pytest.mark.parametrize(
    "part",
    [PICTURE, {"type": "input_audio", "input_audio": {}}, {"type": "file", "file": {}}],
    ids=["picture", "recording", "file"],
)
def test_a_chat_goes_on_behind_a_picture_that_another_model_saw(api: openai.OpenAI, part: Any) -> None:
    seen = {"role": "user", "content": [{"type": "text", "text": "hi"}, part]}
    assert said(ask(api, NURSE, seen, *LATER)) == said(ask(api, NURSE, HI, *LATER))
    alone = {"role": "user", "content": [part]}
    assert said(ask(api, NURSE, alone, *LATER)) == said(ask(api, NURSE, *LATER))
    with pytest.raises(openai.BadRequestError) as caught:
        ask(api, NURSE, HI, LATER[0], seen)
    assert caught.value.param == "messages[3].content"
    assert "use text, or parts of the type text" in str(caught.value)


TOOL: Any = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}


def test_tools_are_refused_unless_they_may_not_be_called(api: openai.OpenAI) -> None:
    plain = said(ask(api, NURSE, HI))
    off: list[dict[str, Any]] = [
        {"tools": [TOOL], "tool_choice": "none"},
        {"functions": [TOOL["function"]], "function_call": "none"},
    ]
    for given in off:
        assert said(ask(api, NURSE, HI, extra_body=given)) == plain
    on: list[dict[str, Any]] = [
        {"tools": [TOOL]},
        {"tools": [TOOL], "tool_choice": "auto"},
        {"tools": [TOOL], "tool_choice": "required"},
        {"functions": [TOOL["function"]]},
    ]
    for given in on:
        with pytest.raises(openai.BadRequestError) as caught:
            ask(api, NURSE, HI, extra_body=given)
        assert caught.value.param == next(iter(given))
        assert caught.value.code == "unsupported_parameter"


def test_what_is_null_asks_for_nothing(api: openai.OpenAI) -> None:
    nulls = dict.fromkeys(("guided_json", "chat_template", "mm_processor_kwargs", "best_of", "whatever"))
    assert said(ask(api, NURSE, HI, extra_body=nulls)) == said(ask(api, NURSE, HI))


@pytest.mark.parametrize("named", [{}, {"model": None}, {"model": ""}])
def test_who_names_no_model_means_the_one_here(
    server: Running, api: openai.OpenAI, named: dict[str, Any]
) -> None:
    body = {"messages": [NURSE, HI], "seed": 5, **named}
    answer = httpx2.post(f"{server.url}/v1/chat/completions", json=body, timeout=PATIENCE).json()
    assert answer["model"] == "tiny"
    assert answer["choices"][0]["message"]["content"] == said(ask(api, NURSE, HI))


LLAMACPPS_PAGE: dict[str, Any] = {
    "cache_prompt": True, "samplers": "edkypmxt", "dynatemp_range": 0, "dynatemp_exponent": 1, "typical_p": 1,
    "typ_p": 1, "xtc_probability": 0, "repeat_last_n": 64, "repeat_penalty": 1, "dry_multiplier": 0,
    "dry_penalty_last_n": -1, "max_tokens": -1, "timings_per_token": False, "reasoning_format": "auto",
    "backend_sampling": False, "return_progress": True, "lora": [], "response_fields": [],
    "chat_template_kwargs": {"enable_thinking": False},
}  # fmt: skip
TEXT_FRONT_END: dict[str, Any] = {
    "max_new_tokens": 20, "sampler_seed": 5, "skew": 0, "include_reasoning": True, "speculative_ngram": False,
    "adaptive_target": -0.01, "adaptive_decay": 0.9, "rep_pen_slope": 1, "rep_pen_decay": 0,
    "can_abort": True, "api_server": "http://127.0.0.1:5001", "api_type": "koboldcpp", "trim_stop": True,
    "banned_tokens": "",
}  # fmt: skip


@pytest.mark.parametrize("body", [LLAMACPPS_PAGE, TEXT_FRONT_END], ids=["page", "text"])
def test_what_front_ends_send_switched_off_changes_nothing(
    server: Running, api: openai.OpenAI, body: dict[str, Any]
) -> None:
    plain = {
        "messages": [NURSE, HI],
        "seed": 5,
        "max_tokens": body.get("max_tokens", 20),
        "repeat_last_n": 64,
    }
    plain = plain if "repeat_last_n" in body else {**plain, "repeat_last_n": -1}
    asked = {"repeat_last_n": plain["repeat_last_n"], "messages": [NURSE, HI], "seed": 5, **body}
    if "sampler_seed" in body:
        del asked["seed"]
    texts = []
    for one in (plain, asked):
        answer = httpx2.post(f"{server.url}/v1/chat/completions", json=one, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        texts.append(answer.json()["choices"][0]["message"]["content"])
    assert texts[0] == texts[1]


def test_stop_texts_have_another_name(server: Running, api: openai.OpenAI) -> None:
    whole = said(ask(api, NURSE, HI))
    body = {"messages": [NURSE, HI], "seed": 5, "stopping_strings": [whole[2]]}
    answer = httpx2.post(f"{server.url}/v1/chat/completions", json=body, timeout=PATIENCE).json()
    assert answer["choices"][0]["message"]["content"] == whole[: whole.index(whole[2])]


def test_control_characters_are_dropped(api: openai.OpenAI) -> None:
    coloured = {"role": "user", "content": "\u001b[31mhi\u001b[0m\u0000\u200b"}
    assert said(ask(api, coloured)) == said(ask(api, {"role": "user", "content": "[31mhi[0m\u200b"}))


# -- how long ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [4096, 10**30, -1, -2, 512.0])
def test_more_tokens_than_there_are_is_as_many_as_there_are(api: openai.OpenAI, asked: Any) -> None:
    answer = ask(api, NURSE, HI, extra_body={"max_tokens": asked})
    assert said(answer) == said(ask(api, NURSE, HI, max_tokens=512))
    assert said(ask(api, NURSE, HI, extra_body={"max_completion_tokens": asked})) == said(answer)


def test_a_long_persona_leaves_a_shorter_reply(api: openai.OpenAI, server: Running) -> None:
    sentences = [f"i have {n} dogs and a cat." for n in range(14)]
    persona = {"role": "system", "content": "\n".join(sentences)}
    answer = ask(api, persona, HI, max_tokens=300)
    assert answer.usage.prompt_tokens == sum(map(len, sentences)) + len("hi") + 3
    assert answer.usage.completion_tokens > 0
    assert answer.usage.total_tokens <= server.app.service.agent.model.config.n_positions
    with pytest.raises(openai.BadRequestError) as caught:
        ask(api, {"role": "system", "content": "i have a dog.\n" * 40}, HI, max_tokens=1)
    assert caught.value.code == "context_length_exceeded"


# -- parameters ----------------------------------------------------------------------------------------

OFF: dict[str, Any] = {
    "repeat_penalty": 1, "repeat_last_n": 64, "frequency_penalty": 0, "presence_penalty": 0.0, "top_k": -1,
    "top_p": 1, "min_p": 0, "typical_p": 1, "typical": 1.0, "tfs_z": 1, "mirostat": 0, "mirostat_tau": 5.0,
    "xtc_probability": 0, "dry_multiplier": 0, "dry_sequence_breakers": ["\n"], "dynatemp_range": 0,
    "ignore_eos": False, "cache_prompt": True, "n_probs": 0, "grammar": "", "logit_bias": [], "tools": [],
    "tool_choice": "auto", "samplers": ["top_k"], "do_sample": True, "guidance_scale": 1, "think": False,
    "negative_prompt": "", "reasoning_effort": "low", "stop": [None, ""], "user": "me",
    "no_repeat_ngram_size": 3,
    "nsigma": -1, "adaptive_target": -1, "verbosity": "low", "reasoning": {"exclude": True}, "plugins": [],
    "include_reasoning": False, "provider": {"order": []}, "transforms": ["middle-out"], "route": "fallback",
    "num_batch": 512, "num_gpu": 99, "num_thread": 8, "num_keep": 24, "use_mmap": True, "use_mlock": False,
    "priority": 0, "add_special_tokens": False, "best_of": 1, "client_metadata": {"a": "b"},
}  # fmt: skip


def test_what_is_switched_off_changes_nothing(api: openai.OpenAI) -> None:
    plain = ask(api, NURSE, HI, extra_body={"top_p": 1, "no_repeat_ngram": 3})
    assert said(ask(api, NURSE, HI, extra_body=OFF)) == said(plain)


def test_as_many_stop_texts_as_front_ends_send(api: openai.OpenAI) -> None:
    whole = said(ask(api, NURSE, HI))
    stops = [f"\n{name}:" for name in ("You", "User", "Bot", "Ann", "###")]
    assert said(ask(api, NURSE, HI, stop=[*stops, whole[2:4]])) == whole[: whole.index(whole[2:4])]
    options = {"stream_options": {"include_usage": True}}  # of no use in an answer that comes whole
    assert ask(api, NURSE, HI, extra_body=options).usage.total_tokens > 0


@pytest.mark.parametrize("stop", ["", [""], ["", "\n"], []])
def test_a_stop_text_that_nobody_filled_in_stops_nothing(api: openai.OpenAI, stop: Any) -> None:
    assert said(ask(api, NURSE, HI, stop=stop)) == said(ask(api, NURSE, HI))


def test_other_names_are_convais_own() -> None:
    assert in_own_words({"repeat_penalty": 1.2, "typical": 0.5, "min_tokens": 3, "n_predict": 9}) == {
        "repetition_penalty": 1.2,
        "typical_p": 0.5,
        "min_length": 3,
        "max_tokens": 9,
    }
    assert in_own_words({"n_predict": 9, "max_tokens": 7}) == {"max_tokens": 7}
    assert in_own_words({"max_output_tokens": 9}) == {"max_tokens": 9}
    assert in_own_words({"seed": -1, "top_k": -1, "top_p": 0}) == {"seed": None, "top_k": 0, "top_p": 1e-6}
    assert in_own_words({"repeat_penalty": 1.1, "repeat_last_n": 64, "dry_penalty_last_n": 0}) == {
        "repetition_penalty": 1.1,
        "repeat_last_n": 64,
        "dry_penalty_last_n": 0,
    }
    assert in_own_words({"repetition_penalty_range": 0, "top_n_sigma": -1}) == {
        "repeat_last_n": -1,
        "dry_penalty_last_n": -1,
        "top_n_sigma": 0,
    }
    assert in_own_words({"rep_pen": 1.1, "rep_pen_range": 512, "nsigma": 1}) == {
        "repetition_penalty": 1.1,
        "repeat_last_n": 512,
        "top_n_sigma": 1,
    }
    assert in_own_words({"logit_bias": [[9, False]], "dry_sequence_breakers": ["\n"]}) == {
        "logit_bias": "[[9, false]]",
        "dry_sequence_breakers": '["\\n"]',
    }
    low_and_high = {"dynatemp_low": 0.5, "dynatemp_high": 1.5}
    assert in_own_words({"dynamic_temperature": False, **low_and_high}) == {}
    assert in_own_words({"dynamic_temperature": True, **low_and_high}) == low_and_high
    assert in_own_words({"seed": 1, "top_p": 1, "stream": True}) == {"seed": 1, "top_p": 1, "stream": True}


AGAINST_REPETITION: list[dict[str, Any]] = [
    {"frequency_penalty": 1.5},
    {"presence_penalty": 2},
    {"logit_bias": {"101": 50}},
    {"logit_bias": [["e", 50]]},
    {"dry_multiplier": 5, "dry_allowed_length": 1, "no_repeat_ngram": 0},
    {"xtc_probability": 1, "xtc_threshold": 0.01},
    {"top_n_sigma": 0.5},
    {"dynatemp_range": 0.4},
]


@pytest.mark.parametrize("more", AGAINST_REPETITION, ids=[next(iter(one)) for one in AGAINST_REPETITION])
def test_what_is_against_repetition_does_something(api: openai.OpenAI, more: dict[str, Any]) -> None:
    own = {name: more[name] for name in ("frequency_penalty", "presence_penalty") if name in more}
    body = {name: value for name, value in more.items() if name not in own}
    seeds = range(5, 9)
    off = {"extra_body": {"no_repeat_ngram": 0}}
    plain = [said(ask(api, NURSE, HI, seed=seed, max_tokens=24, **off)) for seed in seeds]
    other = [
        said(ask(api, NURSE, HI, seed=seed, max_tokens=24, extra_body={"no_repeat_ngram": 0, **body}, **own))
        for seed in seeds
    ]
    assert other != plain


def test_a_range_of_temperatures_is_around_the_temperature(api: openai.OpenAI) -> None:
    around = {"temperature": 0.9, "extra_body": {"dynatemp_range": 0.4, "dynatemp_exponent": 2}}
    between = {"extra_body": {"dynatemp_low": 0.5, "dynatemp_high": 1.3, "dynatemp_exponent": 2}}
    assert said(ask(api, NURSE, HI, **around)) == said(ask(api, NURSE, HI, temperature=0.9, **between))


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"logit_bias": {"300": 1}}, "logit_bias"),
        ({"logit_bias": {"1": "much"}}, "logit_bias"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"dry_sequence_breakers": [1]}, "dry_sequence_breakers"),
        ({"xtc_threshold": 2}, "xtc_threshold"),
    ],
)
def test_what_is_out_of_range_is_named(server: Running, more: dict[str, Any], param: str) -> None:
    body = {"model": "tiny", "messages": [HI], **more}
    answer = httpx2.post(f"{server.url}/v1/chat/completions", json=body, timeout=PATIENCE)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


# -- going on ------------------------------------------------------------------------------------------


def test_the_assistants_last_message_is_gone_on_with(server: Running, api: openai.OpenAI) -> None:
    begun = {"role": "assistant", "content": "i am"}
    expected = drawn(server, Turn(USER, "hi"), persona=NURSE["content"], begun="i am")
    assert expected.startswith("i am")
    answer = ask(api, NURSE, HI, begun)
    assert said(answer) == expected[len("i am") :]
    assert answer.usage.prompt_tokens == len("i am a nurse.i have two dogs.hii am") + 3
    chunks = ask(api, NURSE, HI, begun, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == said(answer)
    spaced = said(ask(api, NURSE, HI, {"role": "assistant", "content": "i am \n"}))
    assert spaced == said(answer).lstrip()
    anew = ask(api, NURSE, HI, begun, extra_body={"continue_final_message": False})
    own = (Turn(USER, "hi"), Turn(AGENT, "i am"))
    assert said(anew) == drawn(server, *own, persona=NURSE["content"])


def test_who_asks_for_a_turn_of_its_own_gets_one(server: Running, api: openai.OpenAI) -> None:
    begun = {"role": "assistant", "content": "i am"}
    anew = drawn(server, Turn(USER, "hi"), Turn(AGENT, "i am"), persona=NURSE["content"])
    assert said(ask(api, NURSE, HI, begun, extra_body={"add_generation_prompt": True})) == anew
    onward = said(ask(api, NURSE, HI, begun))
    for switches in ({"add_generation_prompt": False}, {"continue_final_message": True}):
        assert said(ask(api, NURSE, HI, begun, extra_body=switches)) == onward != anew


def test_an_empty_beginning_is_none(api: openai.OpenAI) -> None:
    assert said(ask(api, NURSE, HI, {"role": "assistant", "content": ""})) == said(ask(api, NURSE, HI))


# -- /v1/completions -------------------------------------------------------------------------------------


def test_a_text_is_gone_on_with(server: Running, api: openai.OpenAI) -> None:
    expected = drawn(server, begun="once upon a time")[len("once upon a time") :]
    answer: Any = api.completions.create(model="tiny", prompt="once upon a time", seed=5, logprobs=2)
    [choice] = answer.choices
    assert (answer.object, choice.text) == ("text_completion", expected)
    assert choice.finish_reason in ("stop", "length")
    assert answer.usage.prompt_tokens == len("once upon a time") + 2
    assert "".join(choice.logprobs.tokens) == expected
    assert len(choice.logprobs.top_logprobs) == len(choice.logprobs.tokens)
    assert {len(others) for others in choice.logprobs.top_logprobs} <= {1, 2}  # bytes that look alike
    assert (
        api.completions.create(model="tiny", prompt=["once upon a time"], seed=5).choices[0].text == expected
    )
    again = api.completions.create(model="tiny", prompt="once upon a time", seed=5, echo=True)
    assert again.choices[0].text == "once upon a time" + expected
    chunks = list(
        api.completions.create(
            model="tiny",
            prompt="once upon a time",
            seed=5,
            echo=True,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == again.choices[0].text
    assert chunks[-1].usage == again.usage
    stopped = api.completions.create(model="tiny", prompt="once upon a time", seed=5, stop=expected[2])
    assert stopped.choices[0].text == expected[: expected.index(expected[2])]


def test_texts_without_a_beginning_may_be_several(api: openai.OpenAI) -> None:
    answer = api.completions.create(model="tiny", prompt="", seed=5, n=2)
    assert len({choice.text for choice in answer.choices}) == 2


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": "x" * 900}, "prompt"),
        ({"logprobs": 9}, "logprobs"),
        ({"best_of": 3}, "best_of"),
        ({"n": 2}, "n"),
        ({"suffix": "x"}, "suffix"),
        ({"messages": [HI]}, "messages"),
    ],
)
def test_what_a_text_cannot_be_asked_is_named(server: Running, more: dict[str, Any], param: str) -> None:
    body = {"model": "tiny", "prompt": "a", **more}
    answer = httpx2.post(f"{server.url}/v1/completions", json=body, timeout=PATIENCE)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


# -- addresses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *("/health", "/healthz/", "/v1/health", "/v1/models/", "/models", "/v1/models/tiny/"),
        *("//v1/models", "/v1//models", "/v1/models//tiny"),
    ],
)
def test_a_route_has_its_other_names(server: Running, path: str) -> None:
    assert httpx2.get(server.url + path, timeout=PATIENCE).status_code == 200


@pytest.mark.parametrize("base", ["", "/", "/v1/"])
def test_a_client_may_be_given_the_bare_address(server: Running, base: str) -> None:
    with openai.OpenAI(base_url=server.url + base, api_key="none", max_retries=0) as api:
        assert said(ask(api, NURSE, HI))
        assert api.completions.create(model="tiny", prompt="a").choices
        assert next(iter(api.models.list())).id == "tiny"
    body = {"model": "tiny", "messages": [HI]}
    for path in ("/v1/chat/completions/", "/v1//chat/completions", "//v1/chat/completions"):
        assert httpx2.post(f"{server.url}{path}", json=body, timeout=PATIENCE).status_code == 200


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/chat", "/v1/completions/x"])
def test_what_is_no_route_is_not_found(server: Running, path: str) -> None:
    answer = httpx2.get(server.url + path, timeout=PATIENCE)
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert f"there is no {path} here; programs ask /v1/chat/completions" in answer.json()["error"]["message"]
