"""Parameters that clients of other servers send: other names for convai's own, values that change nothing.

Chat front ends send the whole list of what llama.cpp, vLLM or text-generation-webui know, most of it switched
off. What is switched off is taken; what would do something that convai does not do is refused by its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from convai.server.api_error import ApiError

_SAME: Final = {
    "repeat_penalty": "repetition_penalty",
    "rep_pen": "repetition_penalty",
    "repetition_penalty_range": "repeat_last_n",
    "rep_pen_range": "repeat_last_n",
    "nsigma": "top_n_sigma",
    "typical": "typical_p",
    "typ_p": "typical_p",
    "sampler_seed": "seed",
    "stopping_strings": "stop",
    "no_repeat_ngram_size": "no_repeat_ngram",
    "min_tokens": "min_length",
    "n_predict": "max_tokens",
    "max_new_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
}
"""A name elsewhere → convai's own, or OpenAI's."""

_OFF: Final[Mapping[str, Mapping[object, object]]] = {
    "top_k": {-1: 0},  # llama.cpp, vLLM
    "seed": {-1: None},  # llama.cpp, text-generation-webui: draw one
    "top_p": {0: 1e-6},  # OpenAI: the likeliest token alone
    "top_n_sigma": {-1: 0},  # llama.cpp
    "repetition_penalty_range": {0: -1},  # text-generation-webui: all that was said
    "rep_pen_range": {0: -1},  # KoboldCpp
}
"""A value elsewhere → the value that says the same here."""

WITHOUT_EFFECT: Final = frozenset(
    {
        # OpenAI: notes about the caller and the bill
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "parallel_tool_calls",
        # where and how others (OpenRouter's, too) compute; what a sampler of theirs would do if it were on
        "cache_prompt",
        "id_slot",
        "slot_id",
        "keep_alive",
        "n_keep",
        "num_ctx",
        "truncation_length",
        "penalize_nl",
        "mirostat_tau",
        "mirostat_eta",
        "smoothing_curve",
        "samplers",
        "sampler_order",
        "sampler_priority",
        "skip_special_tokens",
        "spaces_between_special_tokens",
        "add_bos_token",
        "timings_per_token",
        "return_progress",
        "backend_sampling",
        "sse_ping_interval",
        "n_indent",
        "n_discard",
        "api_server",
        "api_type",
        "can_abort",
        "trim_stop",
        "adaptive_decay",
        "speculative_ngram",
        "priority",
        "add_special_tokens",
        "client_metadata",
        # Ollama's, which Open WebUI sends along
        "num_batch",
        "num_gpu",
        "num_keep",
        "num_thread",
        "use_mlock",
        "use_mmap",
        "provider",
        "route",
        "transforms",
        # how reasoning and calls would be taken out of a reply that has none
        "include_reasoning",
        "reasoning_format",
        "reasoning_control",
        "thinking_forced_open",
        "parse_tool_calls",
    }
)

ONLY: Final[Mapping[str, tuple[object, ...]]] = {
    # OpenAI
    "response_format": ({"type": "text"}, None),
    "modalities": (["text"], None),
    "tools": ([], None),
    "functions": ([], None),
    "tool_choice": ("none", "auto", None),
    "function_call": ("none", "auto", None),
    "prediction": (None,),
    "audio": (None,),
    "suffix": ("", None),
    "reasoning_effort": ("none", "minimal", "low", "medium", "high", "auto", None),  # nothing reasons here
    "verbosity": ("low", "medium", "high", None),
    "web_search_options": (None,),
    # OpenRouter
    "reasoning": ({}, {"enabled": False}, {"exclude": True}, {"effort": "none"}, None),
    "plugins": ([], None),
    # llama.cpp, vLLM, text-generation-webui
    "mirostat": (0, None),
    "mirostat_mode": (0, None),
    "tfs": (1, None),
    "tfs_z": (1, None),
    "top_a": (0, None),
    "smoothing_factor": (0, None),
    "epsilon_cutoff": (0, None),
    "eta_cutoff": (0, None),
    "penalty_alpha": (0, None),
    "guidance_scale": (1, None),
    "negative_prompt": ("", None),
    "encoder_repetition_penalty": (1, None),
    "do_sample": (True, None),
    "use_beam_search": (False, None),
    "early_stopping": (False, None),
    "best_of": (1, None),
    "extra_body": ({}, None),
    "ignore_eos": (False, None),
    "ban_eos_token": (False, None),
    "n_probs": (0, None),
    "min_keep": (0, 1, None),
    "prompt_logprobs": (0, None),
    "stop_token_ids": ([], None),
    "bad_words": ([], None),
    "custom_token_bans": ("", None),
    "banned_strings": ([], None),
    "include_stop_str_in_output": (False, None),
    "grammar": ("", None),
    "grammar_string": ("", None),
    "json_schema": ({}, None),
    "chat_template_kwargs": ({}, {"enable_thinking": False}, None),
    "think": (False, None),
    "max_tokens_second": (0, None),
    "auto_max_new_tokens": (False, None),
    "skew": (0, None),
    "adaptive_target": (-0.01, -1, 0, None),
    "rep_pen_slope": (0, 1, None),
    "rep_pen_decay": (0, None),
    "banned_tokens": ("", [], None),
    "t_max_predict_ms": (0, -1, None),
    "response_fields": ([], None),
    "lora": ([], None),
    "post_sampling_probs": (False, None),
    "return_tokens": (False, None),
}
"""Parameters that are taken only where they change nothing: their values for that."""


def in_own_words(given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with names and values as convai and OpenAI have them; what goes by its own name wins."""
    given = {name: _value(name, value) for name, value in given.items()}
    renamed = {_SAME[name]: value for name, value in given.items() if name in _SAME}
    named = {name: value for name, value in given.items() if name not in _SAME}
    ours = {**renamed, **named}
    if "repetition_penalty_range" in given:  # text-generation-webui has one range for both
        ours.setdefault("dry_penalty_last_n", given["repetition_penalty_range"])
    for name in ("logit_bias", "dry_sequence_breakers"):
        if isinstance(ours.get(name), list | dict):
            ours[name] = json.dumps(ours[name]) if ours[name] or name != "logit_bias" else ""
    _dynamic_temperature(ours)
    for offered, choice in (("tools", "tool_choice"), ("functions", "function_call")):
        if ours.get(choice) == "none":  # they may not be called: the reply is the same without them
            ours.pop(offered, None)
    return ours


def in_their_words(error: ApiError, body: bytes) -> ApiError:
    """The error about a request with parameters called what the client called them."""
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        sent = None
    if not isinstance(sent, dict):
        return error
    names = {own: theirs for theirs, own in _SAME.items() if theirs in sent and own not in sent}
    if "max_length" not in sent:  # what it is called in settings
        names["max_length"] = next(
            (name for name in ("max_completion_tokens", "max_tokens") if sent.get(name) is not None),
            names.get("max_tokens", "max_tokens"),
        )
    if not names:
        return error
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b")
    text = pattern.sub(lambda found: names[found[0]], str(error))
    param = names.get(error.param or "", error.param)
    return ApiError(error.status, text, param=param, code=error.code, retry=error.retry)


def _dynamic_temperature(ours: dict[str, Any]) -> None:
    """text-generation-webui has a switch for it, and sends its numbers all the same."""
    on = ours.pop("dynamic_temperature", None)
    if on is not None and not on:
        for name in ("dynatemp_low", "dynatemp_high"):
            ours.pop(name, None)


def around_temperature(values: dict[str, Any], temperature: float, width: object) -> None:
    """llama.cpp's `dynatemp_range`: the temperature, and as much above and below it as `width`."""
    if isinstance(width, int | float) and not isinstance(width, bool) and width > 0:
        middle = values.get("temperature", temperature)
        if isinstance(middle, int | float):
            values["dynatemp_low"], values["dynatemp_high"] = max(middle - width, 0.0), middle + width


def _value(name: str, value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        off = _OFF.get(name) or _OFF.get(_SAME.get(name, ""), {})
        return off.get(value, value)
    return value
