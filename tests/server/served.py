"""A server in a process of its own, to be killed."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

from convai.config import EngineConfig, ServerConfig
from convai.server.app import App
from convai.server.run import Server, address, listen
from convai.server.service import Service
from convai.store import Store
from tests.chatting import tiny_agent


def serve(folder: Path, told: Connection) -> None:
    """Serve the conversations in `folder` until a signal comes; tells its address first."""
    agent = tiny_agent()
    config = ServerConfig(port=0, rate=1_000_000, drain=30.0)
    with listen(config) as listening, agent.engine(EngineConfig(prefix_mib=8)).start() as engine:
        server = Server(App(Service(agent, engine, Store(folder / "chats.db"), config)))
        told.send(address(listening))
        server.run([listening])
