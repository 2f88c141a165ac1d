"""One dialogue's JSON without what other programs wrap it in: a row of a table, the tree of an export."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from convai.text.corpora.chatgpt import is_export, read_export

_TAG: Final = re.compile(r"<[^<>]{1,500}>")
_ROW_KEYS: Final = {"row", "row_idx", "truncated_cells"}


def unwrapped(value: Any) -> Any:
    """The entry itself: of a row of the Hugging Face hub's viewer, of a conversation exported by ChatGPT."""
    if isinstance(value, dict):
        value = _renamed(_in_small_letters(value))
        if isinstance(value.get("row"), dict) and value.keys() <= _ROW_KEYS:
            return value["row"]
        if is_export(value):
            shown = [{"role": said.role, "content": said.text} for said in read_export(value).branch()]
            return {"messages": shown, "id": value.get("title")}
    return value


def _in_small_letters(value: dict[str, Any]) -> dict[str, Any]:
    """An entry whose keys begin with capitals, as .NET writes them, with those that the readers know."""
    if not all(key[:1].isupper() for key in value):
        return value
    lowered: dict[str, Any] = _lowered(value)
    return lowered


def _lowered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.lower(): _lowered(item) for key, item in value.items()}
    return [_lowered(item) for item in value] if isinstance(value, list) else value


def _renamed(value: dict[str, Any]) -> dict[str, Any]:
    """What others call their turns, in words that the readers know; anything else as it is."""
    conv = value.get("conv")
    if isinstance(conv, dict) and isinstance(value.get("messages"), list):  # llama.cpp's page
        return {"id": conv.get("name"), "messages": _branch(value["messages"], conv.get("currNode"))}
    body, turns, data = value.get("body"), value.get("turns"), value.get("data")
    if isinstance(value.get("chat"), dict) and "messages" in value["chat"]:  # Open WebUI's export
        return _shown(value, value["chat"])
    if isinstance(body, dict) and "messages" in body:  # a line of a batch of requests
        return body
    for key in ("chat_messages", "contents"):  # Claude's export, Gemini's requests
        if isinstance(value.get(key), list):
            kept = {name: _prompt(item) for name, item in value.items() if name != key}
            return {**kept, "messages": value[key]}
    for key in ("conversations", "messages"):
        if isinstance(value.get("loss_mask"), list) and isinstance(value.get(key), list):
            return {**value, key: _weighed(value[key], value["loss_mask"])}
    messages = value.get("messages", value.get("MessageList"))
    if isinstance(messages, list) and messages and isinstance(messages[0], dict):
        if any(isinstance(one, dict) and _of_messenger(one) for one in messages[:3]):
            return {"title": value.get("displayName"), "messages": list(map(_posted, messages))}
        if isinstance(messages[0].get("versions"), list):  # LM Studio's
            return {**value, "messages": list(map(_version, messages))}
        if "isCreatedByUser" in messages[0]:  # LibreChat's
            return {"id": value.get("title"), "messages": _of_tree(messages)}
    if isinstance(turns, list) and turns and isinstance(turns[0], dict):
        if isinstance(turns[0].get("speaker"), str) and "utterance" in turns[0]:
            return {
                **{key: kept for key, kept in value.items() if key != "turns"},
                "dialogue": _of_machine(turns),
            }
    if isinstance(data, list) and len(data) > 1 and all(isinstance(text, str) for text in data):
        return {**{key: kept for key, kept in value.items() if key != "data"}, "dialog": data}
    for key in ("dialogue", "dialog", "conversation"):
        if isinstance(value.get(key), str) and ":" in value[key] and "text" not in value:
            return {**{name: kept for name, kept in value.items() if name != key}, "text": value[key]}
    return value


def _weighed(messages: list[Any], mask: list[Any]) -> list[Any]:
    """The messages with what LLaMA-Factory says of each beside them: 0 for what is no target.

    The mask may leave out a system message at the beginning. One of another length makes every message bad.
    """
    said = messages[len(messages) - len(mask) :]
    before = messages[: len(messages) - len(mask)]
    roles = [one.get("role", one.get("from")) if isinstance(one, dict) else None for one in before]
    fits = len(mask) <= len(messages) and roles in ([], ["system"])
    given = mask if fits else [f"{len(mask)} for {len(messages)} turns"] * len(messages)
    both = zip(said if fits else messages, given, strict=True)
    weighed = [{**one, "loss_mask": weight} if isinstance(one, dict) else one for one, weight in both]
    return [*before, *weighed] if fits else weighed


def _prompt(value: Any) -> Any:
    """Gemini's `systemInstruction`, which has parts; anything else as it is."""
    return value["parts"] if isinstance(value, dict) and isinstance(value.get("parts"), list) else value


def _of_messenger(message: dict[str, Any]) -> bool:
    """Whether a message is Google Chat's, Element's (Matrix) or Skype's."""
    room = isinstance(message.get("content"), dict) and "origin_server_ts" in message
    return "creator" in message or room or "originalarrivaltime" in message


def _posted(message: Any) -> Any:
    """Such a message with the keys of Messenger's export; what is no text has none."""
    if not isinstance(message, dict):
        return message
    creator, content = message.get("creator"), message.get("content", message.get("text"))
    name = creator.get("name") if isinstance(creator, dict) else message.get("sender", message.get("from"))
    if isinstance(content, dict):
        content = content.get("body") if message.get("type") == "m.room.message" else None
    if message.get("messagetype", "RichText") not in ("RichText", "Text"):
        content = None
    if "messagetype" in message and isinstance(content, str):
        content = html.unescape(_TAG.sub("", content))
    at = message.get("origin_server_ts", message.get("originalarrivaltime"))
    return {"sender_name": name, "content": content, "timestamp_ms": at}


def _version(message: Any) -> Any:
    """A message in the version that is shown, the texts of its steps together."""
    held = message.get("versions") if isinstance(message, dict) else None
    chosen = message.get("currentlySelected", 0) if isinstance(held, list) else 0
    if not isinstance(held, list) or not isinstance(chosen, int) or not 0 <= chosen < len(held):
        return message
    shown = held[chosen]
    if not isinstance(shown, dict) or not isinstance(shown.get("steps"), list):
        return shown
    steps = [step.get("content") for step in shown["steps"] if isinstance(step, dict)]
    return {**shown, "content": [part for parts in steps if isinstance(parts, list) for part in parts]}


def _of_tree(messages: list[Any]) -> list[Any]:
    """The branch of a tree that ends with its last message, as messages of the user and the assistant."""
    known = {message.get("messageId"): message for message in _all_of(messages)}
    path, at = list[dict[str, Any]](), next(reversed(known.values()), None)
    while at is not None and len(path) < len(known):  # a ring has no beginning
        path.append(at)
        at = known.get(at.get("parentMessageId"))
    roles = ("assistant", "user")
    return [
        {"role": roles[said.get("isCreatedByUser") is True], "content": said.get("text")}
        for said in path[::-1]
    ]


def _branch(messages: list[Any], end: Any) -> list[Any]:
    """The messages from the first to the one called `end`, each the next one's parent; without it, all."""
    known = {message.get("id"): message for message in messages if isinstance(message, dict)}
    path, at = list[Any](), known.get(end)
    while at is not None and len(path) < len(known):  # a ring has no beginning
        path.append(at)
        at = known.get(at.get("parent"))
    return [one for one in path[::-1] if one.get("type") != "root"] or messages


def _all_of(messages: list[Any]) -> Iterator[dict[str, Any]]:
    """Messages and those below them, a parent before its children."""
    waiting = messages[::-1]
    while waiting:
        message = waiting.pop()
        if isinstance(message, dict):
            yield message
            below = message.get("children")
            waiting += below[::-1] if isinstance(below, list) else []


def _shown(value: dict[str, Any], chat: dict[str, Any]) -> dict[str, Any]:
    """The branch that an exported chat shows, behind its system prompt."""
    settings = chat.get("params")
    prompt = chat.get("system") or (settings.get("system") if isinstance(settings, dict) else None)
    begin = [{"role": "system", "content": prompt}] if isinstance(prompt, str) and prompt.strip() else []
    said = chat["messages"]
    return {"id": value.get("title"), "messages": begin + said if isinstance(said, list) else said}


def _of_machine(turns: list[Any]) -> list[Any]:
    """Turns of a task-oriented corpus, whose SYSTEM is who answers and no persona."""
    return [
        {**turn, "speaker": "assistant"}
        if isinstance(turn, dict) and str(turn.get("speaker")).lower() == "system"
        else turn
        for turn in turns
    ]


def rows_of_names(value: Any, shape_of: Callable[[object], str]) -> list[Any] | None:
    """The dialogues of an object that has them under names of their own, `{"c1": {...}, "c2": {...}}`."""
    if not isinstance(value, dict) or not value or shape_of(value):
        return None
    entries = list(value.values())
    shapes = {shape_of(entry) for entry in entries}
    none = {"", "transcript", *(() if all(isinstance(entry, dict) for entry in entries) else ("lists",))}
    return entries if len(shapes) == 1 and not shapes & none else None


def rows_of_columns(value: Any) -> list[dict[str, Any]] | None:
    """The rows of a table that pandas wrote by columns, `{"messages": {"0": [...], "1": [...]}}`, or None."""
    if not isinstance(value, dict) or not value:
        return None
    columns = list(value.values())
    if not all(isinstance(column, dict) and column for column in columns):
        return None
    numbers = list(columns[0])
    if not all(number.isdecimal() for number in numbers) or any(list(c) != numbers for c in columns):
        return None
    return [{name: column[number] for name, column in value.items()} for number in numbers]
