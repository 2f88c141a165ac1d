"""The application under uvicorn: it listens, says where, and comes to its end without losing anything."""

from __future__ import annotations

import logging
import signal
import socket
from types import FrameType
from typing import Final

import uvicorn

from convai.core.errors import SettingsError
from convai.core.settings import ServerConfig
from convai.server.app import App
from convai.server.transports import HttpProtocol, SocketProtocol

logger = logging.getLogger("convai.server")
_FILES: Final = 256
"""Open files beside the sockets."""
_GRACE: Final = 3
"""Seconds in which connections close after their last word."""


class Server(uvicorn.Server):
    """uvicorn, which drains the application before it closes the connections."""

    def __init__(self, app: App) -> None:
        config = app.service.config
        self._app = app
        super().__init__(
            uvicorn.Config(
                app,
                host=config.host,
                port=config.port,
                http=HttpProtocol,
                ws=SocketProtocol,
                ws_max_size=app.service.limits.frame_bytes,
                ws_per_message_deflate=config.compression,
                proxy_headers=config.proxy,
                server_header=False,
                access_log=False,
                log_config=None,
                lifespan="on",
                timeout_graceful_shutdown=_GRACE,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, close the connections, then engine and store."""
        await self._app.drain()
        await super().shutdown(sockets)
        self._app.service.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, the second waits for nobody."""
        if self.should_exit:
            self._app.hurry()
            if sig == signal.SIGINT:
                self.force_exit = True
        super().handle_exit(sig, frame)


def allow_connections(count: int) -> None:
    """Raise the process' limit of open files, as far as that is allowed, to have room for `count` sockets."""
    try:
        import resource
    except ImportError:  # no such limit on this system
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < wanted:
        logger.warning(
            "only %d files may be open here, which is not enough for --connections %d; "
            "raise the limit (ulimit -n) or lower the option",
            most,
            count,
        )


def listen(config: ServerConfig) -> socket.socket:
    """A socket that listens where the settings say. Raises SettingsError where that is impossible."""
    try:
        family = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((config.host, config.port), family=family, backlog=2048)
    except OSError as error:
        raise SettingsError(
            f"--host {config.host} --port {config.port}: {error.strerror or error}; choose another port"
        ) from None


def address(listening: socket.socket) -> str:
    """Where to point a browser."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
