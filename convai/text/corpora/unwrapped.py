"""One dialogue's JSON without what other programs wrap it in: a row of a table, the tree of an export."""

from __future__ import annotations

from typing import Any, Final

from convai.text.corpora.chatgpt import is_export, read_export

_ROW_KEYS: Final = {"row", "row_idx", "truncated_cells"}


def unwrapped(value: Any) -> Any:
    """The entry itself: of a row of the Hugging Face hub's viewer, of a conversation exported by ChatGPT."""
    if isinstance(value, dict):
        if isinstance(value.get("row"), dict) and value.keys() <= _ROW_KEYS:
            return value["row"]
        if is_export(value):
            shown = [{"role": said.role, "content": said.text} for said in read_export(value).branch()]
            return {"messages": shown, "id": value.get("title")}
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
