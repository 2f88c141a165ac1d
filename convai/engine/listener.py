"""An engine that listens in a thread of its own, beside whatever else a program does."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress

from convai.engine.listening import Listening
from convai.engine.port import Port
from convai.engine.wire import (
    Identity,
)


class Listener:
    """A `Listening` with an event loop and a thread of its own."""

    def __init__(
        self, engine: Port, identity: Identity, token: str, at: socket.socket, **options: float
    ) -> None:
        """Listen on `at` from now on."""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._ending: asyncio.Event | None = None
        self.listening: Listening
        self._thread = threading.Thread(
            target=self._run, args=(engine, identity, token, at, options), name="convai-listener", daemon=True
        )
        self._thread.start()
        self._ready.wait()

    def _run(
        self, engine: Port, identity: Identity, token: str, at: socket.socket, options: dict[str, float]
    ) -> None:
        async def serve() -> None:
            self._ending, up = asyncio.Event(), asyncio.Event()
            self.listening = Listening(engine, identity, token, **options)
            serving = asyncio.create_task(self.listening.serve(at, up))
            await up.wait()
            self._ready.set()
            await self._ending.wait()
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving

        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(serve())
            self._loop.run_until_complete(_settled(self._loop))
        finally:
            self._ready.set()
            self._loop.close()

    def drain(self, seconds: float) -> None:
        """Let what was begun come to its end, and take nothing new."""
        asyncio.run_coroutine_threadsafe(self.listening.drain(seconds), self._loop).result()

    def close(self) -> None:
        """Hang up."""
        if self._ending is not None and not self._loop.is_closed():
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()


async def _settled(loop: asyncio.AbstractEventLoop) -> None:
    tasks = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
