"""OpenAssistant's trees of messages: of each tree the path of the best-ranked answers.

A tree a line (`{"message_tree_id", "prompt": {"text", "role", "replies": [...]}}`), or a message a line with
a `parent_id`, as JSON or as a table. Deleted messages, and those that reviewers turned down, are passed over.
Source: Köpf et al. 2023, OpenAssistant Conversations, and the repository's data export format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import as_object, dialog
from convai.text.corpora.json_entries import dialogs, entries
from convai.text.corpora.notes import Notes
from convai.text.corpora.program_shapes import is_oasst_tree
from convai.text.corpora.splits import split_named

_EXAMPLE: Final = '{"message_id": "a", "parent_id": null, "text": "hi", "role": "prompter"}'
_ROLES: Final = {"prompter": USER, "assistant": AGENT}
OTHERS: Final = "alternative message"


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every tree."""
    first = next((entry.value for entry in entries(path, Notes())), None)
    if isinstance(first, dict) and is_oasst_tree(first):
        yield from dialogs(path, notes, lambda value, where: _tree(value, where, notes))
        return
    rows = list[tuple[int, dict[str, Any]]]()
    for entry in entries(path, notes):
        try:
            for value in entry.value if isinstance(entry.value, list) else [entry.value]:
                rows.append((entry.line, as_object(value, entry.where, _EXAMPLE)))
        except DataError as error:
            notes.error(error)
    yield from trees(path, rows, notes)


def _tree(value: Any, where: str, notes: Notes) -> Dialog:
    entry = as_object(value, where, '{"message_tree_id": "a", "prompt": {"text": "hi", "replies": []}}')
    prompt = as_object(entry.get("prompt"), f"{where}, prompt", _EXAMPLE)
    path = list[dict[str, Any]]()
    at: dict[str, Any] | None = prompt
    while at is not None:
        path.append(at)
        at = _best(reply for reply in at.get("replies") or () if isinstance(reply, dict))
    notes.omit(OTHERS, _size(prompt) - len(path))
    return _dialog(path, where, str(entry.get("message_tree_id") or prompt.get("message_id") or ""))


def _size(message: dict[str, Any]) -> int:
    waiting, count = [message], 0
    while waiting:
        count += 1
        waiting += [r for r in waiting.pop().get("replies") or () if isinstance(r, dict)]
    return count


def trees(
    path: Path, rows: Iterable[tuple[int, dict[str, Any]]], notes: Notes
) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every tree of messages that name the one before them."""
    below: dict[str, list[dict[str, Any]]] = {}
    roots = list[tuple[int, dict[str, Any]]]()
    for line, row in rows:
        parent = row.get("parent_id")
        if parent in (None, ""):
            roots.append((line, row))
        else:
            below.setdefault(str(parent), []).append(row)
    for line, root in roots:
        where = f"{path}:{line}"
        found, seen = list[dict[str, Any]](), set[str]()
        at: dict[str, Any] | None = root
        while at is not None and str(at.get("message_id")) not in seen:
            found.append(at)
            seen.add(str(at.get("message_id")))
            at = _best(below.get(str(at.get("message_id")), ()))
        try:
            yield (
                line,
                _dialog(found, where, str(root.get("message_tree_id") or root.get("message_id") or "")),
            )
        except DataError as error:
            notes.error(error)
        waiting, size = [root], 0
        while waiting:
            size += 1
            waiting += below.pop(str(waiting.pop().get("message_id")), [])
        notes.omit(OTHERS, size - len(found))
    notes.omit("orphaned message", sum(map(len, below.values())))


def _best(replies: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The reply of the best rank (0), or the first where none is ranked; None without any that is shown."""
    shown = [
        reply for reply in replies if not (_true(reply.get("deleted")) or _false(reply.get("review_result")))
    ]
    return min(shown, key=_rank, default=None)


def _rank(reply: dict[str, Any]) -> float:
    try:
        return float(reply["rank"])
    except (KeyError, TypeError, ValueError):
        return float("inf")


def _true(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _false(value: object) -> bool:
    return value is False or (isinstance(value, str) and value.lower() == "false")


def _dialog(path: list[dict[str, Any]], where: str, name: str) -> Dialog:
    turns = list[Turn]()
    for i, message in enumerate(path, 1):
        place = f"{where}, message {i}"
        role = str(message.get("role"))
        if role not in _ROLES:
            raise DataError(f"{place}: 'role' is {role[:20]!r}; use prompter or assistant")
        turns.append(Turn(_ROLES[role], check_text(message.get("text"), place)))
    split = split_named(path[0].get("split"))
    return dialog(where, turns, id=name, labels={"split": split} if split else {})
