"""A conversation of ChatGPT's export: a `mapping` of nodes by id, of which one is the `current_node`.

A node has a `parent`, and a `message` with an author, parts and a time, or none. Nodes that nobody sees, and
those that hang on nothing or on each other, are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

ROLES: Final = ("system", "user", "assistant")
"""Whose messages are read; tools' are not."""


@dataclass(frozen=True, slots=True)
class ExportedMessage:
    """A message with a text; `parent`: the one before it on its branch."""

    id: str
    parent: str | None
    role: str
    text: str
    created: object
    """Seconds since 1970 UTC, where it says so."""


@dataclass(frozen=True, slots=True)
class Export:
    """The messages by id, a parent before its children, and the last one of the branch that was shown."""

    messages: Mapping[str, ExportedMessage]
    leaf: str | None

    def branch(self) -> list[ExportedMessage]:
        """The messages that were shown, oldest first."""
        path: list[ExportedMessage] = []
        at = self.leaf
        while at is not None:
            path.append(self.messages[at])
            at = path[-1].parent
        return path[::-1]


def is_export(value: object) -> bool:
    """Whether a JSON value is such a conversation."""
    return isinstance(value, dict) and isinstance(value.get("mapping"), dict)


def read_export(value: Mapping[str, Any]) -> Export:
    """The messages of a conversation that `is_export`; without a node that is shown, its newest branch."""
    nodes: dict[str, Any] = value["mapping"]
    found: dict[str, ExportedMessage] = {}
    at: dict[str | None, str | None] = {None: None}  # a node → the message that it is, or comes after
    newest: str | None = None
    for id in _in_order(nodes):
        node = nodes[id]
        parent = at.get(node.get("parent"))
        message = node.get("message")
        message = message if isinstance(message, dict) else {}
        author = message.get("author")
        role = author.get("role") if isinstance(author, dict) else None
        text = _text(message.get("content"))
        at[id] = parent
        if role in ROLES and text:
            found[id] = ExportedMessage(id, parent, role, text, message.get("create_time"))
            at[id] = id
        newest = at[id]
    current = value.get("current_node")
    return Export(found, at[current] if isinstance(current, str) and current in at else newest)


def _in_order(nodes: Mapping[str, Any]) -> Iterator[str]:
    """Parents before their children, the last child's branch last."""
    below: dict[str | None, list[str]] = {}
    for id, node in nodes.items():
        if isinstance(node, dict):
            parent = node.get("parent")
            below.setdefault(parent if isinstance(parent, str) and parent in nodes else None, []).append(id)
    waiting = below.get(None, [])[::-1]
    while waiting:
        id = waiting.pop()
        yield id
        waiting += below.get(id, [])[::-1]


def _text(content: object) -> str:
    """What was written; the parts of a message with pictures are not all texts."""
    if not isinstance(content, dict) or content.get("content_type", "text") not in (
        "text",
        "multimodal_text",
    ):
        return ""
    parts = content.get("parts")
    return (
        "\n".join(part for part in parts if isinstance(part, str)).strip() if isinstance(parts, list) else ""
    )
