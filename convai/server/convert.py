"""What the store and the engine give, as the chat socket's values; what is kept of how a reply was drawn."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from msgspec.structs import replace

from convai.conversation.explain import Account as ContextAccount
from convai.conversation.group import NO_GROUP, Group
from convai.conversation.reply import Reply
from convai.core.dialog import AGENT, Persona, Turn
from convai.core.errors import SettingsError
from convai.core.safe_text import one_line
from convai.core.settings import DecodingConfig
from convai.core.settings_values import laid_over
from convai.engine import Finished, Token
from convai.server.protocol import ProtocolError
from convai.server.protocol.changes import Started
from convai.server.protocol.schema import build
from convai.server.protocol.values import (
    MOST_ADDED,
    MOST_CANDIDATES,
    Account,
    Added,
    Candidate,
    Message,
    PersonaCard,
    Siblings,
    Summary,
)
from convai.server.protocol.wire import parse_server
from convai.store import Conversation
from convai.store import Message as Kept
from convai.store import Summary as KeptSummary
from convai.text.insertions import Insertion

_MOST: Final = 1e9
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def bounded(value: float, most: float = _MOST) -> float:
    """A score or log probability within the protocol's range, and a number."""
    return -_MOST if math.isnan(value) else min(max(value, -_MOST), most)


def message_of(kept: Kept, *, request: str | None = None) -> Message:
    """A message of the tree; a reply names the request that it came of."""
    candidates, chosen = candidates_of(kept.details)
    asked = kept.details.get("request")
    named = asked if isinstance(asked, str) and _NAME.fullmatch(asked) else None
    return Message(
        id=kept.id,
        parent=kept.parent,
        role="agent" if kept.speaker == AGENT else "user",
        text=kept.text,
        status=kept.status,
        time=kept.created,
        siblings=Siblings(index=kept.index, count=kept.siblings, previous=kept.previous, next=kept.next),
        request=request or kept.request or named,
        candidates=candidates,
        chosen=chosen,
        marks=marks if isinstance(marks := kept.details.get("marks"), dict) else None,
        persona=kept.persona if kept.speaker == AGENT else 1,
    )


def turns_of(branch: Sequence[Kept], group: Group = NO_GROUP) -> list[Turn]:
    """A branch as turns; those of a group's members have their names."""
    if not group:
        return [Turn(kept.speaker, kept.text) for kept in branch]
    names = group.names
    return [
        Turn(kept.speaker, kept.text, name=names.get(kept.persona, "") if kept.speaker == AGENT else "")
        for kept in branch
    ]


def persona_card(persona: Persona) -> PersonaCard:
    """A persona as it goes over the wire."""
    return PersonaCard(sentences=persona.sentences, name=persona.name[:100].rstrip())


def persona_of(card: PersonaCard) -> Persona:
    """A persona from the wire."""
    return Persona(card.sentences, card.name)


def title_of(conversation: Conversation) -> str:
    """What a conversation is called: its title, or how it begins."""
    return conversation.title or conversation.opening


def summary_of(kept: KeptSummary) -> Summary:
    """A conversation in a list."""
    return Summary(
        id=kept.id,
        title=kept.title,
        persona=kept.persona[:100].rstrip(),
        preview=kept.preview,
        messages=kept.messages,
        updated=kept.updated,
    )


def decoding_of(conversation: Conversation, own: DecodingConfig) -> DecodingConfig:
    """A conversation's decoding settings over the model's own; those that no longer fit are left out."""
    try:
        return _laid_over(own, tuple((name, type(v), v) for name, v in conversation.settings.items()))
    except (SettingsError, TypeError):  # what JSON may hold and no setting does cannot be hashed
        return own


@functools.lru_cache(256)
def _laid_over(own: DecodingConfig, settings: tuple[tuple[str, type, object], ...]) -> DecodingConfig:
    """Remembered: a turn asks for what the turn before it asked for. With types, as 1 is not True."""
    return laid_over(own, {name: value for name, _, value in settings})


def details_of(reply: Reply) -> dict[str, Any]:
    """What is kept beside a reply, for `inspect`: its settings, its tokens, what it was chosen from.

    The seed is the conversation's: as a setting it gives this reply again.
    """
    end = None if reply.chosen is None else reply.finished[reply.chosen]
    candidate = 0 if end is None else end.candidate
    tokens = [token for token in reply.tokens if token.candidate == candidate]
    details: dict[str, Any] = {
        "settings": {**asdict(reply.request.config), "seed": reply.seed},
        "max_history": reply.max_history,
        "ids": [token.id for token in tokens] if end is None or tokens else list(end.ids),
        "logprobs": [bounded(token.logprob, 0.0) for token in tokens],
    }
    if any(token.alternatives for token in tokens):
        details["alternatives"] = [
            [[text, bounded(logprob, 0.0)] for text, logprob in token.alternatives] for token in tokens
        ]
    if reply.place.prefill:
        details["begun"] = reply.place.prefill
    if reply.read:
        details["read"] = {str(place): text for place, text in reply.read.items()}
    if reply.called:
        layout = reply.source.layout
        shown = {*layout.insertions, *layout.missing}
        details["called"] = [asdict(one) for one in reply.called if one in shown]
    if end is not None:
        details["reason"] = end.reason
        details["logprob"] = bounded(end.logprob, 0.0)
        details["chosen"] = reply.chosen
        details["candidates"] = [
            {"text": one.text, "score": bounded(one.score), "logprob": bounded(one.logprob, 0.0)}
            for one in reply.finished
        ]
    return details


def called_of(details: Mapping[str, Any]) -> tuple[Insertion, ...] | None:
    """What was added to the prompt of a reply; None where that is not known."""
    try:
        return tuple(
            Insertion(
                str(one["text"]),
                None if one["depth"] is None else int(one["depth"]),
                one_line(str(one["kind"]))[:100] or "other",
                bool(one.get("fades")),
                bool(one.get("ahead")),
                str(one.get("why", "")),
            )
            for one in details["called"][:MOST_ADDED]
        )
    except (KeyError, TypeError, ValueError, AttributeError, SettingsError):
        return None


def account_of(account: ContextAccount) -> dict[str, Any]:
    """What the context of a reply went to, as `inspected` tells it."""
    texts = [(one, False) for one in account.insertions] + [(one, True) for one in account.missing]
    return {
        "account": Account(
            positions=account.positions,
            tokens=dict(account.tokens),
            reply=account.reply,
            free=account.free,
            examples_left_out=account.examples_left_out,
        ),
        "added": tuple(
            Added(kind=one.kind, text=one.text, depth=one.depth, why=one.why, missing=missing)
            for one, missing in texts[:MOST_ADDED]
        ),
    }


def candidates_of(details: Mapping[str, Any]) -> tuple[tuple[Candidate, ...], int | None]:
    """The candidates in what is kept beside a reply, and the index of the chosen one.

    Details may come from an imported file: what does not read as such counts as nothing.
    """
    try:
        given = details.get("candidates", ())
        found: tuple[Candidate, ...] = tuple(
            build(Candidate, dict(one), "candidate") for one in given[:MOST_CANDIDATES]
        )
        chosen = details.get("chosen")
        return found, chosen if type(chosen) is int and 0 <= chosen < len(found) else None
    except (ProtocolError, TypeError, ValueError):
        return (), None


@dataclass(frozen=True, slots=True)
class DrawnReply:
    """How a reply was drawn: its tokens (those of the kept candidate), its end, the settings of its input."""

    ids: tuple[int, ...]
    tokens: tuple[Token, ...]
    """None after beam search."""
    end: Finished | None
    """None for a reply that was stopped."""
    decoding: DecodingConfig
    max_history: int | None
    prefill: str
    read: Mapping[int, str]
    """Turns that the model read in other words, by their place before the reply (-1: the last)."""


def drawn_of(details: Mapping[str, Any], own: DecodingConfig, vocabulary: int) -> DrawnReply | None:
    """What is kept beside a reply; None where it was not drawn here, or does not read as such."""
    try:
        ids = tuple(details["ids"])
        logprobs = [bounded(float(number), 0.0) for number in details["logprobs"]]
        history = details["max_history"]
        sound = all(type(id) is int and 0 <= id < vocabulary for id in ids)
        if not sound or len(logprobs) not in (0, len(ids)) or not (history is None or type(history) is int):
            return None
        others = details.get("alternatives") or [()] * len(logprobs)
        tokens = tuple(
            Token(0, id, "", logprob, tuple((str(text), bounded(float(n), 0.0)) for text, n in pairs[:10]))
            for id, logprob, pairs in zip(ids, logprobs, others, strict=False)
        )
        end = None
        if (reason := details.get("reason")) in ("stop", "length", "deadline"):
            end = Finished(0, ids, "", bounded(float(details["logprob"]), 0.0), 0.0, reason)
        decoding = laid_over(own, details["settings"])
        read = {int(place): str(text) for place, text in details.get("read", {}).items()}
        return DrawnReply(ids, tokens, end, decoding, history, str(details.get("begun", "")), read)
    except (KeyError, TypeError, ValueError, AttributeError, SettingsError):
        return None


def message_in(live: dict[str, Any], text: str) -> Message:
    """The reply that is being written, as far as it was shown."""
    started = parse_server(live["started"])
    assert isinstance(started, Started)
    return replace(started.message, text=text, status="streaming")
