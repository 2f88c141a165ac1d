"""Which format a JSON value is in, told from its keys; what a list or an object of dialogues is."""

from __future__ import annotations

from typing import Any, Final

from convai.text.corpora.messages import is_exchange, is_message
from convai.text.corpora.program_shapes import OASST_ROW, has_item_with, is_signal, is_slack, program_of
from convai.text.corpora.splits import split_named

QUESTION_KEYS: Final = ("instruction", "prompt", "question", "query", "input", "human", "user", "context")
"""What the user says in a table of exchanges; the first that is there."""
ANSWER_KEYS: Final = (
    *("output", "completion", "response", "answer", "reply", "assistant", "bot", "gpt", "generation"),
)
PREFERENCE_KEYS: Final = (
    ("chosen", "rejected"),
    ("preferred_output", "non_preferred_output"),
    ("chosen_response", "rejected_response"),
    ("response_chosen", "response_rejected"),
    ("response_j", "response_k"),
    ("chosen_messages", "rejected_messages"),
)
"""What the reply that somebody preferred is called, and the other one."""
LIST_KEYS: Final = ("conversation", "dialog", "dialogue", "utterances", "items", "chat", "history")
WRAPPERS: Final = ("data", "dialogs", "dialogues", "examples", "rows", "list", "chats")
"""Keys that hold dialogues and nothing else."""


def lowered(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with its keys in lower case."""
    return {key.lower(): value for key, value in entry.items()}


def is_part(value: object) -> bool:
    """Whether a value is a piece of a dialogue: a text, or a message."""
    return isinstance(value, str) or is_message(value)


def shape_of(value: object) -> str:
    """The name of the format of one dialogue's JSON, or an empty text."""
    if isinstance(value, list):
        if not value or not (is_part(value[0]) or (isinstance(value[0], list) and is_exchange(value[0]))):
            return ""
        first = value[0]
        if isinstance(first, dict):
            if is_slack(first) or is_signal(first):
                return "slack" if is_slack(first) else "signal"
            if "mes" in first or first.keys() >= OASST_ROW:
                return "sillytavern" if "mes" in first else "oasst"
        return "openai" if is_message(first) else "lists"
    if not isinstance(value, dict):
        return ""
    return _shape_of_object(lowered(value))


def _shape_of_object(entry: dict[str, Any]) -> str:
    if "messages" in entry and "leaf" in entry:
        return "conversation"
    if found := program_of(entry):
        return found
    if "turns" in entry or "personas" in entry:
        return "jsonl"
    if "personality" in entry or ("utterances" in entry and has_item_with(entry["utterances"], "history")):
        return "personachat"
    if any(better in entry and worse in entry for better, worse in PREFERENCE_KEYS):
        return "preference"
    if "messages" in entry:
        return "openai"
    if "conversations" in entry and not is_wrapped(entry["conversations"]):
        return "sharegpt"
    if "mes" in entry or "character_name" in entry:
        return "sillytavern"
    if any(key in entry for key in QUESTION_KEYS) and any(key in entry for key in ANSWER_KEYS):
        return "alpaca"
    if (isinstance(entry.get("internal"), list) and "visible" in entry) or "data_visible" in entry:
        return "lists"
    if any(isinstance(entry.get(key), list) and not is_wrapped(entry[key]) for key in LIST_KEYS):
        return "lists"
    if has_item_with(entry.get("segments"), "label"):  # axolotl's
        return "transcript"
    return "transcript" if isinstance(entry.get("text"), str) else ""


def is_wrapped(value: object) -> bool:
    """Whether a value is a list of dialogues, rather than a dialogue."""
    if not isinstance(value, list) or not value:
        return False
    return not is_part(value[0]) and not is_exchange(value[0]) and bool(shape_of(value[0]))


def is_section(key: str, first: object) -> bool:
    """Whether a list under `key` that begins with `first` holds dialogues."""
    if (
        is_part(first)
        or key.lower() == "parts"
        or (is_exchange(first) and key.lower() in (*LIST_KEYS, "conversations", "messages"))
    ):
        return False
    return bool(shape_of(first)) or bool(split_named(key)) or key.lower() in WRAPPERS
