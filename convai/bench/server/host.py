"""The server that is measured, in a process of its own, asked through a pipe."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import multiprocessing
import os
import resource
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import torch

from convai.bench.server.stub import StubEngine
from convai.conversation.adapters import start, start_apart
from convai.conversation.agent import Agent, Talker
from convai.conversation.conversation import Place
from convai.conversation.drawing import Drawing
from convai.conversation.reply import Reply
from convai.core.dialog import AGENT, USER, Persona, Turn
from convai.core.errors import ConvaiError
from convai.core.processor import prefer_latency
from convai.core.settings import EngineConfig, ServerConfig
from convai.engine import Port
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Shape
from convai.server.app import App
from convai.server.logs import log_to_stderr
from convai.server.run import Server, address, allow_connections, listen
from convai.server.service import Service
from convai.store import Store
from convai.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What is served. `interval`: seconds between the stub's tokens; None: `model` draws them."""

    interval: float | None = None
    model: str | None = None
    precision: str = "float32"
    compression: bool = False
    apart: bool = False
    """Whether the model has a process of its own."""


class Host:
    """A server that is up, at `url`. Its settings are those that `convai serve` has by default."""

    def __init__(self, kind: Served) -> None:
        """Start it. Raises ConvaiError where it does not come up."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, kind))  # it may have a process itself
        self._process.start()
        theirs.close()
        self.url = str(self._answer())

    def memory(self) -> int:
        """Resident bytes of the server, once what can be freed is."""
        return int(self.call("memory"))

    def call(self, name: str, *args: Any) -> Any:
        """Have it do something. Raises ConvaiError where it failed, or is gone."""
        self._pipe.send((name, *args))
        return self._answer()

    def close(self) -> None:
        """End it."""
        if self._process.is_alive():
            self._pipe.send(("stop",))
            self._process.join(30)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def _answer(self) -> Any:
        try:
            good, result = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise ConvaiError(f"the server ended (exit code {self._process.exitcode})") from None
        if not good:
            raise ConvaiError(f"the server failed: {result}")
        return result


@contextmanager
def hosted(kind: Served) -> Iterator[Host]:
    """A server for as long as the block lasts."""
    host = Host(kind)
    try:
        yield host
    finally:
        host.close()


# -- in the server's process --------------------------------------------------------------------------


def _serve(pipe: Connection, kind: Served) -> None:
    try:
        log_to_stderr()
        torch.set_num_threads(1)
        config = ServerConfig(port=0, compression=kind.compression, drain=0.0)
        allow_connections(config.connections)
        agent, engine = _engine(kind)
        with tempfile.TemporaryDirectory() as folder, listen(config) as listening:
            service = Service(agent, engine, Store(Path(folder) / "bench.db"), config)
            server = Server(App(service))
            thread = threading.Thread(
                target=_obey, args=(pipe, server, service, address(listening)), daemon=True
            )
            thread.start()
            prefer_latency()
            server.run([listening])
    except BaseException as error:
        pipe.send((False, f"{type(error).__name__}: {error}"))
        raise


def _engine(kind: Served) -> tuple[Talker, Port]:
    if kind.interval is not None:
        shape = Shape(vocab_size=261, n_positions=4096, n_embd=8, n_layer=1, n_head=1)
        agent = Agent(DoubleHeadsModel(shape), Tokenizer.byte_level(), name="stub")
        agent.context = shape.n_positions
        return agent, StubEngine(kind.interval)
    config = EngineConfig(precision=cast(Any, kind.precision))
    if kind.apart:
        return start_apart(kind.model, config)
    found = start(kind.model, config)
    return found.agent, found.engine


def _obey(pipe: Connection, server: Server, service: Service, where: str) -> None:
    pipe.send((True, where))
    while True:
        try:
            name, *args = pipe.recv()
        except EOFError:  # who asked is gone
            name = "stop"
        if name == "stop":
            server.should_exit = True
            return
        try:
            pipe.send((True, _COMMANDS[name](service, *args)))
        except Exception as error:
            pipe.send((False, f"{type(error).__name__}: {error}"))


def resident_bytes() -> int:
    """Memory of this process in RAM, in bytes. Linux tells; elsewhere it is the most there ever was."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
        return 1024 * int(line.split()[1])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _memory(service: Service) -> int:
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # glibc keeps what was freed
        libc.malloc_trim(0)
    return resident_bytes()


def _stats(service: Service) -> dict[str, Any]:
    return {**asdict(service.engine.stats()), "sockets": service.limiter.sockets, "pid": os.getpid()}


def _direct(service: Service, people: int, seconds: float, seed: int, lines: list[str]) -> dict[str, float]:
    """The engine alone: as many people, the same personas, lines and settings, and no server between."""
    return asyncio.run(_talk(service, people, seconds, seed, lines))


async def _talk(
    service: Service, people: int, seconds: float, seed: int, lines: list[str]
) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    before = service.engine.stats().tokens_drawn

    async def person(number: int) -> None:
        agent, turns = service.agent, list[Turn]()
        persona = Persona((f"i am person {number}.", lines[number % len(lines)][:100]))
        for turn in range(10_000):
            turns.append(Turn(USER, lines[(number * 7 + turn) % len(lines)]))
            reply = Reply(
                agent,
                persona,
                Place.after(turns),
                agent.decoding,
                seed=seed + number,
                max_history=agent.max_history,
            )
            with closing(Drawing(reply, service.stream)) as drawing:
                async for _ in drawing.adraw():  # of several candidates only their ends are told
                    if loop.time() >= end:
                        return
            assert reply.chosen is not None
            turns.append(Turn(AGENT, reply.finished[reply.chosen].text))

    await asyncio.gather(*(person(number) for number in range(people)))
    drawn = service.engine.stats().tokens_drawn - before
    return {"tokens_per_s": drawn / (loop.time() - end + seconds)}


_COMMANDS: dict[str, Callable[..., Any]] = {"memory": _memory, "stats": _stats, "direct": _direct}
