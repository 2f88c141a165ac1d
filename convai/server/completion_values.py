"""The values of a completion request, taken out of its JSON one by one and checked: numbers, switches, stops.

Raises ApiError, which names the parameter by convai's own word for it.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from convai.core.errors import SettingsError
from convai.core.settings import DecodingConfig
from convai.core.settings_values import laid_over
from convai.core.token_texts import check_bias
from convai.server.api_error import ApiError
from convai.server.dialects import around_temperature
from convai.server.protocol import Limits

MAX_STOPS: Final = 32
"""OpenAI takes 4; front ends for role play send one for each name and each mark of their templates."""
_OWN: Final = frozenset(field.name for field in fields(DecodingConfig)) - {"max_length", "seed"}
"""Decoding settings by convai's own names; some are OpenAI's as well."""
_UNBOUNDED: Final = (-1, -2)
"""Values of max_tokens that stand for as many as there is room for (llama.cpp's)."""


def decoding(
    given: dict[str, Any], own: DecodingConfig, vocabulary: int, n: int, slots: int, limits: Limits
) -> DecodingConfig:
    """How the reply is drawn: what is `given` of it, taken out, laid over the model's `own` settings."""
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
        values[name] = in_range(values[name], name, 1, most[name])
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
    return in_range(value, "seed", -(2**63), 2**63 - 1)


def stops(given: object) -> tuple[str, ...]:
    """The texts that end a reply."""
    if given is None:
        return ()
    stops = [given] if isinstance(given, str) else given
    if isinstance(stops, list):
        stops = [stop for stop in stops if stop not in ("", None)]  # a field of a form that nobody filled in
    if (
        not isinstance(stops, list)
        or len(stops) > MAX_STOPS
        or not all(isinstance(stop, str) and len(stop) <= 100 for stop in stops)
    ):
        raise ApiError(400, f"stop: use a text, or up to {MAX_STOPS}, of 1 to 100 characters", param="stop")
    return tuple(stops)


def stream_options(given: object, stream: bool) -> bool:
    """Whether the last event of a stream is to say what was used."""
    if given is None:
        return False
    if not isinstance(given, dict) or set(given) - {"include_usage", "include_obfuscation"}:
        raise ApiError(400, "stream_options: use include_usage", param="stream_options")
    return stream and given.get("include_usage") is True


def switch(given: dict[str, Any], name: str, default: bool = False) -> bool:
    """True or false, taken out of `given`."""
    value = given.pop(name, None)
    if value is not None and not isinstance(value, bool):
        raise ApiError(400, f"{name}: use true or false", param=name)
    return default if value is None else value


def whole(given: dict[str, Any], name: str, least: int, most: int, default: int) -> int:
    """A whole number within bounds, taken out of `given`."""
    value = given.pop(name, None)
    return default if value is None else in_range(value, name, least, most)


def in_range(value: object, name: str, least: int, most: int) -> int:
    """A whole number within bounds."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 300.0 of a language that has one kind of numbers
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ApiError(400, f"{name}: use a whole number from {least:,} to {most:,}", param=name)
    return value
