"""From an address to a port: the engines that a door was told of, or finds on Ray Serve, behind one port."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from typing import Final

from convai.core.errors import SettingsError
from convai.engine.errors import EngineLost
from convai.engine.handshake import Kin, host_port
from convai.engine.hearing import Hearing
from convai.engine.link import dial
from convai.engine.remote import RemoteEngine
from convai.engine.replicas import Replicas
from convai.engine.wire import SILENCE, Identity

logger: Final = logging.getLogger("convai.engine")
TCP: Final = "tcp://"
RAY: Final = "ray://"
_ASK: Final = 1.0
"""Seconds between two looks at which replicas Ray has."""
_AWAY: Final = 30.0
"""Seconds after which a replica that Ray has no more is forgotten: by then its replies have ended."""
_PATIENCE: Final = 120.0
"""Seconds for which a reply waits while there are no replicas: Ray and a model have to be begun anew."""
_TELL: Final = 5.0
"""Seconds of waiting after which that is said."""
_LOOK: Final = 0.02
"""Seconds between two looks for the first engine."""


def addresses(url: str) -> list[tuple[str, int]]:
    """Hosts and ports of `tcp://HOST:PORT,HOST:PORT`. Raises SettingsError."""
    if not url.startswith(TCP):
        raise SettingsError(
            f"--engine {url}: use here, apart, tcp://HOST:PORT[,HOST:PORT] or ray://HOST:PORT"
        )
    return [host_port(part.strip()) for part in url.removeprefix(TCP).split(",") if part.strip()]


def on_ray(url: str) -> list[str]:
    """Where the replicas of `ray://HOST:PORT` are, by Ray Serve's HTTP proxy there. Raises EngineLost."""
    host, port = host_port(url.removeprefix(RAY).rstrip("/"))
    shown = f"[{host}]" if ":" in host else host
    try:
        with urllib.request.urlopen(f"http://{shown}:{port}/engines", timeout=SILENCE) as answer:
            found = json.load(answer)["engines"]
            return [str(address) for address in found]
    except HTTPException:  # which holds what came: the other side may be anything
        raise EngineLost(
            f"what listens at {host}:{port} does not speak HTTP; give the address at which "
            "`convai engine --ray` listens, and tcp:// for an engine without Ray"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = getattr(error, "reason", error)
        raise EngineLost(
            f"Ray Serve at {host}:{port} does not say where its engines are ({why}); check that "
            "`convai engine --ray` runs there"
        ) from None


def _follow(
    replicas: Replicas, url: str, make: Callable[[str], RemoteEngine], ended: threading.Event
) -> None:
    """The thread: replicas come and go. Says once when Ray does not answer, and once when it does again."""
    away: dict[str, float] = {}
    answers = True
    while not ended.wait(_ASK):
        try:
            there = set(on_ray(url))
        except EngineLost as error:
            if answers:
                logger.warning("%s; the replicas known so far are used, and it is asked again", error)
            answers = False
            continue
        if not answers:
            logger.warning("%s says again where its engines are", url)
        answers = True
        for address in there - set(replicas.engines):
            replicas.add(address, make(address))
        for address in set(replicas.engines) - there:
            away.setdefault(address, time.monotonic())
        for address, since in list(away.items()):
            if address in there:
                del away[address]
            elif time.monotonic() - since > _AWAY:
                del away[address]
                replicas.remove(address)


class OnRay(Replicas):
    """The replicas of a Ray Serve deployment, those that come later too."""

    def __init__(self, url: str, make: Callable[[str], RemoteEngine], hearing: Hearing) -> None:
        super().__init__(_all_of(on_ray(url), make), patience=_PATIENCE, hearing=hearing)
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=_follow, args=(self, url, make, self._ended), name="convai-on-ray", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Break off all requests, and take no more."""
        self._ended.set()
        self._thread.join()
        super().close()


def reach(url: str, token: str, expected: Identity, *, wait: float = 10.0) -> Replicas:
    """The engines at `url`, one of which is there within `wait` seconds; the others may come later.

    Raises SettingsError for an address that is none, Stranger for an engine of another version, token or
    model, EngineLost where none can be reached.
    """
    kin, hearing = Kin(expected), Hearing()

    def make(name: str) -> RemoteEngine:
        dialled = dial(*host_port(name))
        return RemoteEngine(dialled, token, name, kin=kin, wait=0.0, required=False, hearing=hearing)

    begun, told = time.monotonic(), False

    def still(why: str) -> bool:
        """Whether there is time left; says once, after a while, what is waited for."""
        nonlocal told
        waited = time.monotonic() - begun
        if waited >= min(_TELL, wait) and not told:
            told = True
            logger.warning("waiting up to %g seconds for an engine: %s", wait, why)
        return waited < wait

    try:
        replicas = _replicas(url, make, hearing, still)
    except BaseException:
        hearing.close()
        raise
    while replicas.health().status == "lost" or not replicas.engines:
        why = replicas.health().detail or "there is no engine yet"
        if not still(why):
            replicas.close()
            raise EngineLost(why)
        time.sleep(_LOOK)
    return replicas


def _replicas(
    url: str, make: Callable[[str], RemoteEngine], hearing: Hearing, still: Callable[[str], bool]
) -> Replicas:
    while url.startswith(RAY):
        try:
            return OnRay(url, make, hearing)
        except EngineLost as error:
            if not still(str(error)):
                raise
            time.sleep(_ASK)
    names = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses(url)]
    if not names:
        raise SettingsError(f"--engine {url}: there is no address in it; use tcp://HOST:PORT")
    return Replicas(_all_of(names, make), hearing=hearing)


def _all_of(names: Sequence[str], make: Callable[[str], RemoteEngine]) -> dict[str, RemoteEngine]:
    engines: dict[str, RemoteEngine] = {}
    try:
        for name in names:
            engines[name] = make(name)
    except BaseException:
        for engine in engines.values():
            engine.close()
        raise
    return engines
