"""Saved conversations, of the terminal and of the page alike: one line of the jsonl dialogue format.

So a saved conversation is a dialogue like any other: what is shown of it can be checked, converted and
trained on. The whole of it, every branch and what a chat needs to go on, is under `labels.conversation`:

    {"version": 2, "title": "", "created": 0, "updated": 0, "model": "persona-mini",
     "settings": {"top_p": 0.9}, "seed": 5, "max_history": 8, "persona": 1, "leaf": "b",
     "personas": [{"version": 1, "name": "Ann", "sentences": ["i bake bread."]}],
     "messages": [{"id": "a", "parent": null, "speaker": 0, "text": "hi"},
                  {"id": "b", "parent": "a", "speaker": 1, "text": "hello", "status": "complete",
                   "attempt": 0, "persona": 1, "created": 0, "details": {}}]}

Every message stands behind its parent; the ids are names inside the file. Where the dialogue's turns say
something else than the branch up to `leaf`, that branch counts. `saved_before` reads what earlier versions
wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import Any, Final

from convai.conversation import saved_before, saved_tree
from convai.conversation.conversation import Conversation
from convai.conversation.foreign import is_foreign, read_foreign
from convai.core.dialog import Persona, Turn
from convai.core.errors import DataError
from convai.core.files import atomic_text
from convai.core.text_files import lines
from convai.text.corpora.building import as_object
from convai.text.corpora.json_text import decode_line, dump

VERSION: Final = 2
KEY: Final = "conversation"
MAX_FILE: Final = 32 * 2**20
"""Characters of a conversation."""
_EXAMPLE: Final = '{"turns": [{"speaker": 0, "text": "hi"}, {"speaker": 1, "text": "hello"}]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """What a chat needs to go on as it would have: how replies are drawn, from how much history."""

    decoding: Mapping[str, Any]
    """Decoding settings by name, over those of the model."""
    max_history: int | EllipsisType | None = ...
    """Exchanges; ...: the model's own."""
    seed: int | None = None
    """The seed in use, also where it was drawn; None: another one for every reply."""
    model: str = ""


def save_conversation(path: Path, conversation: Conversation, settings: ChatSettings) -> None:
    """Write a conversation, whole or not at all.

    Raises DataError where that is impossible, and where the file exists and is no conversation: a mistyped
    name must not cost anybody a file.
    """
    if path.exists() and not _is_saved(path):
        raise DataError(f"{path}: there is such a file, and it is no saved conversation; choose another name")
    text = dumps(conversation, settings, str(path))
    with atomic_text(path) as out:
        out.write(text)


def dumps(conversation: Conversation, settings: ChatSettings, where: str = "conversation") -> str:
    """The line of a file. Raises DataError, beginning with `where`, for labels that JSON cannot hold."""
    dialog = conversation.dialog
    told = {} if isinstance(settings.max_history, EllipsisType) else {"max_history": settings.max_history}
    whole = {
        "version": VERSION,
        "model": settings.model,
        "settings": dict(settings.decoding),
        "seed": settings.seed,
        **told,
        **saved_tree.entry_of(conversation),
    }
    entry: dict[str, Any] = {
        **({"id": dialog.id} if dialog.id else {}),
        **({"source": dialog.source} if dialog.source else {}),
        "personas": [_persona_entry(persona) for persona in dialog.personas],
        "turns": [_turn_entry(turn) for turn in dialog.turns],
        "labels": {**dialog.labels, KEY: whole},
    }
    return dump(entry, where) + "\n"


def loads(text: str, where: str) -> tuple[Conversation, ChatSettings | None]:
    """The conversation that `text` is, and its settings: None for a dialogue that was not saved by a chat.

    SillyTavern's chats and ChatGPT's export are read, too (`foreign`).

    Raises DataError, beginning with `where` and the place, for anything else, or a later version.
    """
    if len(text) > MAX_FILE:
        raise DataError(f"{where}: over {MAX_FILE:,} characters; is this a conversation?")
    if (other := read_foreign(text, where)) is not None:
        return other, None
    entry = as_object(decode_line(text.removeprefix("\ufeff"), where), where, _EXAMPLE)
    if "format" in entry:
        conversation, decoding = saved_before.read_export(entry, where)
        return conversation, ChatSettings(decoding=decoding)
    if "turns" not in entry:
        raise DataError(f"{where}: no 'turns', so no conversation; it begins like {_EXAMPLE}")
    labels = as_object(entry.get("labels") or {}, f"{where}, labels", '{"topic": "food"}')
    saved = labels.pop(KEY, None)
    if saved is None:
        dialog = saved_before.read_dialog(entry, labels, where)
        return Conversation.of_dialog(dialog), None
    place = f"{where}, labels.{KEY}"
    whole = as_object(saved, place, '{"version": 2, "settings": {}, "messages": []}')
    version = saved_tree.whole_number(whole.get("version"), f"{place}.version")
    if version > VERSION:
        raise DataError(
            f"{place}: saved by a later convai (version {version}, known is {VERSION}); update convai"
        )
    if version < VERSION:
        dialog, values = saved_before.read_chat(entry, labels, whole, where, place)
        return Conversation.of_dialog(dialog), ChatSettings(**values)
    history, seed = whole.pop("max_history", ...), whole.pop("seed", None)
    settings = ChatSettings(
        decoding=saved_tree.decoding_of(whole.pop("settings", {}), f"{place}, settings"),
        max_history=history
        if history is None or isinstance(history, EllipsisType)
        else saved_tree.whole_number(history, f"{place}.max_history"),
        seed=None if seed is None else saved_tree.whole_number(seed, f"{place}.seed", least=None),
        model=str(whole.pop("model", None) or ""),
    )
    conversation = saved_tree.conversation_of(whole, place)
    dialog = saved_before.read_dialog({**entry, "turns": []}, labels, where)
    conversation.about, conversation.partner = dialog, dialog.personas[0]
    return conversation, settings


def load_conversation(path: Path) -> tuple[Conversation, ChatSettings | None]:
    """The conversation in a file; see `loads`. Raises DataError, naming file and line."""
    filled = ((number, text) for number, text in lines(path) if text.strip())
    number, text = next(filled, (0, ""))
    if not number:
        raise DataError(f"{path}: the file is empty; name a saved conversation")
    # an indented file of the page's, or one of another program with a message a line
    if text.strip() in ("{", "[") or is_foreign(text):
        size = len(text)
        parts = [text]
        for _, line in filled:
            size += len(line)
            parts.append(line)
            if size > MAX_FILE:
                break
        return loads("\n".join(parts), str(path))
    found = loads(text, f"{path}:{number}")
    if second := next(filled, None):
        raise DataError(f"{path}:{second[0]}: a second dialogue; a conversation is a file of one line")
    return found


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
