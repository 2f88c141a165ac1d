"""Engines as replicas of a Ray Serve deployment: Ray starts, watches and replaces them, on many machines.

Words do not go through Ray. Every replica listens on a socket of its own, as `convai engine` does, and says
where; doors ask Ray Serve's HTTP proxy for that list, and so need no Ray themselves.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from convai.core.errors import ConvaiError, SettingsError
from convai.core.settings import EngineConfig

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

    def __init__(
        self,
        model: str | None,
        context: int | None,
        config: EngineConfig,
        token: str,
        threads: int,
        drain: float,
        adapters: Sequence[str],
        loaded: int,
        log_replies: bool,
    ) -> None:
        import torch

        from convai.conversation.adapters import start
        from convai.engine.listener import Listener
        from convai.engine.listening import replies
        from convai.server.logs import log_to_stderr

        log_to_stderr(replies.name if log_replies else "")  # Ray keeps it in its folder of logs
        ray, _ = ray_serve()
        torch.set_num_threads(threads)
        found = start(model, config, context=context, adapters=adapters, loaded=loaded)
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
    *,
    model: str | None = None,
    context: int | None = None,
    config: EngineConfig | None = None,
    token: str = "",
    threads: int = 1,
    scaling: Scaling = Scaling(),
    drain: float = 20.0,
    adapters: Sequence[str] = (),
    loaded: int = 2,
    log_replies: bool = False,
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
        **_number(scaling),
        ray_actor_options={"num_cpus": threads},
        health_check_period_s=2,
        graceful_shutdown_timeout_s=drain + 5,
    ).bind(
        model, context, config or EngineConfig(), token, threads, drain, list(adapters), loaded, log_replies
    )
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


def _why(serve: Any) -> str:
    """What Ray says of the replicas that did not start: the error of one of them, in one line."""
    application = serve.status().applications.get(APPLICATION)
    for one in application.deployments.values() if application is not None else ():
        lines: list[str] = [line.strip() for line in str(one.message).splitlines() if line.strip()]
        if one.status != "HEALTHY" and lines:
            return next((line for line in lines if "Error" in line.partition(":")[0]), lines[-1])
    return ""


def run(
    app_options: dict[str, Any],
    *,
    scaling: Scaling,
    host: str,
    port: int,
    address: str | None,
    ended: threading.Event,
    heed: Callable[[], None],
    ready: Callable[[], None],
) -> None:
    """Start the application, on a Ray that is there (`address`) or our own, until `ended`.

    `heed` listens to the signals that set `ended`, which Ray takes for itself when it starts; `ready` is told
    when replicas are there.

    Raises ConvaiError where Ray or the replicas do not come up.
    """
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # a machine may be busy
    ray, serve = ray_serve()
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # it tells of every request
    try:
        if address is None:
            # our own Ray has a processor for each thread that is asked for, or replicas would never start
            threads = app_options["threads"] * scaling.most
            ray.init(
                num_cpus=max(os.cpu_count() or 1, threads),
                include_dashboard=False,
                object_store_memory=100 * 2**20,
                log_to_driver=False,
            )
        else:
            ray.init(address=address, log_to_driver=False)
    except Exception as error:
        raise ConvaiError(
            f"Ray does not start ({type(error).__name__}: {error}); see --ray-address"
        ) from None
    try:
        heed()
        serve.start(http_options={"host": host, "port": port})
        try:
            serve.run(application(scaling=scaling, **app_options), name=APPLICATION, route_prefix=ROUTE)
        except RuntimeError as error:
            raise ConvaiError(f"the replicas do not come up: {_why(serve) or error}") from None
        ready()
        ended.wait()
    finally:
        serve.delete(APPLICATION)
        if address is None:
            serve.shutdown()
        ray.shutdown()
