"""From an address to a port: the engines that a door was told of, behind one port."""

from __future__ import annotations

import time
from typing import Final

from convai.core.errors import SettingsError
from convai.engine.errors import EngineLost
from convai.engine.handshake import Kin, host_port
from convai.engine.remote import RemoteEngine, dial
from convai.engine.replicas import Replicas
from convai.engine.wire import Identity

TCP: Final = "tcp://"
_LOOK: Final = 0.02
"""Seconds between two looks for the first engine."""


def addresses(url: str) -> list[tuple[str, int]]:
    """Hosts and ports of `tcp://HOST:PORT,HOST:PORT`. Raises SettingsError."""
    if not url.startswith(TCP):
        raise SettingsError(f"--engine {url}: use tcp://HOST:PORT, or several as tcp://HOST:PORT,HOST:PORT")
    return [host_port(part.strip()) for part in url.removeprefix(TCP).split(",") if part.strip()]


def reach(url: str, token: str, expected: Identity, *, wait: float = 10.0) -> Replicas:
    """The engines at `url`, one of which is there within `wait` seconds; the others may come later.

    Raises SettingsError for an address that is none, Stranger for an engine of another version, token or
    model, EngineLost where none can be reached.
    """
    kin = Kin(expected)
    engines: dict[str, RemoteEngine] = {}
    found = addresses(url)
    if not found:
        raise SettingsError(f"--engine {url}: there is no address in it; use tcp://HOST:PORT")
    try:
        for host, port in found:
            name = f"{host}:{port}"
            engines[name] = RemoteEngine(dial(host, port), token, name, kin=kin, wait=0.0, required=False)
        until = time.monotonic() + wait
        while not any(engine.ready for engine in engines.values()):
            if time.monotonic() >= until:
                raise EngineLost(next(iter(engines.values())).health().detail)
            time.sleep(_LOOK)
    except BaseException:
        for engine in engines.values():
            engine.close()
        raise
    return Replicas(engines)
