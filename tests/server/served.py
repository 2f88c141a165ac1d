"""A server in a process of its own, to be killed."""

from __future__ import annotations

import functools
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from convai.core.settings import EngineConfig, ServerConfig
from convai.engine.runner import Runner
from convai.server import rooms
from convai.server.app import App
from convai.server.drafts import Drafts
from convai.server.run import Server, address, listen
from convai.server.service import Service
from convai.store import Store
from tests.chatting import tiny_agent

SAVE_EVERY = 0.02
"""Seconds between two times that replies in the making are saved: they are short here."""


def serve(folder: Path, told: Connection, pause: float = 0.0) -> None:
    """Serve the conversations in `folder` until a signal comes; tells its address first.

    The model computes `pause` seconds longer for each step.
    """
    compute = Runner.compute

    def slowly(self: Runner, *args: Any) -> Any:
        time.sleep(pause)
        return compute(self, *args)

    Runner.compute = slowly  # type: ignore[method-assign]
    rooms.Drafts = functools.partial(Drafts, every=SAVE_EVERY)  # type: ignore[misc,assignment]
    agent = tiny_agent()
    config = ServerConfig(port=0, rate=1_000_000, drain=30.0, hello=600.0)
    with listen(config) as listening, agent.engine(EngineConfig(prefix_mib=8)).start() as engine:
        server = Server(App(Service(agent, engine, Store(folder / "chats.db"), config)))
        told.send(address(listening))
        server.run([listening])
