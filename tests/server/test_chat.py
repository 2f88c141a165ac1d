"""The chat socket: what a session can do, with a real client on a real server."""

from __future__ import annotations

import asyncio

import pytest

from convai.conversation.session import Session
from convai.engine import Event, Request, Stream
from convai.engine.engine import Engine
from convai.engine.job import Job
from convai.engine.mailbox import Parcel
from convai.server.protocol import Change
from convai.server.protocol.answers import Accepted
from convai.server.protocol.changes import FinishedReply, Path, Started, State, TokenDrawn
from convai.server.room import Room
from convai.server.writing import Writing
from convai.store.change_records import DrawnToken
from tests.chatting import NURSE
from tests.server.serving import Chat, Running

LONG = {"max_length": 300, "min_length": 300, "no_repeat_ngram": 0, "no_repeat_own_ngram": 0}


def test_a_turn_is_acknowledged_streamed_and_kept(server: Running, chat: Chat) -> None:
    id = chat.new(settings={"seed": 3})
    sent = chat.done("send", text="  hi  there ")
    begun = len(chat.frames)
    reply = chat.reply()
    kinds = [type(frame) for frame in chat.frames[begun - 1 :]]
    assert kinds[:3] == [Accepted, Path, Started]
    assert kinds[3:-1] == [TokenDrawn] * (len(kinds) - 4)
    assert kinds[-1] is FinishedReply
    assert [m.id for m in chat.view.messages] == [sent.message, reply.id]
    assert chat.shown == ["hi there", reply.text]
    assert "".join(f.text for f in chat.frames if isinstance(f, TokenDrawn)) == reply.text
    kept, _ = server.store.branch("local", id)
    assert [(m.id, m.text, m.status) for m in kept] == [
        (sent.message, "hi there", "complete"),
        (reply.id, reply.text, "complete"),
    ]


def draw_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tokens of a reply come together."""
    step = Engine.arriving_parcel

    async def whole(engine: Engine, job: Job) -> Parcel:
        events: list[Event] = []
        while True:
            parcel = await step(engine, job)
            events += parcel.events
            if parcel.over:
                return Parcel(events, over=True, error=parcel.error)

    monkeypatch.setattr(Engine, "arriving_parcel", whole)


def test_a_reply_that_comes_at_once_is_streamed_all_the_same(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its readers have their turns in between: nobody finds the first tokens gone, and is shown a state."""
    draw_at_once(monkeypatch)
    chat.new(settings=LONG)
    chat.done("send", text="hi")
    begun = len(chat.frames)
    chat.reply()
    assert [frame for frame in chat.frames[begun:] if isinstance(frame, State)] == []
    assert sum(isinstance(frame, TokenDrawn) for frame in chat.frames[begun:]) == 300


def test_whoever_comes_while_a_reply_comes_at_once_gets_no_word_twice(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where others have their turn, what a state would show is what was told so far."""
    draw_at_once(monkeypatch)
    told: list[str] = []
    shown: list[tuple[str, str]] = []
    writings: list[Writing] = []
    sleep, emit, start = asyncio.sleep, Room.emit, Writing.start

    def noted(room: Room, change: Change, drawn: DrawnToken | None = None) -> None:
        if isinstance(change, TokenDrawn):
            told.append(change.text)
        emit(room, change, drawn)

    def started(writing: Writing) -> None:
        writings.append(writing)
        start(writing)

    async def turn(delay: float) -> None:
        if not delay and told:
            shown.append((writings[-1].message().text, "".join(told)))
        await sleep(delay)

    monkeypatch.setattr(Room, "emit", noted)
    monkeypatch.setattr(Writing, "start", started)
    monkeypatch.setattr(asyncio, "sleep", turn)
    chat.new(settings=LONG)
    chat.done("send", text="hi")
    chat.reply()
    assert len(shown) >= 300 // 16
    assert all(state == changes for state, changes in shown)


def test_the_engine_is_told_the_requests_name(
    server: Running, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a log of it can be followed from a client to the replica that wrote its reply."""
    asked: list[tuple[str, str]] = []
    stream = server.engine.stream

    def noted(request: Request) -> Stream:
        asked.append((request.session, request.trace))
        return stream(request)

    monkeypatch.setattr(server.engine, "stream", noted)
    id = chat.new()
    for name, what, fields in (("one", "send", {"text": "hi"}), ("two", "regenerate", {})):
        chat.done(what, name, **fields)
        chat.reply()
    assert [one for one in asked if one[1]] == [(id, "one"), (id, "two")]
    assert {type(trace) for _, trace in asked} == {str}  # the wire takes nothing else


def test_the_socket_says_what_the_terminal_says(server: Running, chat: Chat) -> None:
    chat.new(settings={"seed": 5})
    agent = server.app.service.agent
    session = Session(agent, agent.engine(), NURSE)
    session.decoding = session.decoding.__class__(**{**server.app.service.settings(), "seed": 5})  # type: ignore[arg-type]
    for text in ("hello", "what do you do?", "and your dogs?"):
        assert chat.say(text) == session.answer(text)
    chat.done("regenerate")
    *_, again = session.regenerate()
    assert chat.reply().text == again.text


def test_stop_keeps_what_was_shown_and_stops_the_engine(server: Running, chat: Chat) -> None:
    chat.new(settings=LONG)
    chat.done("send", text="tell me a long story")
    chat.until(lambda event: isinstance(event, TokenDrawn) and event.text.strip() != "")
    before = server.stats
    chat.post("stop")
    reply = chat.reply()
    after = server.stats
    assert after.cancelled == before.cancelled + 1
    assert after.running == 0
    assert reply.status == "interrupted"
    shown = "".join(f.text for f in chat.frames if isinstance(f, TokenDrawn))
    assert reply.text == shown
    chat.done("continue")
    more = chat.reply()
    assert (more.id, more.status) == (reply.id, "complete")
    assert more.text.startswith(reply.text)
    assert len(more.text) > len(reply.text)
    assert chat.view.messages[-1] == more


def test_opening_again_shows_the_same(server: Running, chat: Chat) -> None:
    id = chat.new()
    chat.say("hi")
    with server.chat() as other:
        other.done("open", conversation=id)
        state = other.until(State)
        assert (state.n, state.stream) == (chat.view.last, chat.view.stream)
        assert other.view.messages == chat.view.messages
        chat.say("again")
        other.reply()
        assert other.view.messages == chat.view.messages
