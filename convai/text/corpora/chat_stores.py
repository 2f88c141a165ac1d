"""All the chats that a program keeps in one file: Snapchat's export, the database that Perchance exports."""

from __future__ import annotations

from typing import Any, Final

_USER: Final = -1
"""Perchance's number for the one who types; characters are counted from 1."""
_SAVED: Final = {"From": "received saved chat history", "To": "sent saved chat history"}
"""Snapchat's older lists, by the key that names the partner in each."""


def chats_of(value: Any) -> list[dict[str, Any]] | None:
    """The chats as the readers know them (Messenger's, OpenAI's); None for the JSON of anything else."""
    if not isinstance(value, dict) or not value:
        return None
    if value.get("formatName") == "dexie" and isinstance(value.get("data"), dict):
        return _perchance(value["data"])
    lists = {name: items for name, items in value.items() if isinstance(items, list)}
    if len(lists) == len(value) and any(map(_is_snap, (items[0] for items in lists.values() if items))):
        return _snapchat(lists)
    return None


def _is_snap(message: object) -> bool:
    return (
        isinstance(message, dict) and "Media Type" in message and bool({"IsSender", *_SAVED} & message.keys())
    )


def _snapchat(lists: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """A chat for each partner (or group): its messages in Messenger's words, without those of other kinds."""
    chats: dict[str, list[dict[str, Any]]] = {}
    for title, items in lists.items():
        key = next((key for key, name in _SAVED.items() if name == title.lower()), "")
        for message in filter(_is_snap, items):
            partner = str(message.get(key)) if key else title
            sender = "Me" if key == "To" else message.get("From")
            words = message.get("Content", message.get("Text"))
            at = message.get("Created(microseconds)") or str(message.get("Created")).removesuffix(" UTC")
            chats.setdefault(partner, []).append(
                {
                    "sender_name": sender,
                    "content": words if message.get("Media Type") == "TEXT" else None,
                    "timestamp_ms": at,
                }
            )
    return [{"title": partner, "messages": messages} for partner, messages in chats.items()]


def _perchance(stored: dict[str, Any]) -> list[dict[str, Any]]:
    """A chat for each thread, the character's instruction before it."""
    rows = {name: list[dict[str, Any]]() for name in ("characters", "threads", "messages")}
    tables = stored.get("data")
    for table in tables if isinstance(tables, list) else []:
        name = table.get("tableName") if isinstance(table, dict) else None
        if name in rows and isinstance(table.get("rows"), list):
            rows[name] += [row for row in table["rows"] if isinstance(row, dict)]
    characters = {row.get("id"): row for row in rows["characters"]}
    said: dict[Any, list[dict[str, Any]]] = {}
    for row in sorted(rows["messages"], key=_order):
        said.setdefault(row.get("threadId"), []).append(row)
    threads = {row.get("id"): row for row in rows["threads"]}
    return [_thread(threads.get(thread, {}), messages, characters) for thread, messages in said.items()] or [
        {"messages": []}
    ]


def _order(row: dict[str, Any]) -> tuple[float, float]:
    at, number = row.get("order"), row.get("id")
    return tuple(float(x) if isinstance(x, int | float) else 0.0 for x in (at, number))  # type: ignore[return-value]


def _thread(
    thread: dict[str, Any], messages: list[dict[str, Any]], characters: dict[Any, dict[str, Any]]
) -> dict[str, Any]:
    instruction = characters.get(thread.get("characterId"), {}).get("roleInstruction")
    begin = [{"role": "system", "content": instruction}] if instruction else []
    turns = [
        {
            "role": "user" if row.get("characterId") == _USER else "assistant",
            "content": row.get("message"),
        }
        for row in messages
        if row.get("characterId") == _USER or row.get("characterId") in characters
    ]
    return {"id": thread.get("name"), "messages": begin + turns}
