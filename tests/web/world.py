"""A small chat server for the page's tests: the protocol's own classes, scripted replies, no model, no disk.

A World holds the conversations and outlives the servers that show it, as a database does. Replies are "You
said TEXT, and so on." word by word; `world.gate` holds them back behind their third token until it is opened.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from msgspec.structs import replace

from convai.core.settings import DecodingConfig
from convai.server.protocol import Limits, ReplayBuffer
from convai.server.protocol.changes import Change, Path, State
from convai.server.protocol.values import (
    BookCard,
    Candidate,
    CharacterCard,
    InputRow,
    MemoryFact,
    Message,
    PersonaCard,
    Scene,
    Siblings,
    Summary,
)

SAMPLE = PersonaCard(name="Ann", sentences=("i am a nurse.", "i have two dogs."))


class Gate:
    """Open, or shut until a test opens it. Waited for in the server's loop, moved by the test's thread."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        while not self._open.is_set():  # the test's thread opens it: nothing to await
            await asyncio.sleep(0.005)


@dataclass
class Conversation:
    """A tree of messages and its current branch; `buffer` is this server's numbering of what happens."""

    id: str
    persona: PersonaCard
    settings: dict[str, Any]
    title: str = ""
    scene: Scene = field(default_factory=Scene)
    tree: dict[str, Message] = field(default_factory=dict)
    leaf: str | None = None
    buffer: ReplayBuffer | None = None
    readers: set[asyncio.Queue[str]] = field(default_factory=set)
    writing: asyncio.Task[None] | None = None

    def branch(self, leaf: str | None) -> tuple[Message, ...]:
        found = []
        while leaf is not None:
            found.append(self.shown(self.tree[leaf]))
            leaf = self.tree[leaf].parent
        return tuple(reversed(found))

    def shown(self, message: Message) -> Message:
        beside = [one.id for one in self.tree.values() if one.parent == message.parent]
        at = beside.index(message.id)
        siblings = Siblings(
            index=at,
            count=len(beside),
            previous=beside[at - 1] if at else None,
            next=beside[at + 1] if at + 1 < len(beside) else None,
        )
        return replace(message, siblings=siblings)

    def path_to(self, leaf: str | None, keep: str | None) -> Path:
        """The change that makes `leaf` the end; `keep` is on the new and on the old branch."""
        branch = self.branch(leaf)
        ids = [message.id for message in branch]
        self.leaf = leaf
        return Path(keep=keep, messages=branch[ids.index(keep) + 1 if keep else 0 :])

    def latest_under(self, id: str) -> str:
        while below := [one.id for one in self.tree.values() if one.parent == id]:
            id = below[-1]
        return id

    def tell(self, change: Change) -> None:
        assert self.buffer is not None
        frame = self.buffer.append(change)
        for queue in self.readers:
            queue.put_nowait(frame.text)

    def state(self) -> State:
        assert self.buffer is not None
        return State(
            n=self.buffer.last,
            stream=self.buffer.stream,
            conversation=self.id,
            title=self.title,
            persona=self.persona,
            settings=self.settings,
            messages=self.branch(self.leaf),
            scene=self.scene,
        )

    def summary(self) -> Summary:
        texts = [message.text for message in self.branch(self.leaf)]
        return Summary(
            id=self.id,
            title=self.title or (texts[0] if texts else ""),
            persona=self.persona.name,
            preview=texts[-1] if texts else "",
            messages=len(texts),
            updated=1_767_225_600_000,
        )


class World:
    """What a database would hold, and what a test may turn."""

    def __init__(self) -> None:
        self.conversations: dict[str, Conversation] = {}
        self.answered: dict[str, dict[str, Any]] = {}
        """Request → what `accepted` said: done once, however often it is sent."""
        self.gate = Gate()
        self.limits = Limits()
        self.token: str | None = None
        self.overloaded = 0
        """So many `send` are refused as `overloaded` before one is taken."""
        self.sends: list[str] = []
        """Every `send` frame's request, repeated ones too."""
        self.tokens_computed = 0
        self.facts: list[MemoryFact] = []
        self.characters: dict[str, CharacterCard] = {}
        self.books: dict[str, BookCard] = {}
        self.you: dict[str, dict[str, Any]] = {}
        self.remembers = True
        self.reads = False
        """Whether moods and links between words are told behind a reply."""
        self._ids = itertools.count(1)

    def new_id(self, letter: str) -> str:
        return f"{letter}{next(self._ids)}"

    def settings(self) -> dict[str, Any]:
        return asdict(DecodingConfig())

    def restart(self) -> None:
        """What was being written when a server died stays as far as it was; numbers begin anew."""
        for one in self.conversations.values():
            one.buffer, one.writing, one.readers = None, None, set()
            for id, message in list(one.tree.items()):
                if message.status == "streaming":
                    one.tree[id] = replace(message, status="interrupted")


def reply_tokens(text: str) -> list[str]:
    """What is said to `text`, token by token."""
    return [*f"You said {text},".replace(" ", "\0 ").split("\0"), " and", " so", " on", "."]


def rows_of(conversation: Conversation, reply: Message) -> Iterator[InputRow]:
    """The input of a reply in the manner of the blog post: persona, history, reply; a word is a token."""
    position = itertools.count()

    def rows(part: Any, item: int, segment: str, words: list[str]) -> Iterator[InputRow]:
        for word in words:
            drawn = part == "reply" and word != "<speaker2>"
            yield InputRow(
                id=sum(map(ord, word)),
                text=word,
                position=next(position),
                segment=segment,
                part=part,
                item=item,
                logprob=-0.1 * (1 + len(word) % 24) if drawn else None,
                alternatives=((word, -0.1 * (1 + len(word) % 24)), (" maybe", -2.5), (" no", -3.2))
                if drawn
                else (),
            )

    for i, sentence in enumerate(conversation.persona.sentences):
        words = ["<bos>", *sentence.split()] if i == 0 else sentence.split()
        yield from rows("persona", i, "<speaker2>", [w if w == "<bos>" else f" {w}" for w in words])
    branch = conversation.branch(reply.parent)
    for i, message in enumerate(branch):
        segment = "<speaker1>" if message.role == "user" else "<speaker2>"
        yield from rows("history", i, segment, [segment, *(f" {word}" for word in message.text.split())])
    yield from rows("reply", 0, "<speaker2>", ["<speaker2>", *(f" {word}" for word in reply.text.split())])


def mood_of(text: str) -> dict[str, Any]:
    """Marks of the kind `emotion`: the longest word got the most attention."""
    words = text.split()
    total = sum(len(word) for word in words)
    return {
        "emoji": [["❤", 0.41], ["🐶", 0.2], ["😀", 0.1]],
        "emotions": {"neutral": 0.1, "love": 0.62, "joy": 0.2, "anger": 0.01, "fear": 0.005},
        "words": words,
        "attention": [round(len(word) / total, 4) for word in words],
    }


def links_of(branch: tuple[Message, ...]) -> dict[str, Any]:
    """Marks of the kind `coref`: "my sister" and "she" are one, "my sister's dog" and "he"."""
    clusters = []
    for main, words in (
        ("my sister", r"my sister|\bshe\b|\bher\b"),
        ("my sister's dog", r"my sister's dog|\bhe\b"),
    ):
        spans = {
            one.id: found
            for one in branch
            if (found := [[m.start(), m.end()] for m in re.finditer(words, one.text)])
        }
        if sum(map(len, spans.values())) > 1:
            clusters.append({"main": main, "spans": spans})
    return {"clusters": clusters}


def candidates_of(text: str, count: int) -> tuple[Candidate, ...]:
    """`count` replies, the first one `text` with the best score."""
    others = (Candidate(text=f"Reply number {i}.", score=1.5 - i, logprob=-9.0 - i) for i in range(1, count))
    return (Candidate(text=text, score=2.31, logprob=-6.2), *others)
