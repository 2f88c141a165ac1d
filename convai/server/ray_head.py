"""Ray in a process of its own, for as long as replicas are wanted: when its head dies, another one is begun.

A minute after its head has died Ray gives up, and the process that started it ends with it. Until then its
replicas go on. So they are left alone until those of another Ray are there; a reply that is being written
moves to one of those as if its replica had died.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final

from convai.core.errors import ConvaiError
from convai.engine.child import READY, Child, refused
from convai.engine.handshake import host_port
from convai.server.on_ray import APPLICATION, ROUTE, application, ray_serve

logger: Final = logging.getLogger("convai.engine")
_LOOK: Final = 0.5
"""Seconds between two looks whether the head is there."""
_BOTH: Final = 3.0
"""Seconds for which two Rays are left side by side: doors ask every second which replicas there are."""
_START: Final = 400.0
"""Seconds that another Ray has to come up: where its head dies meanwhile, it waits as patiently as any."""
_AGAIN: Final = (1.0, 30.0)
"""Seconds before another Ray is tried: the first pause, which doubles, and the longest."""
_PATIENT: Final = "600"
"""Seconds for which our own Ray goes on without its head."""
_LOST: Final = "lost"
"""What the process says of a head that is gone."""
_KILLED: Final = 5.0
"""Seconds that a Ray without its head has to kill itself."""
_CLOSE: Final = 30.0
"""Seconds that Ray has to end, beside what the replicas have for what they have begun."""


def run(
    deployed: Mapping[str, Any],
    *,
    host: str,
    port: int,
    address: str | None,
    ended: threading.Event,
    ready: Callable[[], None],
) -> None:
    """Have replicas, on a Ray that is there (`address`) or our own, until `ended`.

    `deployed`: what `application` takes; `ready` is told when replicas are there for the first time.

    Raises ConvaiError where Ray or the replicas do not come up.
    """
    begin = partial(Child, "Ray's process", _serve, dict(deployed), host, port, address)
    running, in_order = begin(), deployed["drain"] + _CLOSE
    try:
        if _waited(running, ended):
            ready()
        while not ended.is_set():
            if not running.told(_LOOK):
                continue
            if running.heard() == _LOST:
                in_order = _KILLED
                logger.error("Ray's head is gone; another Ray is begun, and the replicas go on meanwhile")
            else:
                logger.error("Ray has ended, as it does when its head is gone; it is begun anew")
            if (following := _another(begin, ended)) is None:
                return
            logger.warning("there are replicas on another Ray")
            ended.wait(_BOTH)
            running.end(_KILLED)
            running, in_order = following, deployed["drain"] + _CLOSE
    finally:
        running.end(in_order)


def _waited(child: Child, ended: threading.Event, until: float = math.inf) -> bool:
    """Whether it is ready, which nobody waits for when all is `ended`. Raises what went wrong there."""
    while not child.told(_LOOK):
        if ended.is_set():
            return False
        if time.monotonic() > until:
            child.end()
            raise ConvaiError(f"Ray and its replicas were not there after {_START:g} seconds")
    child.wait()
    return True


def _another(begin: Callable[[], Child], ended: threading.Event) -> Child | None:
    """Another Ray with its replicas, as soon as there is one; None where none is wanted any more."""
    pause = _AGAIN[0]
    while not ended.is_set():
        child = begin()
        try:
            if _waited(child, ended, time.monotonic() + _START):
                return child
            child.end()
        except ConvaiError as error:
            logger.error("another Ray did not begin, and is tried again: %s", error)
        ended.wait(pause)
        pause = min(2 * pause, _AGAIN[1])
    return None


# -- the process -------------------------------------------------------------------------------------------


def _serve(deployed: dict[str, Any], host: str, port: int, address: str | None, pipe: Connection) -> None:
    """The process: replicas until the other end of `pipe` is gone; says when our own Ray's head is."""
    os.setpgrp()  # Ray's processes end with this one, whatever they are just waiting for
    _deaf()
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "600")  # a machine may be busy
    if address is None:
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", _PATIENT)
    ray, serve = ray_serve()
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # it tells of every request
    try:
        _start(ray, address, deployed["threads"] * deployed["scaling"].most)
        _deaf()  # Ray has taken the signals for itself
        _deploy(ray, serve, deployed, host, port)
    except ConvaiError as error:
        pipe.send(refused(error))
        _end(ray, serve, own=address is None)
        return
    pipe.send(READY)
    head = ray.get_runtime_context().gcs_address
    while not pipe.poll(_LOOK):
        if address is None and not _is_there(head):
            _stop_listening(ray)
            pipe.send(_LOST)
            with suppress(EOFError, OSError):
                pipe.recv()
            os.killpg(0, signal.SIGKILL)  # without its head Ray does nothing in order
    _end(ray, serve, own=address is None)


def _deaf() -> None:
    """Signals are for the process that has this one. Not ignored, which Ray's processes would inherit."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


def _start(ray: Any, address: str | None, threads: int) -> None:
    """Raises ConvaiError where Ray does not start, or is not there."""
    try:
        if address is None:
            # our own Ray has a processor for each thread that is asked for, or replicas would never start
            ray.init(
                address="local",
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


def _deploy(ray: Any, serve: Any, deployed: dict[str, Any], host: str, port: int) -> None:
    """Raises ConvaiError where the replicas do not come up."""
    try:
        serve.start(http_options={"host": host, "port": port})
        serve.run(application(**deployed), name=APPLICATION, route_prefix=ROUTE)
    except RuntimeError as error:
        raise ConvaiError(f"the replicas do not come up: {_why(serve) or error}") from None


def _why(serve: Any) -> str:
    """What Ray says of the replicas that did not start: the error of one of them, in one line."""
    found = serve.status().applications.get(APPLICATION)
    for one in found.deployments.values() if found is not None else ():
        lines: list[str] = [line.strip() for line in str(one.message).splitlines() if line.strip()]
        if one.status != "HEALTHY" and lines:
            return next((line for line in lines if "Error" in line.partition(":")[0]), lines[-1])
    return ""


def _is_there(head: str) -> bool:
    """Whether somebody listens at the head's address. One that is slow is there."""
    try:
        socket.create_connection(host_port(head), timeout=_LOOK).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        pass
    return True


def _stop_listening(ray: Any) -> None:
    """A thread of Ray's asks the head for errors of workers, without a pause where there is no head."""
    with suppress(AttributeError):  # it is Ray's own affair; another release may do better
        ray._private.worker.global_worker.threads_stopped.set()


def _end(ray: Any, serve: Any, *, own: bool) -> None:
    if not ray.is_initialized():
        return
    serve.delete(APPLICATION)
    if own:
        serve.shutdown()
    ray.shutdown()
