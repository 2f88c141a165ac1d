"""What a model folder says of its chat: the template, the control tokens' texts, the ids that end a reply."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from convai.core.errors import CheckpointError
from convai.text.tokenizer_files import CONFIG_FILE, parse_object, read_text

TEMPLATE_FILE: Final = "chat_template.jinja"
GENERATION_FILE: Final = "generation_config.json"
_CONTROL: Final = ("bos_token", "eos_token", "pad_token", "unk_token")


@dataclass(frozen=True, slots=True)
class ChatFiles:
    """`control`: name (`bos_token`) → text (`<s>`); `stop_ids`: every end of the generation config."""

    template: str
    control: Mapping[str, str] = field(default_factory=dict)
    stop_ids: tuple[int, ...] = ()


def read_chat_files(folder: Path) -> ChatFiles | None:
    """The chat template of a model folder and what belongs to it; None where the folder has no template.

    Source: transformers' layout (tokenizer_config.json with `chat_template`, a text or a list of named ones;
    since version 4.52 chat_template.jinja, which goes first). Raises CheckpointError for damaged files.
    """
    path = folder / CONFIG_FILE
    config = parse_object(read_text(path), path) if path.is_file() else {}
    template = _template_of(config.get("chat_template"))
    if (apart := folder / TEMPLATE_FILE).is_file():
        template = read_text(apart)
    if not template:
        return None
    control = {name: text for name in _CONTROL if (text := _token_text(config.get(name)))}
    path = folder / GENERATION_FILE
    generation = parse_object(read_text(path), path) if path.is_file() else {}
    return ChatFiles(template, control, _ids(generation.get("eos_token_id"), path))


def generation_config(stop_ids: Sequence[int], *, bos_id: int, pad_id: int) -> str:
    """generation_config.json as transformers' `generate` reads it."""
    values = {"bos_token_id": bos_id, "eos_token_id": list(stop_ids), "pad_token_id": pad_id}
    return json.dumps(values, indent=2) + "\n"


def _template_of(value: Any) -> str:
    if isinstance(value, list):
        named = {entry.get("name"): entry.get("template") for entry in value if isinstance(entry, dict)}
        value = named.get("default")
    return value if isinstance(value, str) else ""


def _token_text(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _ids(value: Any, path: Path) -> tuple[int, ...]:
    """`eos_token_id`: a number, a list of numbers, or nothing."""
    values = [] if value is None else value if isinstance(value, list) else [value]
    if not all(type(id) is int and id >= 0 for id in values):
        raise CheckpointError(f"{path}: eos_token_id={value!r}; use a token id, or a list of them")
    return tuple(values)
