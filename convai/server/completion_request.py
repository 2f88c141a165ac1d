"""What a client of `/v1/chat/completions` asks for: OpenAI's JSON, checked; errors as OpenAI shapes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from convai.conversation.agent import Agent
from convai.core.dialog import AGENT, USER, Persona, Turn, check_text
from convai.core.errors import DataError, SettingsError
from convai.core.settings import DecodingConfig
from convai.core.settings_values import laid_over
from convai.server.protocol import Limits

MAX_MESSAGES: Final = 2_000
MAX_STOPS: Final = 4
MAX_TOP_LOGPROBS: Final = 20
_ROLES: Final = {"user": USER, "assistant": AGENT}
_PERSONA_ROLES: Final = ("system", "developer")
_OWN: Final = frozenset(field.name for field in fields(DecodingConfig)) - {"max_length", "seed"}
"""Decoding settings by convai's own names; some are OpenAI's as well."""
_WITHOUT_EFFECT: Final = frozenset(
    {
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "parallel_tool_calls",
    }
)
_ONLY: Final[Mapping[str, tuple[object, ...]]] = {
    "frequency_penalty": (0, None),
    "presence_penalty": (0, None),
    "logit_bias": ({}, None),
    "response_format": ({"type": "text"}, None),
    "modalities": (["text"], None),
    "tools": ([], None),
    "functions": ([], None),
    "tool_choice": ("none", None),
}
"""Parameters that are taken only where they change nothing."""


class ApiError(Exception):
    """An answer that is an error, as OpenAI's API shapes it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.retry = status, param, code, retry

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def headers(self) -> list[tuple[str, str]]:
        """`Retry-After`, in whole seconds, where there is a time to wait."""
        return [] if self.retry is None else [("retry-after", str(max(1, round(self.retry + 0.5))))]


def too_slow() -> ApiError:
    """What is told to a client whose request's body does not come."""
    return ApiError(408, "the request's body did not come in time; send it again")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """A conversation, and how its next reply is wanted."""

    persona: Persona
    turns: tuple[Turn, ...]
    decoding: DecodingConfig
    """With `candidates` for `n`; its seed is the conversation's."""
    n: int
    stream: bool
    usage: bool
    stop: tuple[str, ...]
    logprobs: bool
    top_logprobs: int


def parse(body: bytes, agent: Agent, slots: int, limits: Limits) -> CompletionRequest:
    """The request in a body. Raises ApiError, which names the parameter."""
    given = _object(body)
    model = given.pop("model", None)
    if model is None:
        raise ApiError(400, "you must provide a model parameter", param="model")
    if model != agent.name:
        raise ApiError(
            404,
            f"the model {str(model)[:100]!r} is not here; there is {agent.name!r}",
            param="model",
            code="model_not_found",
        )
    persona, turns = _messages(given.pop("messages", None), limits)
    n = _whole(given, "n", 1, min(limits.candidates, slots), 1)
    stream = _switch(given, "stream")
    usage = _stream_options(given.pop("stream_options", None), stream)
    stop = _stops(given.pop("stop", None))
    logprobs = _switch(given, "logprobs")
    top = _whole(given, "top_logprobs", 0, MAX_TOP_LOGPROBS, 0)
    if top and not logprobs:
        raise ApiError(400, "top_logprobs needs logprobs to be true", param="top_logprobs")
    decoding = _decoding(given, agent.decoding, n, slots, limits)
    for name, value in given.items():
        if name in _WITHOUT_EFFECT:
            continue
        if name not in _ONLY:
            raise ApiError(
                400, f"there is no parameter {name[:40]!r}", param=name[:40], code="unknown_parameter"
            )
        if value not in _ONLY[name]:
            raise ApiError(400, f"{name} is not supported here", param=name, code="unsupported_parameter")
    return CompletionRequest(
        persona=persona,
        turns=turns,
        decoding=decoding,
        n=n,
        stream=stream,
        usage=usage,
        stop=stop,
        logprobs=logprobs,
        top_logprobs=top,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is no JSON in UTF-8") from None
    if not isinstance(given, dict):
        raise ApiError(400, "the body is no JSON object")
    return given


def _messages(given: object, limits: Limits) -> tuple[Persona, tuple[Turn, ...]]:
    if not isinstance(given, list) or not given:
        raise ApiError(400, "messages: give a list of at least one message", param="messages")
    if len(given) > MAX_MESSAGES:
        raise ApiError(400, f"messages: {len(given)} messages; use at most {MAX_MESSAGES}", param="messages")
    sentences: list[str] = []
    turns: list[Turn] = []
    for number, message in enumerate(given):
        where = f"messages[{number}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in _ROLES and role not in _PERSONA_ROLES:
            raise ApiError(400, f"{where}.role: use system, user or assistant", param=f"{where}.role")
        text = _content(message.get("content"), f"{where}.content")
        if role in _PERSONA_ROLES:
            sentences += Persona.parse(text).sentences
            continue
        try:
            clean = check_text(text, f"{where}.content")
        except DataError as error:
            raise ApiError(400, str(error), param=f"{where}.content") from None
        if len(clean) > limits.message_chars:
            raise ApiError(
                400,
                f"{where}.content: {len(clean):,} characters; use at most {limits.message_chars:,}",
                param=f"{where}.content",
            )
        turns.append(Turn(_ROLES[role], clean))
    if len(sentences) > limits.persona_sentences or any(len(s) > limits.sentence_chars for s in sentences):
        raise ApiError(
            400,
            f"messages: a persona (system message) has at most {limits.persona_sentences} sentences of "
            f"{limits.sentence_chars} characters",
            param="messages",
        )
    try:
        persona = Persona(tuple(check_text(sentence, "persona") for sentence in sentences))
    except DataError as error:
        raise ApiError(400, str(error), param="messages") from None
    return persona, tuple(turns)


def _content(given: object, where: str) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, list) and all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
        for part in given
    ):
        return " ".join(part["text"] for part in given)
    raise ApiError(400, f"{where}: use text, or parts of the type text", param=where)


def _decoding(
    given: dict[str, Any], own: DecodingConfig, n: int, slots: int, limits: Limits
) -> DecodingConfig:
    values = {name: given.pop(name) for name in list(given) if name in _OWN}
    values = {name: value for name, value in values.items() if value is not None}
    length = [given.pop(name, None) for name in ("max_completion_tokens", "max_tokens")]
    for name, value in zip(("max_completion_tokens", "max_tokens"), length, strict=True):
        if value is not None:
            values["max_length"] = _in_range(value, name, 1, limits.max_length)
            values.setdefault("min_length", min(own.min_length, values["max_length"]))
            break
    values["seed"] = _seed(given.pop("seed", None))
    if n > 1:
        values["candidates"], values["num_beams"] = n, 1
    try:
        config = laid_over(own, values)
    except SettingsError as error:
        name = str(error).partition("=")[0]
        raise ApiError(400, str(error), param=name if name in _OWN else None) from None
    for name, most in (("candidates", limits.candidates), ("num_beams", limits.num_beams)):
        if getattr(config, name) > min(most, slots):
            raise ApiError(400, f"{name}: use at most {min(most, slots)}", param=name)
    return config


def _seed(value: object) -> int | None:
    if value is None:
        return None
    return _in_range(value, "seed", -(2**63), 2**63 - 1)


def _stops(given: object) -> tuple[str, ...]:
    if given is None:
        return ()
    stops = [given] if isinstance(given, str) else given
    if (
        not isinstance(stops, list)
        or len(stops) > MAX_STOPS
        or not all(isinstance(stop, str) and 0 < len(stop) <= 100 for stop in stops)
    ):
        raise ApiError(400, f"stop: use a text, or up to {MAX_STOPS}, of 1 to 100 characters", param="stop")
    return tuple(stops)


def _stream_options(given: object, stream: bool) -> bool:
    if given is None:
        return False
    if not stream or not isinstance(given, dict) or set(given) - {"include_usage", "include_obfuscation"}:
        raise ApiError(400, "stream_options: use include_usage, with stream", param="stream_options")
    return given.get("include_usage") is True


def _switch(given: dict[str, Any], name: str) -> bool:
    value = given.pop(name, None)
    if value not in (None, True, False) or isinstance(value, int) is not isinstance(value, bool):
        raise ApiError(400, f"{name}: use true or false", param=name)
    return bool(value)


def _whole(given: dict[str, Any], name: str, least: int, most: int, default: int) -> int:
    value = given.pop(name, None)
    return default if value is None else _in_range(value, name, least, most)


def _in_range(value: object, name: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ApiError(400, f"{name}: use a whole number from {least:,} to {most:,}", param=name)
    return value
