"""What a client of the completions asks for: OpenAI's JSON, checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final

from convai.conversation.agent import Talker
from convai.core.dialog import AGENT, USER, Persona, Turn
from convai.core.safe_text import one_line, readable
from convai.core.settings import DecodingConfig
from convai.engine import ModelLimits
from convai.server.api_error import ApiError
from convai.server.completion_values import decoding, in_range, stops, stream_options, switch, whole
from convai.server.dialects import ONLY, WITHOUT_EFFECT, in_own_words, in_their_words
from convai.server.protocol import Limits
from convai.text.corpora.messages import is_wordless

MAX_TOP_LOGPROBS: Final = 20
MAX_TEXT_LOGPROBS: Final = 5
"""Alternatives beside a token of `/v1/completions`."""
_ROLES: Final = {"user": USER, "assistant": AGENT}
_TOOL_ROLES: Final = ("tool", "function")
_PERSONA_ROLES: Final = ("system", "developer")
_TEXTS: Final = ("text", "input_text", "output_text")
"""Types of parts that hold text: those of chats, and of responses where a client keeps these."""
_MOST_WANTED: Final = 10_000
"""Characters of who somebody is, or is called."""


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
    switch(given, "add_generation_prompt")
    goes_on = switch(given, "continue_final_message", not anew)
    prefill = ""
    if goes_on and turns and turns[-1].speaker == AGENT:
        prefill = turns.pop().text
    logprobs = switch(given, "logprobs")
    top = whole(given, "top_logprobs", 0, MAX_TOP_LOGPROBS, 0)
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
    echo = switch(given, "echo")
    top = given.get("logprobs")
    top = None if top is False else top  # some clients send it as for chats
    if top is not None:
        top = MAX_TEXT_LOGPROBS if top is True else in_range(top, "logprobs", 0, MAX_TEXT_LOGPROBS)
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
    n = whole(given, "n", 1, min(limits.candidates, slots), 1)
    stream = switch(given, "stream")
    return {
        "n": n,
        "stream": stream,
        "usage": stream_options(given.pop("stream_options", None), stream),
        "stop": stops(given.pop("stop", None)),
        "decoding": decoding(given, agent.decoding, agent.tokenizer.vocab_size, n, slots, limits),
    }


def _checked(request: CompletionRequest, given: dict[str, Any], going_on: str) -> CompletionRequest:
    """The request, where nothing `given` is left that would do something."""
    for name, value in given.items():
        if name in WITHOUT_EFFECT or value is None:  # asked for by nobody
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
    tools were asked and returned before, where another model took part in the chat. So are pictures and
    files of earlier messages, without which a chat could not go on; those of the last one are refused.
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
        earlier = number < len(given) - 1
        text = _content(message.get("content"), f"{where}.content", earlier=earlier)
        if role in _PERSONA_ROLES:
            sentences += Persona.parse(readable(text)).sentences
        elif text := readable(text):
            turns.append(Turn(_ROLES[role], text))
        elif number == len(given) - 1 and role == "user":
            raise ApiError(400, f"{where}.content: empty text; write what was said", param=f"{where}.content")
    return Persona(tuple(sentences)), turns


def _content(given: object, where: str, *, earlier: bool) -> str:
    """The words of a message; pictures and the like are passed over in an `earlier` one."""
    if given is None or isinstance(given, str):
        return given or ""
    if isinstance(given, list) and all(isinstance(part, dict) for part in given):
        said = [part for part in given if not (earlier and is_wordless(part))]
        if all(part.get("type") in _TEXTS and isinstance(part.get("text"), str) for part in said):
            return " ".join(part["text"] for part in said)
    raise ApiError(400, f"{where}: use text, or parts of the type text", param=where)
