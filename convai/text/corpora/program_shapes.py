"""How the JSON of other programs and collections looks that have keys of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

OASST_ROW: Final = {"message_id", "parent_id", "text", "role"}
_KOBOLD: Final = ("memory", "gamestarted", "savedsettings", "authorsnote")
_SIGNAL: Final = {"date", "quote", "sticker", "reactions", "attachments"}
_SESSIONS: Final = {"init_personas", "previous_dialogs", "personas"}


def has_item_with(value: object, key: str) -> bool:
    """Whether a value is a list that begins with an object that has `key`."""
    return isinstance(value, list) and any(isinstance(item, dict) and key in item for item in value[:3])


def program_of(entry: Mapping[str, Any]) -> str:
    """The format of an object (keys in lower case) that a program or collection writes, or an empty text."""
    if is_oasst_tree(entry) or entry.keys() >= OASST_ROW:
        return "oasst"
    if isinstance(entry.get("actions"), list | dict) and any(key in entry for key in _KOBOLD):
        return "kobold"
    if roleplay_key(entry):
        return "roleplay"
    if _is_parlai(entry):
        return "parlai-json"
    if has_item_with(entry.get("content"), "agent") and has_item_with(entry["content"], "message"):
        return "topical-chat"
    if multiwoz_key(entry):
        return "multiwoz"
    messages = entry.get("messages")
    if any(has_item_with(messages, key) for key in ("sender_name", "senderName")):
        return "facebook"
    if has_item_with(entry.get("messagelist"), "originalarrivaltime"):  # Skype's, in the same words
        return "facebook"
    if any(has_item_with(messages, key) for key in ("from_id", "date_unixtime")):
        return "telegram"
    if has_item_with(messages, "author") and {"channel", "guild"} & entry.keys():
        return "discord"
    if is_slack(entry) or (isinstance(messages, list) and any(map(is_slack, messages[:3]))):
        return "slack"
    return "signal" if is_signal(entry) else ""


def is_oasst_tree(entry: Mapping[str, Any]) -> bool:
    """Whether an object is a whole tree of OpenAssistant's."""
    prompt = entry.get("prompt")
    return isinstance(prompt, dict) and ("replies" in prompt or "message_id" in prompt)


def roleplay_key(entry: Mapping[str, Any]) -> str:
    """The key of the messages in a chat of CharacterAI, Agnai, RisuAI or PIPPA, or an empty text."""
    kinds = (("msgs", "src"), ("turns", "candidates"), ("messages", "msg"), ("conversation", "is_human"))
    for key, inside in kinds:
        if has_item_with(entry.get(key), inside):
            return key
    return "message" if entry.get("type") == "risuChat" and isinstance(entry.get("data"), dict) else ""


def multiwoz_key(entry: Mapping[str, Any]) -> str:
    """The key of the turns in a dialogue of MultiWOZ's, or of a corpus like it, or an empty text."""
    turns = entry.get("turns")
    if isinstance(turns, dict) and {"speaker", "utterance"} <= turns.keys():
        return "turns"
    for key, inside in (("log", "text"), ("dialogue", "transcript"), ("dial", "usr")):
        if has_item_with(entry.get(key), inside):
            return key
    return ""


def is_slack(message: object) -> bool:
    """Whether an object is a message of Slack's."""
    return isinstance(message, dict) and message.keys() >= {"ts", "text"} and message.get("type") == "message"


def is_signal(message: object) -> bool:
    """Whether an object is a message as signal-export writes it."""
    return (
        isinstance(message, dict) and message.keys() >= {"sender", "body"} and bool(_SIGNAL & message.keys())
    )


def _is_parlai(entry: Mapping[str, Any]) -> bool:
    """Whether it is a dialogue of Multi-Session Chat's or Blended Skill Talk's."""
    turns = entry.get("dialog")
    if not isinstance(turns, list) or not turns:
        return False
    first = turns[0]
    if isinstance(first, list):
        return len(first) == 2 and first[0] in (0, 1) and isinstance(first[1], str)
    return bool(_SESSIONS & entry.keys()) and isinstance(first, dict) and "text" in first
