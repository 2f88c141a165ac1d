"""One dialogue's JSON without what other programs wrap it in: a table's row, a tree of ChatGPT's export."""

from __future__ import annotations

from typing import Any, Final

_ROW_KEYS: Final = {"row", "row_idx", "truncated_cells"}
_ROLES: Final = ("system", "user", "assistant")
_MOST: Final = 100_000
"""Messages on one branch of a tree: more of them go in circles."""


def unwrapped(value: Any) -> Any:
    """The entry itself: of a row of the Hugging Face hub's viewer, of a conversation exported by ChatGPT."""
    if isinstance(value, dict):
        if isinstance(value.get("row"), dict) and value.keys() <= _ROW_KEYS:
            return value["row"]
        if isinstance(value.get("mapping"), dict):
            return {"messages": _shown(value["mapping"], value.get("current_node")), "id": value.get("title")}
    return value


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


def _shown(nodes: dict[str, Any], leaf: Any) -> list[dict[str, str]]:
    """The messages of the branch that was shown last, as OpenAI's; what no person sees is left out."""
    if leaf not in nodes:
        leaf = _newest(nodes)
    found: list[dict[str, str]] = []
    for _ in range(_MOST):
        node = nodes.get(leaf)
        if not isinstance(node, dict):
            break
        message = node.get("message")
        if isinstance(message, dict) and (text := _text(message.get("content"))):
            author = message.get("author")
            role = author.get("role") if isinstance(author, dict) else None
            if role in _ROLES:
                found.append({"role": role, "content": text})
        leaf = node.get("parent")
    return found[::-1]


def _newest(nodes: dict[str, Any]) -> Any:
    """The end of the branch that goes on with the last child everywhere."""
    at = next((key for key, node in nodes.items() if isinstance(node, dict) and not node.get("parent")), None)
    for _ in range(_MOST):
        children = nodes[at].get("children") if at in nodes and isinstance(nodes[at], dict) else None
        if not children:
            break
        at = children[-1]
    return at


def _text(content: Any) -> str:
    if not isinstance(content, dict) or content.get("content_type", "text") != "text":
        return ""
    parts = content.get("parts")
    texts = [part for part in parts if isinstance(part, str)] if isinstance(parts, list) else []
    return "\n".join(texts).strip()
