"""Engines as replicas on a Ray of our own, to be killed: a replica, Ray's head, or all of it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from convai.bench.cluster.counting import CountingEngine
from convai.bench.cluster.processes import ClusterProcess, begin, children
from convai.conversation.agent import load_voice
from convai.engine.errors import EngineLost
from convai.engine.handshake import host_port, identity
from convai.engine.reaching import on_ray
from convai.engine.wire import Identity

_HEAD: Final = "gcs_server"
_REPLICA: Final = "ServeReplica:convai:engine"
_BEGINS: Final = "__init__"
_RAY: Final = "spawn_main"
"""The process that has a Ray; there are two while another Ray is begun."""


class Counted:
    """What a replica computes with: nothing, letter by letter."""

    def __init__(self, model: str, interval: float) -> None:
        self.engine = CountingEngine(interval)
        self._voice = load_voice(model)

    def identity(self) -> Identity:
        """Whose replies these would be."""
        return identity(self._voice.name, self._voice.tokenizer)


def ray(port: int, log: str, model: str, interval: float, replicas: int) -> None:
    """The process of `convai engine --ray`, with engines that compute nothing."""
    begin(log)
    from convai.server.on_ray import Scaling
    from convai.server.ray_head import run

    deployed = {
        "load": partial(Counted, model, interval),
        "threads": 1,
        "scaling": Scaling(least=replicas, most=replicas),
        "drain": 1.0,
    }
    run(deployed, host="127.0.0.1", port=port, address=None, ended=threading.Event(), ready=lambda: None)


class RayEngines:
    """All that belongs to one Ray."""

    def __init__(self, model: Path, interval: float, replicas: int, logs: Path) -> None:
        self._process = ClusterProcess(
            ray, os.fspath(model), interval, replicas, log=logs / "ray.log", alone=False
        )
        self.url = f"ray://127.0.0.1:{self._process.port}"

    def start(self) -> None:
        """It lives, and has replicas soon."""
        self._process.start()

    def up(self) -> bool:
        """Whether there is one Ray, with a head and two or more replicas; it is begun if it has ended."""
        if not self._process.alive:
            self.start()
        try:
            there = [one for one in on_ray(self.url) if _listens(one)]
        except EngineLost:
            return False
        alone = len(self._find(_RAY)) == len(self._find(_HEAD)) == 1
        return alone and len(there) > 1 and len(self._find(_REPLICA)) > 1

    def kill_replica(self) -> None:
        """SIGKILL one. Ray begins another."""
        os.kill(self._find(_REPLICA)[0], signal.SIGKILL)

    def kill_head(self) -> None:
        """SIGKILL Ray's head. Another Ray is begun by who has it."""
        for pid in self._find(_HEAD):
            os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        """SIGKILL all of it, at once."""
        every = self._all() if self._process.alive else []
        self._process.kill()
        for pid in every:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _find(self, name: str) -> list[int]:
        """Processes that are called so and have begun."""
        found = []
        for pid in self._all():
            with suppress(OSError):  # it has ended
                said = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
                if name in said and _BEGINS not in said:
                    found.append(pid)
        return found

    def _all(self) -> list[int]:
        """All its processes but the first."""
        found = children(self._process.pid)
        for pid in found:  # which grows meanwhile
            found += children(pid)
        return found


def _listens(address: str) -> bool:
    try:
        socket.create_connection(host_port(address), timeout=1.0).close()
    except OSError:
        return False
    return True
