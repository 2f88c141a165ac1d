"""Engines as replicas of a Ray Serve deployment: Ray starts, watches and replaces them, on many machines.

Words do not go through Ray. Every replica listens on a socket of its own, as `convai engine` does, and says
where; doors ask Ray Serve's HTTP proxy for that list, and so need no Ray themselves.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from convai.core.errors import SettingsError
from convai.engine.apart import Load

APPLICATION: Final = "convai"
ROUTE: Final = "/engines"
DIRECTORY: Final = "convai-engines"
_BEAT: Final = 1.0
_GONE: Final = 5.0
"""Seconds of silence after which a replica is on the list no more."""
_LOOK_BACK: Final = 11.0
"""Seconds over which Ray takes the mean of what replicas say: they do every ten."""
_REPLIES: Final = "replies"
_POLICY: Final = f"{__name__}:wanted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How many replicas there are: `least` to `most`, by the replies that run and wait."""

    least: int = 1
    most: int = 1
    replies: float = 16.0
    """Replies that run or wait, for each replica; with more there are more replicas."""
    up_after: float = 10.0
    """Seconds for which there must be too many before a replica is started."""
    down_after: float = 300.0
    """Seconds for which there must be too few before one is ended."""

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise SettingsError(f"--replicas={self.least}:{self.most}: use N, or MIN:MAX from 1 on")
        if self.replies <= 0 or self.up_after < 0 or self.down_after < 0:
            raise SettingsError("replies for each replica above 0, and seconds of 0 or more")

    @classmethod
    def parse(cls, text: str, **fields: float) -> Scaling:
        """Of `N`, or `MIN:MAX`. Raises SettingsError."""
        try:
            least, *rest = [int(part) for part in text.split(":")]
            [most] = rest or [least]
        except ValueError:
            raise SettingsError(f"--replicas={text}: use N, or MIN:MAX") from None
        return cls(least=least, most=most, **fields)


def wanted(context: Any) -> tuple[float, dict[str, Any]]:
    """Ray Serve's autoscaling policy: as many replicas as the replies of all of them ask for.

    Ray's own policy counts the requests that go through Ray, and ours do not. Bounds and delays are Ray's.
    """
    counted = (context.aggregated_metrics or {}).get(_REPLIES, {})
    if not counted:  # nobody has said anything yet
        return context.target_num_replicas, {}
    return sum(counted.values()) / context.config.get_target_ongoing_requests(), {}


def ray_serve() -> tuple[Any, Any]:
    """Ray, and its Serve. Raises SettingsError where they are not installed."""
    try:
        import ray
        from ray import serve
    except ImportError as error:
        raise SettingsError(f"Ray is not installed ({error}); pip install 'convai[ray]'") from None
    return ray, serve


class Directory:
    """Where replicas are, by what they say of themselves. Ray keeps one of these."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}

    def here(self, address: str) -> None:
        """A replica listens there."""
        self._seen[address] = time.monotonic()

    def gone(self, address: str) -> None:
        """It does no more."""
        self._seen.pop(address, None)

    def addresses(self) -> list[str]:
        """Those that were heard of lately."""
        now = time.monotonic()
        return sorted(one for one, seen in self._seen.items() if now - seen < _GONE)


class Replica:
    """One engine, with a socket of its own."""

    def __init__(self, load: Load, token: str, threads: int, drain: float, log_replies: bool) -> None:
        import torch

        from convai.engine.door import replies
        from convai.engine.listener import Listener
        from convai.server.logs import log_to_stderr

        log_to_stderr(replies.name if log_replies else "")  # Ray keeps it in its folder of logs
        ray, _ = ray_serve()
        torch.set_num_threads(threads)
        found = load()
        self._drain = drain
        self.engine = found.engine
        host = ray.util.get_node_ip_address() if token else "127.0.0.1"
        at = socket.create_server((host, 0))
        self.address = f"{host}:{at.getsockname()[1]}"
        self._listener = Listener(self.engine, found.identity(), token, at)
        self._directory = ray.get_actor(DIRECTORY, namespace=APPLICATION)
        self._ended = threading.Event()
        threading.Thread(target=self._tell, name="convai-replica", daemon=True).start()

    def _tell(self) -> None:
        while not self._ended.is_set():
            with suppress(Exception):  # Ray's head may be away: it is told again
                self._directory.here.remote(self.address)
            self._ended.wait(_BEAT)

    def check_health(self) -> None:
        """Ray asks now and then, and replaces a replica that raises."""
        health = self.engine.health()
        if health.status != "ok":
            raise RuntimeError(health.detail or health.status)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Replies that are computed or wait here."""
        stats = self.engine.stats()
        return {_REPLIES: float(stats.running + stats.waiting)}

    async def __call__(self) -> str:
        """Where it is."""
        return self.address

    def __del__(self) -> None:  # Ray calls it when a replica is to end, and Python once more
        if hasattr(self, "_listener") and not self._ended.is_set():
            self._ended.set()
            self._directory.gone.remote(self.address)
            self._listener.drain(self._drain)
            self._listener.close()
            self.engine.close()


class Doorbell:
    """What Ray Serve's HTTP proxy asks: where the replicas are. Replicas are started with it."""

    def __init__(self, replicas: Any) -> None:
        ray, _ = ray_serve()
        self._replicas, self._directory = replicas, ray.get_actor(DIRECTORY, namespace=APPLICATION)

    async def __call__(self, request: Any) -> Any:
        """The addresses, as a JSON object."""
        return {"engines": await self._directory.addresses.remote()}


def application(
    load: Load,
    *,
    token: str = "",
    threads: int = 1,
    scaling: Scaling = Scaling(),
    drain: float = 20.0,
    log_replies: bool = False,
) -> Any:
    """The Ray Serve application, for `serve.run`; Ray has been initialised. Raises SettingsError.

    `load` starts an engine, in each replica; `threads`: those that it computes with; `drain`: seconds that a
    replica has for what it has begun.
    """
    ray, serve = ray_serve()
    ray.remote(Directory).options(
        name=DIRECTORY,
        namespace=APPLICATION,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        max_restarts=-1,
    ).remote()
    engines = serve.deployment(
        Replica,
        name="engine",
        **_number(scaling),
        ray_actor_options={"num_cpus": threads},
        health_check_period_s=2,
        graceful_shutdown_timeout_s=drain + 5,
    ).bind(load, token, threads, drain, log_replies)
    return serve.deployment(Doorbell, name="doorbell", ray_actor_options={"num_cpus": 0}).bind(engines)


def _number(scaling: Scaling) -> dict[str, Any]:
    if scaling.least == scaling.most:
        return {"num_replicas": scaling.least}
    return {
        "autoscaling_config": {
            "min_replicas": scaling.least,
            "max_replicas": scaling.most,
            "target_ongoing_requests": scaling.replies,
            "upscale_delay_s": scaling.up_after,
            "downscale_delay_s": scaling.down_after,
            "look_back_period_s": max(scaling.up_after, _LOOK_BACK),
            "policy": {"policy_function": _POLICY},
        }
    }
