"""Saved conversations: one line of the jsonl dialogue format, with the chat's settings in its labels.

So a saved conversation is a dialogue like any other: it can be checked, converted and trained on. What only
a chat needs to go on is under `labels.conversation`:

    {"version": 1, "model": "persona-mini", "seed": 5, "max_history": 8, "decoding": {"top_p": 0.9, ...},
     "interrupted": [3], "attempts": {"5": 2}}

`interrupted` and `attempts` (how often a reply was drawn again) go by the turn's index, from 0. Replies that
were drawn again stay with the turn as its distractors.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from convai.conversation.conversation import ReplyTurn
from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError, SettingsError
from convai.core.settings import DecodingConfig
from convai.core.settings_values import laid_over
from convai.text.corpora.building import as_list, as_object, kind, sentences, wrong_replies
from convai.text.corpora.files import atomic_text, lines
from convai.text.corpora.json_text import decode_line, dump

VERSION: Final = 1
KEY: Final = "conversation"
_EXAMPLE: Final = '{"turns": [{"speaker": 0, "text": "hi"}, {"speaker": 1, "text": "hello"}]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """What a chat needs to go on as it would have: how replies are drawn, from how much history."""

    decoding: DecodingConfig
    max_history: int | None
    seed: int
    """The seed in use, also where `decoding.seed` is None and it was drawn."""
    model: str = ""


def save_conversation(path: Path, dialog: Dialog, settings: ChatSettings) -> None:
    """Write the conversation, whole or not at all.

    Raises DataError where that is impossible, and where the file exists and is no conversation: a mistyped
    name must not cost anybody a file.
    """
    if path.exists() and not _is_saved(path):
        raise DataError(f"{path}: there is such a file, and it is no saved conversation; choose another name")
    replies = {i: turn for i, turn in enumerate(dialog.turns) if isinstance(turn, ReplyTurn)}
    conversation = {
        "version": VERSION,
        "model": settings.model,
        "seed": settings.seed,
        "max_history": settings.max_history,
        "decoding": dataclasses.asdict(settings.decoding),
        "interrupted": [i for i, turn in replies.items() if turn.interrupted],
        "attempts": {str(i): turn.attempt for i, turn in replies.items() if turn.attempt},
    }
    entry: dict[str, Any] = {
        **({"id": dialog.id} if dialog.id else {}),
        **({"source": dialog.source} if dialog.source else {}),
        "personas": [_persona_entry(persona) for persona in dialog.personas],
        "turns": [_turn_entry(turn) for turn in dialog.turns],
        "labels": {**dialog.labels, KEY: conversation},
    }
    line = dump(entry, str(path))
    with atomic_text(path) as out:
        out.write(line + "\n")


def _is_saved(path: Path) -> bool:
    try:
        return load_conversation(path)[1] is not None
    except DataError:
        return False


def _persona_entry(persona: Persona) -> dict[str, Any] | list[str]:
    listed = list(persona.sentences)
    return {"name": persona.name, "sentences": listed} if persona.name else listed


def _turn_entry(turn: Turn) -> dict[str, Any]:
    wrong = {"distractors": list(turn.distractors)} if turn.distractors else {}
    return {"speaker": turn.speaker, "text": turn.text, **wrong}


def load_conversation(path: Path) -> tuple[Dialog, ChatSettings | None]:
    """The conversation in a file, and its settings: None for a dialogue that was not saved by a chat.

    Raises DataError, naming file and line, for anything that is not one dialogue in the jsonl format, or was
    saved by a later version.
    """
    filled = ((number, text) for number, text in lines(path) if text.strip())
    number, text = next(filled, (0, ""))
    if not number:
        raise DataError(f"{path}: the file is empty; name a saved conversation")
    where = f"{path}:{number}"
    entry = as_object(decode_line(text, where), where, _EXAMPLE)
    if second := next(filled, None):
        raise DataError(f"{path}:{second[0]}: a second dialogue; a conversation is a file of one line")
    if "turns" not in entry:
        raise DataError(f"{where}: no 'turns', so no conversation; it begins like {_EXAMPLE}")
    labels = as_object(entry.get("labels") or {}, f"{where}, labels", '{"topic": "food"}')
    saved = labels.pop(KEY, None)
    settings, marks = (None, _Marks()) if saved is None else _settings(saved, f"{where}, labels.{KEY}")
    turns = [
        _turn(item, f"{where}, turn {i + 1}", marks.interrupted.get(i, False), marks.attempts.get(i, 0))
        for i, item in enumerate(as_list(entry["turns"], where, "turns"))
    ]
    listed = as_list(entry.get("personas") or [], where, "personas")
    personas = [_persona(item, f"{where}, persona {i}") for i, item in enumerate(listed)]
    user, agent = [*personas, Persona(), Persona()][:2]
    id, source = (str(entry.get(key) or "") for key in ("id", "source"))
    return Dialog(tuple(turns), (user, agent), id, source, labels), settings


@dataclass(frozen=True, slots=True)
class _Marks:
    interrupted: Mapping[int, bool] = dataclasses.field(default_factory=dict)
    attempts: Mapping[int, int] = dataclasses.field(default_factory=dict)


def _settings(value: object, where: str) -> tuple[ChatSettings, _Marks]:
    saved = as_object(value, where, '{"version": 1, "seed": 5, "max_history": 8, "decoding": {}}')
    version = _whole(saved.get("version"), f"{where}.version")
    if version > VERSION:
        raise DataError(
            f"{where}: saved by a later convai (version {version}, known is {VERSION}); update convai"
        )
    history = saved.get("max_history")
    try:
        decoding = laid_over(
            DecodingConfig(), as_object(saved.get("decoding"), f"{where}.decoding", '{"top_p": 0.9}')
        )
    except SettingsError as error:
        raise DataError(f"{where}.decoding: {error}") from None
    settings = ChatSettings(
        decoding=decoding,
        max_history=None if history is None else _whole(history, f"{where}.max_history"),
        seed=_whole(saved.get("seed"), f"{where}.seed", least=None),
        model=str(saved.get("model") or ""),
    )
    stopped = as_list(saved.get("interrupted", []), where, "interrupted")
    attempts = as_object(saved.get("attempts", {}), f"{where}.attempts", '{"3": 1}')
    return settings, _Marks(
        {_whole(i, f"{where}.interrupted"): True for i in stopped},
        {_index(i, f"{where}.attempts"): _whole(n, f"{where}.attempts") for i, n in attempts.items()},
    )


def _index(text: str, where: str) -> int:
    if not text.isdecimal():
        raise DataError(f"{where}: {json.dumps(text)[:40]} is not the index of a turn; use 0 or more")
    return int(text)


def _whole(value: object, where: str, least: int | None = 0) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least):
        return value
    found = value if isinstance(value, int | float) else kind(value)
    raise DataError(f"{where} is {found}; use a whole number{'' if least is None else f', {least} or more'}")


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
