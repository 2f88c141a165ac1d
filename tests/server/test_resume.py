"""After a lost connection a client goes on from its last number: no word is missing, none comes twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from convai.server.protocol.changes import FinishedReply, State, TokenDrawn
from tests.server.gate import gated
from tests.server.serving import Chat, Running, back, serving

LONG = {"max_length": 300, "min_length": 300, "no_repeat_ngram": 0, "no_repeat_own_ngram": 0}


@pytest.mark.parametrize("seed", range(5))
def test_what_was_missed_follows(server: Running, seed: int) -> None:
    chance = random.Random(seed)
    with server.chat() as chat:
        chat.new(settings=LONG)
        chat.post("send", text="tell me more")
        for _ in range(chance.randint(1, 40)):
            chat.until(TokenDrawn)
        chat.drop()
    shown = chat.view.messages[-1].text
    with back(server, chat) as again:
        ready = again.ready()
        again.ask("ping")
        while again.view.writing:
            again.read()
        kept = server.store.branch("local", again.view.conversation or "")[0]
        assert again.shown == [message.text for message in kept]
        assert again.shown[-1].startswith(shown)
        if ready.resumed:
            assert not any(isinstance(frame, State) for frame in again.frames)
        again.done("continue")
        for _ in range(3):
            again.until(TokenDrawn)
        again.done("stop")
        while again.view.writing:
            again.read()
        assert again.shown[-1].startswith(shown)


def test_a_reply_goes_on_beside_another_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes back in its midst gets each of its words once."""
    with gated(monkeypatch) as gate, serving(tmp_path) as server, server.chat() as stays:
        conversation = stays.new(settings={**LONG, "max_length": 60, "min_length": 60})
        chat = server.chat()
        chat.done("open", conversation=conversation)
        chat.until(State)
        stays.post("send", text="hi")
        for lost in range(5):
            gate.allow(8)
            for _ in range(4):
                chat.until(TokenDrawn)
            chat.drop()
            chat = back(server, chat)
            assert chat.ready().resumed, lost
        gate.open()
        whole = stays.reply()
        assert chat.until(FinishedReply).message == whole
        assert chat.view.messages == stays.view.messages
        told = [f for f in stays.frames if isinstance(f, TokenDrawn)]
        assert "".join(f.text for f in told) == whole.text
        chat.socket.close()


def test_a_request_without_an_answer_is_sent_again_and_done_once(server: Running) -> None:
    with server.chat() as chat:
        id = chat.new()
        chat.post("send", request="the-only-one", text="hello?")
        chat.drop()
    with back(server, chat) as again:
        again.ready()
        while again.view.writing:
            again.read()
        answer = again.done("send", request="the-only-one", text="hello?")
        while len(again.view.messages) < 2 or again.view.writing:
            again.read()
        assert again.shown[0] == "hello?"
        assert answer.message == again.view.messages[0].id
        assert again.done("send", request="the-only-one", text="hello?").again
    said = [m.text for m in server.store.tree("local", id) if m.speaker == 0]
    assert said == ["hello?"]


def test_too_long_away_is_told_the_whole(server: Running) -> None:
    with server.chat() as chat:
        id = chat.new(settings={"max_length": 30, "min_length": 30, "no_repeat_ngram": 0})
        chat.say("one")
        chat.drop()
    with server.chat() as other:
        other.done("open", conversation=id)
        for text in ("two", "three", "four", "five"):
            other.say(text)
        with back(server, chat) as again:
            assert not again.ready().resumed
            again.until(State)
            assert again.shown == other.shown
            assert again.view.messages == other.view.messages


def test_after_a_restart_everything_is_there(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.chat() as chat:
        chat.new()
        chat.say("one")
    before = list(chat.view.messages)
    with serving(tmp_path) as server, back(server, chat) as again:
        assert not again.ready().resumed
        again.until(State)
        assert again.view.messages == before
        assert again.say("two")


def test_a_conversation_that_is_gone_is_not_resumed(server: Running) -> None:
    with server.chat() as chat:
        id = chat.new()
        chat.drop()
    server.store.delete("local", id)
    with back(server, chat) as again:
        if again.ready().resumed:  # its last changes are still known
            assert again.refused("send", text="hi") in ("not_found", "order")
        else:
            assert again.read().code == "not_found"  # type: ignore[union-attr]
        assert again.done("new").conversation


def test_the_url_may_name_the_conversation(server: Running) -> None:
    """A proxy chooses a door by it; the server takes what `hello` says."""
    with server.chat() as chat:
        conversation = chat.new()
        chat.say("hello")
    where = f"{server.socket_url}?conversation={conversation}"
    with Chat(where, view=chat.view, resume=chat.view.resume()) as again:
        again.ready()
        assert again.ask("ping").type == "pong"
        assert again.view.conversation == conversation
