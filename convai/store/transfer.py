"""A stored conversation as one in memory, to be written to a file, and rows for the tables from one.

The file is `convai.conversation.saved`'s, the same as the terminal's; the plain text is convai's plain text
format, so it can be trained on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from convai.conversation.conversation import Conversation as Talk
from convai.conversation.conversation import Message as Said
from convai.conversation.saved import MAX_FILE, ChatSettings
from convai.conversation.staging import NOTHING_STAGED, Staging
from convai.core.dialog import AGENT, Persona
from convai.core.errors import DataError
from convai.core.safe_text import one_line
from convai.store.records import COMPLETE, INTERRUPTED, Conversation, Message
from convai.text.corpora.plain_text import parse_text


def to_talk(
    conversation: Conversation,
    personas: Mapping[int, Persona],
    tree: Iterable[Message],
    staging: Staging = NOTHING_STAGED,
) -> Talk:
    """The whole conversation, every branch. A reply that is being written counts as interrupted."""
    talk = Talk(conversation.persona, staging.partner)
    talk.characters = dict(staging.characters)
    talk.note, talk.books, talk.group = staging.note, staging.books, staging.group
    talk.personas, talk.version = dict(personas), conversation.persona_version
    talk.title, talk.created, talk.updated = conversation.title, conversation.created, conversation.updated
    drawn: Counter[str | None] = Counter()
    kept = set()
    for message in tree:
        if not message.text:
            continue
        attempt = drawn[message.parent]
        drawn[message.parent] += message.speaker == AGENT
        kept.add(message.id)
        talk.keep(
            Said(
                id=message.id,
                parent=message.parent,
                speaker=message.speaker,
                text=message.text,
                attempt=attempt if message.speaker == AGENT else 0,
                interrupted=message.status != COMPLETE,
                persona=message.persona,
                created=message.created,
                details=message.details,
            )
        )
    talk.leaf = conversation.leaf if conversation.leaf in kept else None
    return talk


def staging_of(talk: Talk) -> Staging:
    """What is kept of a conversation beside persona and turns."""
    return Staging(talk.characters, talk.partner, talk.note, talk.books, talk.group)


def settings_of(settings: ChatSettings | None) -> dict[str, Any]:
    """What a stored conversation keeps of a chat's settings; a seed that was drawn stays the one in use."""
    if settings is None:
        return {}
    return dict(settings.decoding) | ({} if settings.seed is None else {"seed": settings.seed})


def to_text(persona: Persona, branch: Iterable[Message]) -> str:
    """The branch as plain text: `persona:` lines, then `user:` and `agent:` lines."""
    lines = [f"persona: {sentence}" for sentence in persona.sentences]
    lines += [f"{'agent' if m.speaker == AGENT else 'user'}: {one_line(m.text)}" for m in branch if m.text]
    return "".join(f"{line}\n" for line in lines)


def from_text(text: str, where: str) -> Talk:
    """A conversation from plain text; see convai.text.corpora.plain_text. Raises DataError with the line."""
    if len(text) > MAX_FILE:
        raise DataError(f"{where}: over {MAX_FILE:,} characters; is this a conversation?")
    return Talk.of_dialog(parse_text(text, where))


def rows(
    conversation: str, ids: Mapping[str, str], messages: Sequence[Said], now: int
) -> Iterator[dict[str, object]]:
    """Rows for the table of messages, which get new `ids`; those without a time get `now`."""
    for number, message in enumerate(messages, 1):
        yield {
            "id": ids[message.id],
            "conversation": conversation,
            "parent": None if message.parent is None else ids[message.parent],
            "number": number,
            "speaker": message.speaker,
            "text": message.text,
            "status": INTERRUPTED if message.interrupted else COMPLETE,
            "writer": None,
            "persona": message.persona,
            "details": json.dumps(dict(message.details)),
            "request": None,
            "created": message.created or now,
        }
