"""An engine behind a socket, in this process: what listens is a thread, what asks another one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from convai.engine import Port
from convai.engine.handshake import identity
from convai.engine.link import dial
from convai.engine.listener import Listener
from convai.engine.remote import RemoteEngine
from convai.engine.wire import Identity
from tests.drawing import BYTES

TOKEN = "a token for the tests"
MODEL = identity("tiny", BYTES)


def address_of(at: socket.socket) -> tuple[str, int]:
    host, port = at.getsockname()[:2]
    return host, port


@contextmanager
def listening(
    engine: Port, token: str = TOKEN, model: Identity = MODEL, **options: Any
) -> Iterator[tuple[Listener, tuple[str, int]]]:
    """`engine`, which is closed at the end, to be reached at an address."""
    at = socket.create_server(("127.0.0.1", 0))
    where = address_of(at)
    listener = Listener(engine, model, token, at, **options)
    try:
        yield listener, where
    finally:
        listener.close()
        engine.close()


def remote(where: tuple[str, int], token: str = TOKEN, **options: Any) -> RemoteEngine:
    return RemoteEngine(dial(*where), token, "there", **{"wait": 0.0, **options})
