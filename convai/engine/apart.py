"""An engine in a process of its own on this machine, which shares no interpreter with those who ask it.

Beside a server a model's thread waits for the interpreter whenever the event loop or the store has it. Here
it has one to itself; what goes between the two is what goes to engines elsewhere (`convai.engine.wire`). A
process that dies is begun anew, and its replies go on where they were.
"""

from __future__ import annotations

import atexit
import logging
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Final, Protocol

import torch

from convai.core.errors import ConvaiError
from convai.core.processor import prefer_latency
from convai.engine.child import READY, Child, refused
from convai.engine.errors import EngineClosed
from convai.engine.handshake import Kin
from convai.engine.link import dial
from convai.engine.listener import Listener
from convai.engine.port import Port
from convai.engine.remote import RemoteEngine
from convai.engine.replicas import Replicas
from convai.engine.wire import Identity

logger: Final = logging.getLogger("convai.engine")
_HERE: Final = "127.0.0.1"
_PATIENCE: Final = 60.0
"""Seconds for which a reply waits while the process is begun anew: it has to load the model."""
_AGAIN: Final = (0.1, 10.0)
"""Seconds before it is begun anew: the first pause, which doubles while it dies at once, and the longest."""


class Loaded(Protocol):
    """What computes in the process; `convai.conversation.adapters.Computing` is one."""

    @property
    def engine(self) -> Port:
        """The engine, started."""

    def identity(self) -> Identity:
        """Which model it has."""


Load = Callable[[], Loaded]
"""Loads a model and starts its engine. It is called in another process, so it has to survive `pickle`."""


class Apart(Replicas):
    """A `convai.engine.port.Port` of an engine in a process of its own."""

    def __init__(self, load: Load, expected: Callable[[], Identity], *, threads: int = 1) -> None:
        """Start the process, and wait until it computes with `threads` threads the model that is `expected`,
        which is asked for meanwhile: who asks has something to load as well.

        Raises what `load` raises there, where that is a ConvaiError; EngineError where the process ends; what
        `expected` raises.
        """
        self._ended = threading.Event()
        self._token = secrets.token_hex(16)
        # it stays open here: whoever connects while there is no process waits for the next one
        self._listening = socket.create_server((_HERE, 0))
        self._begin = partial(
            Child, "the model's process", _compute, load, self._listening, self._token, threads
        )
        self._process = self._begin()
        try:
            kin = Kin(expected())
            self._process.wait()
            where = dial(_HERE, self._listening.getsockname()[1])
            remote = RemoteEngine(where, self._token, "this machine", kin=kin)
        except BaseException:
            self._process.end()
            self._listening.close()
            raise
        super().__init__({"this machine": remote}, patience=_PATIENCE)
        self._keeper = threading.Thread(target=self._keep, name="convai-keeper", daemon=True)
        self._keeper.start()
        # before multiprocessing's own, which would wait for the process to end by itself
        atexit.register(self.close)

    @property
    def pid(self) -> int | None:
        """The process' id."""
        return self._process.pid

    def close(self) -> None:
        """Break off all requests, take no more, and end the process. May be called twice."""
        if self._ended.is_set():
            return
        self._ended.set()
        atexit.unregister(self.close)
        super().close()
        self._process.end()
        self._keeper.join()
        self._listening.close()

    def _keep(self) -> None:
        """The thread: a process that has died is begun anew."""
        pause = _AGAIN[0]
        while True:
            self._process.died()
            if self._ended.wait(pause):
                return
            logger.error("the model's process ended (exit code %s); it is begun anew", self._process.exitcode)
            self._process = self._begin()
            try:
                if self._ended.is_set():  # `close` may have ended the one before
                    raise EngineClosed
                self._process.wait()
                pause = _AGAIN[0]
            except ConvaiError as error:
                if self._ended.is_set():
                    self._process.end()
                    return
                logger.error("the model's process did not begin: %s", error)
                pause = min(2 * pause, _AGAIN[1])


def _compute(load: Load, listening: socket.socket, token: str, threads: int, pipe: Connection) -> None:
    """The process: compute until the other end of `pipe` is gone, however it went."""
    torch.set_num_threads(threads)
    try:
        loaded = load()
    except (ConvaiError, OSError, MemoryError) as error:
        pipe.send(refused(error))
        return
    with closing(loaded.engine):
        listener = Listener(loaded.engine, loaded.identity(), token, listening)
        prefer_latency()
        pipe.send(READY)
        with suppress(EOFError, OSError):
            pipe.recv()
        listener.close()
