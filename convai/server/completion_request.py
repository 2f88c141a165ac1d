"""What a client of the completions asks for: OpenAI's JSON, checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, Final

from convai.conversation.agent import Talker
from convai.core.dialog import AGENT, USER, Persona, Turn
from convai.core.errors import SettingsError
from convai.core.safe_text import one_line, readable
from convai.core.settings import DecodingConfig
from convai.core.settings_values import laid_over
from convai.core.token_texts import check_bias
from convai.engine import ModelLimits
from convai.server.api_error import ApiError
from convai.server.dialects import ONLY, WITHOUT_EFFECT, around_temperature, in_own_words, in_their_words
from convai.server.protocol import Limits

MAX_STOPS: Final = 32
"""OpenAI takes 4; front ends for role play send one for each name and each mark of their templates."""
MAX_TOP_LOGPROBS: Final = 20
MAX_TEXT_LOGPROBS: Final = 5
"""Alternatives beside a token of `/v1/completions`."""
_ROLES: Final = {"user": USER, "assistant": AGENT}
_TOOL_ROLES: Final = ("tool", "function")
_PERSONA_ROLES: Final = ("system", "developer")
_OWN: Final = frozenset(field.name for field in fields(DecodingConfig)) - {"max_length", "seed"}
"""Decoding settings by convai's own names; some are OpenAI's as well."""
_TEXTS: Final = ("text", "input_text", "output_text")
"""Types of parts that hold text: those of chats, and of responses where a client keeps these."""
_MOST_WANTED: Final = 10_000
"""Characters of who somebody is, or is called."""
_UNBOUNDED: Final = (-1, -2)
"""Values of max_tokens that stand for as many as there is room for (llama.cpp's)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who is to speak, and with whom: what of it is here, `completion_cast` finds out."""

    character: str = ""
    greeting: int | str | None = None
    """Which one was said before the messages, counted from 0, or its words."""
    you: str = ""
    name: str = ""
    bio: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """A conversation, and how its next reply is wanted."""

    persona: Persona
    turns: tuple[Turn, ...]
    prefill: str
    """What the reply goes on from: the assistant's last message, or the prompt of `/v1/completions`."""
    gap: bool
    """White space ended it, so that the continuation begins with none."""
    decoding: DecodingConfig
    """With `candidates` for `n`; its seed is the conversation's."""
    n: int
    stream: bool
    usage: bool
    stop: tuple[str, ...]
    logprobs: bool
    top_logprobs: int
    wanted: Wanted = Wanted()
    echo: str = ""
    """What is told before the reply (`echo` of `/v1/completions`)."""


_Parse = Callable[[bytes, Talker, ModelLimits, Limits], CompletionRequest]


def _as_called(parse: _Parse) -> _Parse:
    """The parser, whose errors call parameters what the client does."""

    @wraps(parse)
    def parsed(body: bytes, agent: Talker, engine: ModelLimits, limits: Limits) -> CompletionRequest:
        try:
            return parse(body, agent, engine, limits)
        except ApiError as error:
            raise in_their_words(error, body) from None

    return parsed


@_as_called
def parse_chat(body: bytes, agent: Talker, engine: ModelLimits, limits: Limits) -> CompletionRequest:
    """The request in a body for `/v1/chat/completions`. Raises ApiError, which names the parameter."""
    given = _object(body, agent, engine)
    wanted = _wanted(given)
    persona, turns = _messages(given.pop("messages", None), may_be_empty=bool(wanted.character))
    anew = given.get("add_generation_prompt") is True  # asked for by name: a turn of its own
    _switch(given, "add_generation_prompt")
    goes_on = _switch(given, "continue_final_message", not anew)
    prefill = ""
    if goes_on and turns and turns[-1].speaker == AGENT:
        prefill = turns.pop().text
    logprobs = _switch(given, "logprobs")
    top = _whole(given, "top_logprobs", 0, MAX_TOP_LOGPROBS, 0)
    if top and not logprobs:
        raise ApiError(400, "top_logprobs needs logprobs to be true", param="top_logprobs")
    request = CompletionRequest(
        persona=persona,
        turns=tuple(Turn(turn.speaker, one_line(turn.text)) for turn in turns),
        prefill=one_line(prefill),
        gap=prefill[-1:].isspace(),
        logprobs=logprobs,
        top_logprobs=top,
        wanted=wanted,
        **_common(given, agent, engine.slots, limits),
    )
    return _checked(request, given, "the last message is the assistant's")


@_as_called
def parse_text(body: bytes, agent: Talker, engine: ModelLimits, limits: Limits) -> CompletionRequest:
    """The request in a body for `/v1/completions`. Raises ApiError, which names the parameter."""
    given = _object(body, agent, engine)
    prompt = given.pop("prompt", "")
    if isinstance(prompt, list) and len(prompt) == 1:
        [prompt] = prompt
    if not isinstance(prompt, str):
        raise ApiError(400, "prompt: use one text", param="prompt")
    echo = _switch(given, "echo")
    top = given.get("logprobs")
    top = None if top is False else top  # some clients send it as for chats
    if top is not None:
        top = MAX_TEXT_LOGPROBS if top is True else _in_range(top, "logprobs", 0, MAX_TEXT_LOGPROBS)
    given.pop("logprobs", None)
    prefill = readable(prompt)
    common = _common(given, agent, engine.slots, limits)
    best = given.pop("best_of", None)
    if best not in (None, 1, common["n"]):
        raise ApiError(400, "best_of is not supported here; use n, or candidates", param="best_of")
    request = CompletionRequest(
        persona=Persona(),
        turns=(),
        prefill=prefill.rstrip(),
        gap=prefill[-1:].isspace(),
        logprobs=top is not None,
        top_logprobs=top or 0,
        echo=prompt if echo else "",
        **common,
    )
    return _checked(request, given, "there is a prompt to go on from")


def _common(given: dict[str, Any], agent: Talker, slots: int, limits: Limits) -> dict[str, Any]:
    """What both kinds of requests have, taken out of `given`."""
    n = _whole(given, "n", 1, min(limits.candidates, slots), 1)
    stream = _switch(given, "stream")
    return {
        "n": n,
        "stream": stream,
        "usage": _stream_options(given.pop("stream_options", None), stream),
        "stop": _stops(given.pop("stop", None)),
        "decoding": _decoding(given, agent.decoding, agent.tokenizer.vocab_size, n, slots, limits),
    }


def _checked(request: CompletionRequest, given: dict[str, Any], going_on: str) -> CompletionRequest:
    """The request, where nothing `given` is left that would do something."""
    for name, value in given.items():
        if name in WITHOUT_EFFECT:
            continue
        if name not in ONLY:
            raise ApiError(
                400, f"there is no parameter {name[:40]!r}", param=name[:40], code="unknown_parameter"
            )
        if value not in ONLY[name]:
            raise ApiError(400, f"{name} is not supported here", param=name, code="unsupported_parameter")
    if request.prefill and request.n > 1:
        raise ApiError(400, f"n: use 1 where {going_on}", param="n")
    return request


def _object(body: bytes, agent: Talker, engine: ModelLimits) -> dict[str, Any]:
    """What a body asks of the model that is here."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is no JSON in UTF-8") from None
    if not isinstance(given, dict):
        raise ApiError(400, "the body is no JSON object")
    model = given.pop("model", None) or agent.name  # pages made for one model's server name none
    if isinstance(model, str) and model.startswith(f"{agent.name}/"):
        given.setdefault("character", model.removeprefix(f"{agent.name}/"))
    elif model in engine.adapters:
        given.setdefault("adapter", model)
    elif model != agent.name:
        there = ", ".join(map(repr, (agent.name, *engine.adapters)))
        raise ApiError(
            404,
            f"the model {str(model)[:100]!r} is not here; there is {there}",
            param="model",
            code="model_not_found",
        )
    return in_own_words(given)


def _wanted(given: dict[str, Any]) -> Wanted:
    """Who is asked for, taken out of `given`."""
    texts = []
    for names in (("character",), ("you",), ("user_name", "name1"), ("user_bio",)):
        values = [given.pop(name, None) for name in names]
        value = next((value for value in values if value is not None), "")
        if not isinstance(value, str) or len(value) > _MOST_WANTED:
            most = f"{_MOST_WANTED:,}"
            raise ApiError(400, f"{names[0]}: use a text of at most {most} characters", param=names[0])
        texts.append(value.strip())
    greeting = given.pop("greeting", None)
    if greeting is not None and (isinstance(greeting, bool) or not isinstance(greeting, int | str)):
        raise ApiError(400, "greeting: use a number, counted from 0, or what was said", param="greeting")
    if given.get("mode") in ("chat", "instruct", "chat-instruct"):  # text-generation-webui's
        del given["mode"]
    character, you, name, bio = texts
    return Wanted(character, greeting, you, one_line(name), bio)


def _messages(given: object, *, may_be_empty: bool = False) -> tuple[Persona, list[Turn]]:
    """Who the agent is, and what was said. How much of it the model takes is for its window to say.

    What holds no words says nothing and is left out: a reply that a stop text cut at once, for one, and what
    tools were asked and returned before, where another model took part in the chat.
    """
    if may_be_empty and given in (None, []):
        return Persona(), []
    if not isinstance(given, list) or not given:
        raise ApiError(400, "messages: give a list of at least one message", param="messages")
    sentences: list[str] = []
    turns: list[Turn] = []
    for number, message in enumerate(given):
        where = f"messages[{number}]"
        if not isinstance(message, dict):
            raise ApiError(400, f"{where}: use an object with role and content", param=where)
        role = message.get("role")
        if role in _TOOL_ROLES and number < len(given) - 1:
            continue
        if role in _TOOL_ROLES:
            raise ApiError(
                400, f"{where}.role: tools are not supported here; ask in words", param=f"{where}.role"
            )
        if role not in _ROLES and role not in _PERSONA_ROLES:
            raise ApiError(400, f"{where}.role: use system, user or assistant", param=f"{where}.role")
        text = _content(message.get("content"), f"{where}.content")
        if role in _PERSONA_ROLES:
            sentences += Persona.parse(readable(text)).sentences
        elif text := readable(text):
            turns.append(Turn(_ROLES[role], text))
        elif number == len(given) - 1 and role == "user":
            raise ApiError(400, f"{where}.content: empty text; write what was said", param=f"{where}.content")
    return Persona(tuple(sentences)), turns


def _content(given: object, where: str) -> str:
    if given is None or isinstance(given, str):
        return given or ""
    if isinstance(given, list) and all(
        isinstance(part, dict) and part.get("type") in _TEXTS and isinstance(part.get("text"), str)
        for part in given
    ):
        return " ".join(part["text"] for part in given)
    raise ApiError(400, f"{where}: use text, or parts of the type text", param=where)


def _decoding(
    given: dict[str, Any], own: DecodingConfig, vocabulary: int, n: int, slots: int, limits: Limits
) -> DecodingConfig:
    values = {name: given.pop(name) for name in list(given) if name in _OWN}
    values = {name: value for name, value in values.items() if value is not None}
    length = [given.pop(name, None) for name in ("max_completion_tokens", "max_tokens")]
    for name, value in zip(("max_completion_tokens", "max_tokens"), length, strict=True):
        if value is not None:
            values["max_length"] = _length(value, name, limits.max_length)
            values.setdefault("min_length", min(own.min_length, values["max_length"]))
            break
    around_temperature(values, own.temperature, given.pop("dynatemp_range", None))
    values["seed"] = _seed(given.pop("seed", None))
    if n > 1:
        if values.get("candidates") not in (None, 1, n) or values.get("num_beams") not in (None, 1):
            raise ApiError(400, "n: use 1 with candidates or num_beams, which choose one reply", param="n")
        values["candidates"], values["num_beams"] = n, 1
    most = {"candidates": min(limits.candidates, slots), "num_beams": min(limits.num_beams, slots)}
    for name in most.keys() & values.keys():
        values[name] = _in_range(values[name], name, 1, most[name])
    try:
        config = laid_over(own, values)
        check_bias(config.logit_bias, vocabulary)
    except SettingsError as error:
        name = str(error).partition("=")[0]
        raise ApiError(400, str(error), param=name if name in _OWN else None) from None
    for name, count in most.items():  # the agent's own
        if getattr(config, name) > count:
            raise ApiError(400, f"{name}: use at most {count}", param=name)
    return config


def _length(value: object, name: str, most: int) -> int:
    """Tokens of a reply: as many as were asked for, at `most` as many as are given."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value in _UNBOUNDED or value > most:
            return most
        if value >= 1 and value == int(value):
            return int(value)
    below = isinstance(value, int | float) and value < 1
    raise ApiError(
        400,
        f"{name}: use a whole number of 1 or more (at most {most:,} tokens are given), or -1 for that many",
        param=name,
        code="integer_below_min_value" if below else None,
    )


def _seed(value: object) -> int | None:
    if value is None:
        return None
    return _in_range(value, "seed", -(2**63), 2**63 - 1)


def _stops(given: object) -> tuple[str, ...]:
    if given is None:
        return ()
    stops = [given] if isinstance(given, str) else given
    if isinstance(stops, list):
        stops = [stop for stop in stops if stop != ""]  # a field of a form that nobody filled in
    if (
        not isinstance(stops, list)
        or len(stops) > MAX_STOPS
        or not all(isinstance(stop, str) and len(stop) <= 100 for stop in stops)
    ):
        raise ApiError(400, f"stop: use a text, or up to {MAX_STOPS}, of 1 to 100 characters", param="stop")
    return tuple(stops)


def _stream_options(given: object, stream: bool) -> bool:
    if given is None:
        return False
    if not isinstance(given, dict) or set(given) - {"include_usage", "include_obfuscation"}:
        raise ApiError(400, "stream_options: use include_usage", param="stream_options")
    return stream and given.get("include_usage") is True


def _switch(given: dict[str, Any], name: str, default: bool = False) -> bool:
    value = given.pop(name, None)
    if value is not None and not isinstance(value, bool):
        raise ApiError(400, f"{name}: use true or false", param=name)
    return default if value is None else value


def _whole(given: dict[str, Any], name: str, least: int, most: int, default: int) -> int:
    value = given.pop(name, None)
    return default if value is None else _in_range(value, name, least, most)


def _in_range(value: object, name: str, least: int, most: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 300.0 of a language that has one kind of numbers
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ApiError(400, f"{name}: use a whole number from {least:,} to {most:,}", param=name)
    return value
