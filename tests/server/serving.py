"""A real server in a thread, on a free port, with a tiny random model; and a client of its chat socket."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

from convai.bench.view import View
from convai.conversation.agent import Agent
from convai.conversation.hooks import NO_HOOKS, Hooks
from convai.conversation.memory.memory import Memory
from convai.core.settings import EngineConfig, ServerConfig
from convai.engine import Engine, Stats
from convai.server.app import App
from convai.server.marks import ReadCoref, ReadMood
from convai.server.protocol import ServerEvent, encode, parse_server
from convai.server.protocol.answers import Accepted, Error, Overloaded, Ready
from convai.server.protocol.changes import Failed, FinishedReply, State, Stopped
from convai.server.protocol.client import Hello
from convai.server.protocol.values import Message, Resume
from convai.server.run import Server, address, listen
from convai.server.service import Service
from convai.store import Store
from tests.chatting import tiny_agent

PATIENCE = 120
"""Seconds after which a test that waits gives up; none waits that long unless something is broken."""


@dataclass(slots=True)
class Running:
    """A server that is up."""

    url: str
    app: App
    server: Server
    engine: Engine
    store: Store
    thread: threading.Thread

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/chat"

    @property
    def stats(self) -> Stats:
        return self.engine.stats()

    def chat(self, **hello: Any) -> Chat:
        """A client that has said hello."""
        return Chat(self.socket_url, **hello)

    def terminate(self) -> None:
        """What a signal does."""
        self.server.should_exit = True


@contextmanager
def serving(
    folder: Path,
    agent: Agent | None = None,
    engine: EngineConfig | Engine | None = None,
    read_mood: ReadMood | None = None,
    read_coref: ReadCoref | None = None,
    hooks: Hooks = NO_HOOKS,
    memory: bool = False,
    where: str | None = None,
    **config: Any,
) -> Iterator[Running]:
    """A server whose conversations are in `folder`, or at the URL `where`.

    A client that has no processor for a while may be as late as it must: two hundred at once are.
    """
    agent = agent or tiny_agent()
    settings = ServerConfig(port=0, **{"drain": 0.0, "grace": 0.0, "hello": float(PATIENCE), **config})
    store = Store(where or folder / "conversations.db")
    if engine is None or isinstance(engine, EngineConfig):
        engine = agent.engine(engine or EngineConfig(prefix_mib=8)).start()
    with listen(settings) as listening, engine as running:
        app = App(
            Service(
                agent,
                running,
                store,
                settings,
                read_mood=read_mood,
                read_coref=read_coref,
                hooks=hooks,
                memory=Memory(store.memories, embed=None) if memory else None,
            )
        )
        server = Server(app)
        thread = threading.Thread(target=server.run, args=([listening],), name="server")
        thread.start()
        up = Running(address(listening), app, server, running, store, thread)
        try:
            yield up
        finally:
            up.terminate()
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the server does not end"


class Chat:
    """A client: sends requests, reads frames, and knows what it is shown (`view`)."""

    def __init__(
        self, url: str, *, view: View | None = None, resume: Resume | None = None, **hello: Any
    ) -> None:
        self.view = view or View()
        self.frames: list[ServerEvent] = []
        self._open = ExitStack()
        self.socket: ClientConnection = self._open.enter_context(
            connect(url, max_size=2**21, max_queue=None, ping_interval=None, open_timeout=PATIENCE)
        )
        self._name, self._names = secrets.token_hex(6), 0
        self._send(encode(Hello(version=1, resume=resume, **hello)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _send(self, text: str) -> None:
        self.socket.send(text)

    def drop(self) -> None:
        """The connection breaks."""
        self.socket.socket.close()

    def read(self) -> ServerEvent:
        """The next frame."""
        text = self.socket.recv(PATIENCE)
        event = parse_server(text)
        self.frames.append(event)
        self.view.take(event)
        return event

    def until(self, wanted: type | tuple[type, ...] | Callable[[ServerEvent], bool]) -> Any:
        """Read up to the first frame that is wanted."""
        while True:
            event = self.read()
            if isinstance(event, wanted) if isinstance(wanted, type | tuple) else wanted(event):
                return event

    def ready(self) -> Ready:
        return self.until(Ready)  # type: ignore[no-any-return]

    def post(self, type: str, request: str | None = None, **fields: Any) -> str:
        """Send a request and do not wait; returns its name."""
        self._names += 1
        name = request or f"{self._name}-{self._names}"
        self._send(json.dumps({"type": type, "request": name, **fields}))
        return name

    def ask(self, type: str, request: str | None = None, **fields: Any) -> Any:
        """Send a request and read up to its answer."""
        name = self.post(type, request, **fields)
        return self.until(lambda event: getattr(event, "request", None) == name)

    def done(self, type: str, request: str | None = None, **fields: Any) -> Accepted:
        """`ask`, for an answer that must be `accepted`."""
        answer = self.ask(type, request, **fields)
        assert isinstance(answer, Accepted), answer
        return answer

    def refused(self, type: str, **fields: Any) -> str:
        """`ask`, for an answer that must be an error; its code, or the reason of `overloaded`."""
        answer = self.ask(type, **fields)
        assert isinstance(answer, Error | Overloaded), answer
        return answer.code if isinstance(answer, Error) else answer.reason

    def new(self, **fields: Any) -> str:
        """A conversation with a fixed persona; its id."""
        persona = {"sentences": ["i am a nurse.", "i have two dogs."]}
        answer = self.done("new", **{"persona": persona, **fields})
        self.until(State)
        assert answer.conversation is not None
        return answer.conversation

    def reply(self) -> Message:
        """Read to the end of the reply that is being written; what stays of it."""
        end = self.until((FinishedReply, Stopped, Failed))
        assert end.message is not None, end
        return end.message  # type: ignore[no-any-return]

    def say(self, text: str) -> str:
        """Say something, and read to the end of the reply: its text."""
        self.done("send", text=text)
        return self.reply().text

    @property
    def shown(self) -> list[str]:
        """The texts of the branch."""
        return [message.text for message in self.view.messages]


def back(server: Running, lost: Chat) -> Chat:
    """The same client on a new connection."""
    return server.chat(view=lost.view, resume=lost.view.resume())


def until_idle(server: Running) -> Stats:
    """The engine's counters once nothing is computed any more."""
    limit = time.monotonic() + PATIENCE
    while (stats := server.stats).running or stats.waiting:
        assert time.monotonic() < limit, "something is computed for ever"
        time.sleep(0.001)
    return stats
