"""Engines as replicas of a Ray Serve deployment: Ray starts, watches and replaces them, on many machines.

Words do not go through Ray. Every replica listens on a socket of its own, as `convai engine` does, and says
where; doors ask Ray Serve's HTTP proxy for that list, and so need no Ray themselves.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from convai.core.errors import ConvaiError, SettingsError
from convai.core.settings import EngineConfig

APPLICATION: Final = "convai"
ROUTE: Final = "/engines"
DIRECTORY: Final = "convai-engines"
_BEAT: Final = 1.0
_GONE: Final = 5.0
"""Seconds of silence after which a replica is on the list no more."""


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

    def __init__(
        self,
        model: str | None,
        context: int | None,
        config: EngineConfig,
        token: str,
        threads: int,
        drain: float,
    ) -> None:
        import torch

        from convai.conversation.agent import load_agent
        from convai.engine.handshake import identity
        from convai.engine.listener import Listener

        ray, _ = ray_serve()
        torch.set_num_threads(threads)
        agent = load_agent(model, context=context)
        self._drain = drain
        self.engine = agent.engine(config).start()
        host = ray.util.get_node_ip_address() if token else "127.0.0.1"
        at = socket.create_server((host, 0))
        self.address = f"{host}:{at.getsockname()[1]}"
        own = identity(agent.name, agent.tokenizer, agent.model, self.engine.precision)
        self._listener = Listener(self.engine, own, token, at)
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
        return {"replies": float(stats.running + stats.waiting)}

    async def __call__(self) -> str:
        """Where it is."""
        return self.address

    def __del__(self) -> None:
        if hasattr(self, "_listener"):
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
    *,
    model: str | None = None,
    context: int | None = None,
    config: EngineConfig | None = None,
    token: str = "",
    threads: int = 1,
    replicas: int = 1,
    drain: float = 20.0,
) -> Any:
    """The Ray Serve application, for `serve.run`; Ray has been initialised. Raises SettingsError."""
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
        num_replicas=replicas,
        ray_actor_options={"num_cpus": threads},
        health_check_period_s=2,
        graceful_shutdown_timeout_s=drain + 5,
    ).bind(model, context, config or EngineConfig(), token, threads, drain)
    return serve.deployment(Doorbell, name="doorbell", ray_actor_options={"num_cpus": 0}).bind(engines)


def run(
    app_options: dict[str, Any],
    *,
    host: str,
    port: int,
    address: str | None,
    ended: threading.Event,
    ready: Callable[[], None],
) -> None:
    """Start the application, on a Ray that is there (`address`) or our own, until `ended`."""
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # a machine may be busy
    ray, serve = ray_serve()
    try:
        if address is None:
            ray.init(include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except Exception as error:
        raise ConvaiError(
            f"Ray does not start ({type(error).__name__}: {error}); see --ray-address"
        ) from None
    try:
        serve.start(http_options={"host": host, "port": port})
        serve.run(application(**app_options), name=APPLICATION, route_prefix=ROUTE)
        ready()
        ended.wait()
    finally:
        serve.delete(APPLICATION)
        if address is None:
            serve.shutdown()
        ray.shutdown()
