"""Stop, and a client that leaves, end the computation within two tokens: the engine's own counters say so."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from convai.engine import Stream
from convai.server.protocol.changes import Stopped, TokenDrawn
from convai.server.service import Service
from tests.server.gate import Gate, gated
from tests.server.serving import PATIENCE, Running, back, serving, until_idle

LONG = {"max_length": 300, "min_length": 300, "no_repeat_ngram": 0, "no_repeat_own_ngram": 0}
TOKENS = 7


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    with gated(monkeypatch) as gate:
        yield gate


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when the server has told the engine to stop."""
    told = threading.Event()
    close = Stream.close

    def tell_and_close(self: Stream) -> None:
        close(self)
        told.set()

    monkeypatch.setattr(Stream, "close", tell_and_close)
    return told


@pytest.fixture
def server(gate: Gate, tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path) as up:
        yield up
        gate.open()


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, "it never comes"
        time.sleep(0.001)


def begun(server: Running, gate: Gate) -> None:
    """Let the model draw TOKENS tokens; it waits for the next one's turn then."""
    until(lambda: gate.arrived > 0)
    while server.stats.tokens_drawn < TOKENS:
        before = gate.arrived
        gate.allow()
        until(lambda before=before: gate.arrived > before)


def test_stop(server: Running, gate: Gate, stopped: threading.Event) -> None:
    with server.chat() as chat:
        chat.new(settings=LONG)
        chat.post("send", text="hi")
        begun(server, gate)
        for _ in range(TOKENS):
            chat.until(TokenDrawn)
        chat.post("stop")
        assert stopped.wait(PATIENCE)
        gate.open()
        assert until_idle(server).tokens_drawn <= TOKENS + 2
        while not any(isinstance(frame, Stopped) for frame in chat.frames):
            chat.read()
        assert [frame.by for frame in chat.frames if isinstance(frame, Stopped)] == ["client"]
        assert len(server.store.branch("local", chat.view.conversation or "")[0][-1].text) > 0


@pytest.mark.parametrize("how", ["closes", "breaks"])
def test_a_client_of_the_socket_that_leaves(
    server: Running, gate: Gate, stopped: threading.Event, how: str
) -> None:
    with server.chat() as chat:
        conversation = chat.new(settings=LONG)
        chat.post("send", text="hi")
        begun(server, gate)
        for _ in range(TOKENS):
            chat.until(TokenDrawn)
        shown = chat.view.messages[-1].text
        if how == "closes":
            chat.socket.close()
        else:
            chat.drop()
        assert stopped.wait(PATIENCE)
    gate.open()
    stats = until_idle(server)
    assert stats.tokens_drawn <= TOKENS + 2
    assert stats.cancelled == 1
    until(lambda: server.store.branch("local", conversation)[0][-1].status == "interrupted")
    assert server.store.branch("local", conversation)[0][-1].text.startswith(shown)


class Clock:
    """What is to happen later, until a test says that it is later."""

    def __init__(self, service: Service) -> None:
        self.due: list[tuple[float, Callable[[], object], asyncio.Handle]] = []
        self._service = service
        service.later = self.later  # type: ignore[method-assign]

    def later(self, seconds: float, call: Callable[[], object]) -> asyncio.Handle:
        self._loop = asyncio.get_running_loop()
        handle = asyncio.Handle(call, (), self._loop)
        self.due.append((seconds, call, handle))
        return handle

    def passes(self) -> None:
        """Everything that is due, and was not called off, happens."""
        due, self.due = self.due, []
        for _, call, handle in due:
            if not handle.cancelled():
                self._loop.call_soon_threadsafe(call)


def test_a_reply_waits_for_its_only_reader_and_then_stops(
    tmp_path: Path, gate: Gate, stopped: threading.Event
) -> None:
    with serving(tmp_path, grace=120.0) as server:
        clock = Clock(server.app.service)
        with server.chat() as chat:
            conversation = chat.new(settings=LONG)
            chat.post("send", text="hi")
            begun(server, gate)
            chat.until(TokenDrawn)
            chat.drop()
        until(lambda: bool(clock.due))
        assert clock.due[0][0] == 120.0
        steps = server.stats.steps
        gate.allow()
        until(lambda: server.stats.steps > steps)  # it goes on
        assert not stopped.is_set()
        with back(server, chat) as again:
            assert again.ready().resumed
            again.until(TokenDrawn)
            clock.passes()  # somebody is there
            again.ask("ping")
            assert not stopped.is_set()
            again.drop()
        until(lambda: bool(clock.due))
        clock.passes()
        assert stopped.wait(PATIENCE)
        gate.open()
        until(lambda: server.store.branch("local", conversation)[0][-1].status == "interrupted")


def test_a_reply_that_ends_meanwhile_is_whole(tmp_path: Path, gate: Gate) -> None:
    with serving(tmp_path, grace=120.0) as server:
        clock = Clock(server.app.service)
        with server.chat() as chat:
            conversation = chat.new(settings={**LONG, "max_length": 30, "min_length": 30})
            chat.post("send", text="hi")
            begun(server, gate)
            chat.until(TokenDrawn)
            chat.drop()
        until(lambda: bool(clock.due))
        gate.open()
        until(lambda: server.store.branch("local", conversation)[0][-1].status == "complete")
        clock.passes()
        with back(server, chat) as again:
            while again.view.writing:  # the store has its end before the readers are told of it
                again.read()
            assert again.say("and now?")


def test_one_of_two_windows_that_leaves_stops_nothing(server: Running, gate: Gate) -> None:
    with server.chat() as chat:
        conversation = chat.new(settings={**LONG, "max_length": 30, "min_length": 30})
        with server.chat() as other:
            other.done("open", conversation=conversation)
            chat.post("send", text="hi")
            begun(server, gate)
            other.until(TokenDrawn)
            other.drop()
        gate.open()
        assert chat.reply().status == "complete"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_of_the_api_that_leaves_stops_the_computation(
    server: Running, gate: Gate, stopped: threading.Event, stream: bool
) -> None:
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": stream,
        "max_tokens": 300,
        "min_length": 300,
        "no_repeat_ngram": 0,
    }
    url = f"{server.url}/v1/chat/completions"
    with httpx2.Client(timeout=PATIENCE) as client:
        if stream:
            with client.stream("POST", url, json=body) as answer:
                begun(server, gate)
                assert next(answer.iter_lines()).startswith("data: {")
        else:
            request = client.build_request("POST", url, json=body)
            head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
            with socket.create_connection((request.url.host, request.url.port or 80)) as raw:
                raw.sendall(f"POST {request.url.path} HTTP/1.1\r\n{head}\r\n".encode() + request.read())
                begun(server, gate)
    assert stopped.wait(PATIENCE)
    gate.open()
    stats = until_idle(server)
    assert stats.tokens_drawn <= TOKENS + 2
    assert stats.cancelled == 1
