"""Links of a chat: read beside it, shown by /coref, never in its way."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from convai.conversation.links import LinkReader
from convai.conversation.session import Session
from convai.core.dialog import USER, Turn
from convai.core.errors import CheckpointError, ConvaiError
from convai.coref.chat import Linked
from convai.terminal import slash
from convai.terminal.chat import Chat
from convai.terminal.screen import Screen
from convai.text.personas import PersonaDeck
from tests.chatting import ScriptedEngine, tiny_agent


class Reader:
    def __init__(self) -> None:
        self.prepared: list[Turn] = []

    def __call__(self, turns: list[Turn]) -> list[Linked]:
        mentions = tuple((i, 0, 2) for i, turn in enumerate(turns) if turn.text.startswith("hi"))
        return [Linked("hi", mentions)] if len(mentions) > 1 else []

    def prepare(self, turn: Turn) -> None:
        self.prepared.append(turn)

    def resolved(self, turns: list[Turn]) -> list[Turn]:
        return [Turn(turn.speaker, turn.text.replace("she", "Ann")) for turn in turns]


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*args: object) -> Any:
        raise error

    return fail


def chat(links: LinkReader | None, *lines: str) -> str:
    out = io.StringIO()
    session = Session(tiny_agent(), ScriptedEngine("hi you", "bye"))  # type: ignore[arg-type]
    session.on_turn = links
    talk = Chat(session, PersonaDeck((), 0), Screen(out), None, slash.execute, None, links)  # type: ignore[arg-type]
    for line in lines:
        talk.handle(line)
    if links is not None:
        links.close()
    return out.getvalue()


def test_coref_shows_who_said_what_of_whom() -> None:
    shown = chat(LinkReader(Reader), "hi there", "/coref", "hi again", "/coref")  # type: ignore[arg-type]
    assert (
        "hi  you\N{NO-BREAK SPACE}1:\N{NO-BREAK SPACE}hi, bot\N{NO-BREAK SPACE}2:\N{NO-BREAK SPACE}hi"
        in shown
    )
    assert "you\N{NO-BREAK SPACE}3:\N{NO-BREAK SPACE}hi" in shown


def test_coref_says_why_there_is_nothing() -> None:
    assert "nothing was said yet" in chat(LinkReader(Reader), "/coref")  # type: ignore[arg-type]
    assert "nobody and nothing was named twice" in chat(LinkReader(Reader), "yo", "/coref", "x")  # type: ignore[arg-type]
    assert "in 'convai chat' only" in chat(None, "/coref")
    missing = LinkReader(failing(CheckpointError("no parser; install it")))
    assert "no parser; install it" in chat(missing, "hi", "/coref")
    broken = LinkReader(failing(ValueError("odd")))
    assert "coreference failed (ValueError: odd)" in chat(broken, "hi", "/coref")


def test_nothing_is_loaded_before_somebody_asks_and_then_turns_are_parsed_ahead() -> None:
    loaded: list[Reader] = []

    def load() -> Reader:
        loaded.append(Reader())
        return loaded[0]

    links = LinkReader(load)  # type: ignore[arg-type]
    first, second = Turn(USER, "a"), Turn(USER, "b")
    links(first)
    assert loaded == []
    links.of([first])
    links(second)
    links.of([first])  # the worker takes one after the other
    assert [one.prepared for one in loaded] == [[second]]
    links.close()
    with pytest.raises((ConvaiError, RuntimeError)):
        links.of([first])


def test_loading_at_once_tells_what_is_missing() -> None:
    LinkReader(Reader).load()  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="no model"):
        LinkReader(failing(CheckpointError("no model"))).load()


def test_the_history_is_resolved_or_stays_as_it_is() -> None:
    turns = [Turn(USER, "she is here")]
    links = LinkReader(Reader)  # type: ignore[arg-type]
    assert links.resolved(turns) == [Turn(USER, "Ann is here")]
    links.close()
    for error in (CheckpointError("no model"), RuntimeError("broken")):
        links = LinkReader(failing(error))
        assert links.resolved(turns) == turns
        links.close()
