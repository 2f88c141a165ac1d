"""What a token costs on its way: from an engine in this process, and over the socket of one that listens.

Processor time of the whole process, both ends of the socket included, on the stub engine: what is measured is
the way, and not the model. Times alternate, so that a busy machine disturbs both alike.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import closing
from statistics import median
from typing import Any, Final

from convai.bench.server.stub import StubEngine
from convai.core.settings import DecodingConfig
from convai.engine import Port, Request
from convai.engine.link import dial
from convai.engine.listener import Listener
from convai.engine.remote import RemoteEngine
from convai.engine.replicas import Replicas
from convai.engine.wire import Identity
from convai.text.segments import Prompt

LENGTH: Final = 100
"""Tokens of a reply."""
_PROMPT: Final = 147
"""Tokens of a prompt."""


def measure(chats: int, rounds: int = 3) -> dict[str, Any]:
    """Processor time a token in microseconds, of `chats` streams at once: here, and over one socket."""
    identity = Identity("stub")
    stub = StubEngine(0.002)
    at = socket.create_server(("127.0.0.1", 0))
    listener = Listener(stub, identity, "", at)
    there = Replicas({"there": RemoteEngine(dial("127.0.0.1", at.getsockname()[1]), "", "there", wait=5.0)})
    here_us: list[float] = []
    there_us: list[float] = []
    try:
        for _ in range(rounds):
            here_us.append(_price(stub, chats))
            there_us.append(_price(there, chats))
    finally:
        there.close()
        listener.close()
        stub.close()
    return {
        "chats": chats,
        "here_us": here_us,
        "socket_us": there_us,
        "price": median(there_us) / median(here_us),
    }


def _price(port: Port, chats: int) -> float:
    """Microseconds of processor time a token."""
    prompt = Prompt(list(range(_PROMPT)), list(range(_PROMPT)), [5] * _PROMPT, [0] * _PROMPT)
    config = DecodingConfig(max_length=LENGTH, min_length=LENGTH)

    async def one(number: int) -> None:
        stream = await asyncio.to_thread(port.stream, Request(prompt, config, session=str(number)))
        with closing(stream):
            async for _ in stream:
                pass

    async def all_of_them() -> None:
        await asyncio.gather(*(one(number) for number in range(chats)))

    begun = time.process_time()
    asyncio.run(all_of_them())
    return 1e6 * (time.process_time() - begun) / (chats * LENGTH)
