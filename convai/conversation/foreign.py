"""Conversations that other programs saved, as trees: SillyTavern's chats with their swipes, ChatGPT's export.

SillyTavern writes a header, with the author's note in its `chat_metadata`, then a message a line (`name`,
`is_user`, `mes`, `swipes`). ChatGPT's export (`conversations.json`) is a list of conversations
(`convai.text.corpora.chatgpt`). Branches are kept, and who was spoken with; what a system or a tool said is
left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from convai.conversation.cast import MAX_DEPTH, MAX_NOTE, NO_NOTE, Note
from convai.conversation.conversation import Conversation, Message
from convai.conversation.group import MOST_MEMBERS, Member
from convai.core.dialog import AGENT, MAX_UTTERANCE_CHARS, USER, Persona
from convai.core.errors import DataError
from convai.core.safe_text import kept_lines, one_line
from convai.text.corpora.chatgpt import is_export, read_export

MAX_MESSAGES: Final = 20_000
_ROLES: Final = {"user": USER, "assistant": AGENT}
_IN_CHAT: Final = 1
"""SillyTavern's `note_position` of a note at a depth."""
_MARKS: Final = ('"character_name"', '"chat_metadata"', '"is_user"', '"mapping"')
"""One of them stands near the begin of every such file."""
_NEAR: Final = 20_000


def is_foreign(begin: str) -> bool:
    """Whether a file that begins so may be another program's."""
    return any(mark in begin[:_NEAR] for mark in _MARKS)


def read_foreign(text: str, where: str) -> Conversation | None:
    """The conversation in a file of another program; None where the file is none of theirs.

    Raises DataError, beginning with `where`, where it holds none, or several.
    """
    if not is_foreign(text):
        return None
    first, _, rest = text.lstrip("\ufeff \r\n").partition("\n")
    header = _object(first)
    if header is not None and ({"chat_metadata", "character_name"} & header.keys() or _is_message(header)):
        return _sillytavern([header, *_lines(rest)], where)
    try:
        found = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None
    listed = found if isinstance(found, list) else [found]
    several = [one for one in listed if is_export(one)]
    if not several:
        return None
    if len(several) > 1:
        raise DataError(
            f"{where}: {len(several):,} conversations; import it on the page, which takes them all"
        )
    return _chatgpt(several[0], where)


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.split("\n"):
        if (found := _object(line)) is not None:
            yield found


def _is_message(entry: Mapping[str, Any]) -> bool:
    return "mes" in entry and "is_user" in entry


def _sillytavern(entries: list[dict[str, Any]], where: str) -> Conversation:
    header = {} if _is_message(entries[0]) else entries[0]
    said = [entry for entry in entries if _is_message(entry) and not entry.get("is_system")]
    speaker = next((entry.get("name") for entry in said if not entry.get("is_user")), "")
    talk = Conversation(_called(header.get("character_name") or speaker), _called(header.get("user_name")))
    talk.note = _note(header.get("chat_metadata"))
    versions = _gather(talk, said)
    _check_count(len(said), where)
    for number, entry in enumerate(said):
        who = USER if entry.get("is_user") else AGENT
        shown = _text(entry.get("mes"))
        swipes = [_text(one) for one in entry.get("swipes") or () if isinstance(one, str)]
        texts = list(dict.fromkeys(text for text in (*swipes, shown) if text))
        if not shown:
            continue
        parent = talk.leaf
        for attempt, text in enumerate(texts):
            _keep(talk, f"{number}.{attempt}", parent, who, text, attempt if who == AGENT else 0)
            if who == AGENT and (version := versions.get(_called(entry.get("name")).name.casefold())):
                talk.keep(replace(talk.messages[-1], persona=version))
        talk.leaf = f"{number}.{texts.index(shown)}"
    return _checked(talk, where)


def _gather(talk: Conversation, said: list[dict[str, Any]]) -> dict[str, int]:
    """Make it a group's where several characters speak; the version of the persona of each name."""
    spoken = (_called(entry.get("name")).name for entry in said if not entry.get("is_user"))
    names = {name.casefold(): name for name in spoken if name}
    if not 1 < len(names) <= MOST_MEMBERS:
        return {}
    for version, name in enumerate(names.values(), 1):
        talk.group = talk.group.with_member(Member(version, name))
        talk.personas[version] = Persona((), name)
    user = next((entry.get("name") for entry in said if entry.get("is_user")), "")
    talk.partner = _called(user)
    return {name: version for version, name in enumerate(names, 1)}


def _note(metadata: object) -> Note:
    """SillyTavern's author's note: at a depth, or (`note_position` 0 and 2) ahead of all that was said.

    An interval of 0 switches it off; another says how often it is put anew, which here follows its depth.
    """
    told: Mapping[str, Any] = metadata if isinstance(metadata, dict) else {}
    text, depth = told.get("note_prompt"), told.get("note_depth", 4)
    if not isinstance(text, str) or not text.strip() or told.get("note_interval", 1) == 0:
        return NO_NOTE
    if told.get("note_position", 1) != _IN_CHAT:
        depth = MAX_DEPTH
    sound = isinstance(depth, int) and not isinstance(depth, bool)
    return Note(text.strip()[:MAX_NOTE], min(max(depth, 0), MAX_DEPTH) if sound else 4)


def _chatgpt(entry: Mapping[str, Any], where: str) -> Conversation:
    _check_count(len(entry["mapping"]), where)
    export = read_export(entry)
    talk = Conversation(_called(""))
    title = entry.get("title")
    talk.title = one_line(title)[:200] if isinstance(title, str) else ""
    kept: dict[str | None, str | None] = {None: None}  # a message → the one that it is here, or comes after
    drawn: dict[str | None, int] = {}
    for said in export.messages.values():
        parent = kept[said.parent]
        text = _text(said.text)
        if said.role not in _ROLES or not text:
            kept[said.id] = parent
            continue
        attempt = 0
        if _ROLES[said.role] == AGENT:
            attempt = drawn.get(parent, 0)
            drawn[parent] = attempt + 1
        _keep(talk, said.id, parent, _ROLES[said.role], text, attempt, _milliseconds(said.created))
        kept[said.id] = said.id
    talk.leaf = kept[export.leaf]
    return _checked(talk, where)


def _text(text: object) -> str:
    return kept_lines(text)[:MAX_UTTERANCE_CHARS].strip() if isinstance(text, str) else ""


def _called(name: object) -> Persona:
    return Persona((), one_line(name)[:100] if isinstance(name, str) else "")


def _milliseconds(seconds: object) -> int:
    if isinstance(seconds, int | float) and math.isfinite(seconds) and 0 < seconds < 1e11:
        return int(1000 * seconds)
    return 0


def _keep(
    talk: Conversation, id: str, parent: str | None, speaker: int, text: str, attempt: int, created: int = 0
) -> None:
    talk.keep(
        Message(id=id, parent=parent, speaker=speaker, text=text, attempt=attempt, persona=1, created=created)
    )
    talk.leaf = id


def _check_count(count: int, where: str) -> None:
    if count > MAX_MESSAGES:
        raise DataError(f"{where}: {count:,} messages; at most {MAX_MESSAGES:,}")


def _checked(talk: Conversation, where: str) -> Conversation:
    if not talk.messages:
        raise DataError(f"{where}: nobody says anything in it; export a conversation that has messages")
    return talk
