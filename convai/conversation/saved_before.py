"""What earlier versions saved, still read: chats of the terminal (version 1), the page's exports, dialogues.

A chat of version 1 is a dialogue with `labels.conversation`:

    {"version": 1, "model": "persona-mini", "seed": 5, "max_history": 8, "decoding": {"top_p": 0.9, ...},
     "interrupted": [3], "attempts": {"5": 2}}

whose `interrupted` and `attempts` go by the turn's index, and replies that were drawn again are the turn's
distractors. An export is the tree alone, as an object with a `format`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from convai.conversation.conversation import Conversation, ReplyTurn
from convai.conversation.saved_tree import conversation_of, decoding_of, whole_number
from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import as_list, as_object, sentences, wrong_replies

FORMAT: Final = "convai.conversation"
_EXAMPLE: Final = '{"format": "convai.conversation", "version": 1, "messages": []}'


def read_export(entry: dict[str, Any], where: str) -> tuple[Conversation, dict[str, Any]]:
    """The page's export: the conversation and its decoding settings. Raises DataError."""
    if entry.pop("format") != FORMAT:
        raise DataError(f"{where}: no exported conversation; it begins like {_EXAMPLE}")
    version = whole_number(entry.get("version"), f"{where}, version", 1)
    if version > 1:
        raise DataError(f"{where}: exported by a later convai (version {version}); update convai")
    settings = decoding_of(entry.pop("settings", {}), f"{where}, settings")
    conversation = conversation_of(entry, where)
    made: dict[str | None, int] = {}
    for message in conversation.messages:  # attempts were counted by the place in the tree
        if message.speaker == AGENT:
            number = made.setdefault(message.parent, 0)
            made[message.parent] += 1
            conversation.number(message, number)
    return conversation, settings


def read_chat(
    entry: Mapping[str, Any], labels: Mapping[str, Any], saved: Mapping[str, Any], where: str, place: str
) -> tuple[Dialog, dict[str, Any]]:
    """A chat of version 1, whose settings stand at `place`, by their names there. Raises DataError."""
    history = saved.get("max_history")
    values = {
        "decoding": decoding_of(saved.get("decoding"), f"{place}.decoding"),
        "max_history": None if history is None else whole_number(history, f"{place}.max_history"),
        "seed": whole_number(saved.get("seed"), f"{place}.seed", least=None),
        "model": str(saved.get("model") or ""),
    }
    stopped = as_list(saved.get("interrupted", []), place, "interrupted")
    interrupted = {whole_number(i, f"{place}.interrupted") for i in stopped}
    attempts = {
        _index(i, f"{place}.attempts"): whole_number(n, f"{place}.attempts")
        for i, n in as_object(saved.get("attempts", {}), f"{place}.attempts", '{"3": 1}').items()
    }
    return read_dialog(entry, labels, where, interrupted, attempts), values


def read_dialog(
    entry: Mapping[str, Any],
    labels: Mapping[str, Any],
    where: str,
    interrupted: set[int] = frozenset(),  # type: ignore[assignment]
    attempts: Mapping[int, int] | None = None,
) -> Dialog:
    """A dialogue of the jsonl format. Raises DataError, beginning with `where`."""
    turns = [
        _turn(item, f"{where}, turn {i + 1}", i in interrupted, (attempts or {}).get(i, 0))
        for i, item in enumerate(as_list(entry["turns"], where, "turns"))
    ]
    listed = as_list(entry.get("personas") or [], where, "personas")
    personas = [_persona(item, f"{where}, persona {i}") for i, item in enumerate(listed)]
    user, agent = [*personas, Persona(), Persona()][:2]
    id, source = (str(entry.get(key) or "") for key in ("id", "source"))
    return Dialog(tuple(turns), (user, agent), id, source, labels)


def _index(text: str, where: str) -> int:
    if not text.isdecimal():
        raise DataError(f"{where}: {json.dumps(text)[:40]} is not the index of a turn; use 0 or more")
    return int(text)


def _turn(value: object, where: str, interrupted: bool, attempt: int) -> Turn:
    said = as_object(value, where, '{"speaker": 0, "text": "hi"}')
    speaker = said.get("speaker")
    if isinstance(speaker, bool) or speaker not in (USER, AGENT):
        raise DataError(
            f"{where}: 'speaker' is {json.dumps(speaker)[:40]}; use 0 for the user, 1 for the agent"
        )
    text = check_text(said.get("text"), where)
    wrong = wrong_replies(said["distractors"], where) if "distractors" in said else ()
    if speaker == AGENT:
        return ReplyTurn(AGENT, text, wrong, attempt, interrupted)
    return Turn(USER, text, wrong)


def _persona(value: object, where: str) -> Persona:
    if isinstance(value, dict):
        name = value.get("name") or ""
        return Persona(
            sentences(value.get("sentences") or [], where), name and check_text(name, f"{where}, name")
        )
    return Persona(sentences(value, where))
