"""Clients that mean harm, or seem to, beside others who chat: do those notice, and what stays behind?

`test_attacks.py` makes each for a moment; `python -m tests.server.attacks` measures them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import time
import zlib
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from convai.bench.server.clients import Crowd, address_for
from convai.bench.server.host import Host, Served, hosted
from convai.bench.server.transport import LINES, LONG

INTERVAL: Final = 0.25
CONNECTS: Final = 10_000
_NETWORK: Final = 9
_ZEROS: Final = 50_000_000
"""Bytes that a bomb of some kilobytes becomes."""
_PATIENCE: Final = 60.0
_CALM: Final = 45.0
"""Seconds in which the server gives up on those who do not read."""


def measure(chats: int, seconds: float, show: Callable[[str], None]) -> dict[str, Any]:
    """Each attack for `seconds` beside `chats` others on the stub, and beside some on the embedded model."""
    raw: dict[str, Any] = {}
    for compression in (False, True):
        with hosted(Served(interval=INTERVAL, compression=compression)) as host:
            names = [name for name in ATTACKS if (name == "zip_bomb") == compression]
            raw |= asyncio.run(_besiege(host, chats, seconds, names, show))
    return raw


async def _besiege(
    host: Host, chats: int, seconds: float, names: list[str], show: Callable[[str], None]
) -> dict[str, Any]:
    crowd = Crowd(host.url, chats, lines=LINES, settings=dict(LONG), stamped=True)
    await crowd.enter()
    await crowd.talk(_PATIENCE)
    await crowd.window(2.0)
    found: dict[str, Any] = {}
    for name in names:
        await _attacked(host, name, 1.0)  # what the first of its kind loads is not what it leaves behind
        idle = await asyncio.to_thread(host.memory)
        calm = await crowd.window(seconds)
        attack = asyncio.create_task(_attacked(host, name, seconds))
        await asyncio.sleep(1.0)
        notes = await crowd.window(seconds)
        peak = await asyncio.to_thread(host.memory)
        done = await attack
        left = await _quiet(host, chats)
        after = await asyncio.to_thread(host.memory)
        delays, before = sorted(notes.delays), sorted(calm.delays)
        found[name] = {
            "done": done,
            "speed": notes.tokens / max(calm.tokens, 1),
            "delay_p99_ms": 1000 * delays[int(len(delays) * 0.99)],
            "calm_delay_p99_ms": 1000 * before[int(len(before) * 0.99)],
            "memory_mib": {"idle": idle / 2**20, "most": peak / 2**20, "after": after / 2**20},
            "sockets_left": left - chats,
            "errors": dict(notes.errors + calm.errors),
        }
        figures = found[name]
        show(
            f"{name:<16} {done:>8,} times; others at {figures['speed']:.2f} of their speed, "
            f"p99 {figures['delay_p99_ms']:.0f} ms; memory {idle / 2**20:.0f} -> {after / 2**20:.0f} MiB"
        )
    await crowd.leave()
    return found


async def _quiet(host: Host, chats: int) -> int:
    """Wait until the attackers' sockets are gone."""
    for _ in range(int(_CALM)):
        sockets = int((await asyncio.to_thread(host.call, "stats"))["sockets"])
        if sockets <= chats:
            return sockets
        await asyncio.sleep(1.0)
    return sockets


async def _attacked(host: Host, name: str, seconds: float) -> int:
    """Attack from another process; how often it did what it does."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_attack, args=(theirs, name, host.url, seconds), daemon=True)
    process.start()
    theirs.close()
    try:
        await asyncio.to_thread(mine.recv)  # it is loaded
        return int(await asyncio.to_thread(mine.recv))
    finally:
        await asyncio.to_thread(process.join)
        mine.close()


def _attack(pipe: Any, name: str, url: str, seconds: float) -> None:
    with suppress(OSError):
        os.nice(5)  # the others' clients are not to lose the processor to it
    pipe.send("ready")
    pipe.send(asyncio.run(ATTACKS[name](url, time.monotonic() + seconds)))


# -- clients without manners, on bare sockets ---------------------------------------------------------


class _Raw:
    """A TCP connection that speaks WebSocket as far as it likes."""

    def __init__(self, url: str, number: int = 0) -> None:
        parts = urlsplit(url)
        self._where = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._from = address_for(number, _NETWORK)
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def dial(self) -> None:
        local = (self._from, 0) if self._from else None
        self.reader, self.writer = await asyncio.open_connection(*self._where, local_addr=local, limit=1024)

    async def upgrade(self, extensions: str = "") -> None:
        """Become a WebSocket. Raises OSError, EOFError."""
        await self.dial()
        host = f"{self._where[0]}:{self._where[1]}"
        more = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
        self.writer.write(
            f"GET /chat HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n".encode()
        )
        if not (await self.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 101"):
            raise ConnectionError("refused")
        while await self.reader.readuntil(b"\r\n") != b"\r\n":
            pass

    def frame(self, data: bytes, opcode: int = 1, reserved: int = 0) -> None:
        """Send a frame, masked with zeros."""
        size = len(data)
        head = bytes([0x80 | reserved | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65_536:
            head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
        else:
            head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
        self.writer.write(head + b"\0\0\0\0" + data)

    def hello(self) -> None:
        """Begin a long reply."""
        self.frame(b'{"type":"hello","version":1}')
        name = os.urandom(8).hex()
        self.frame(f'{{"type":"new","request":"a{name}","settings":{{"max_length":512}}}}'.encode())
        self.frame(f'{{"type":"send","request":"b{name}","text":"talk"}}'.encode())

    def close(self) -> None:
        if hasattr(self, "writer"):
            self.writer.transport.abort()


async def _again(
    url: str, until: float, once: Callable[[_Raw], Awaitable[None]], side_by_side: int = 4, most: int = 10**9
) -> int:
    """Do something on a new connection, again and again."""
    count = 0

    async def one(number: int) -> None:
        nonlocal count
        while time.monotonic() < until and count < most:
            raw = _Raw(url, number)
            count += 1
            with suppress(OSError, EOFError, asyncio.LimitOverrunError, TimeoutError):
                async with asyncio.timeout(10):
                    await once(raw)
            raw.close()

    await asyncio.gather(*(one(number) for number in range(side_by_side)))
    return count


async def _hold(url: str, until: float, count: int, do: Callable[[_Raw], Awaitable[None]]) -> int:
    """Do something on many connections at once, until the time is over."""

    async def one(number: int) -> None:
        raw = _Raw(url, number)
        with suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + until - time.monotonic()):
                await do(raw)
                await asyncio.sleep(3600)
        raw.close()

    await asyncio.gather(*(one(number) for number in range(count)))
    return count


async def _slow_reader(url: str, until: float) -> int:
    async def read_slowly(raw: _Raw) -> None:
        await raw.upgrade()
        raw.hello()
        while await raw.reader.read(1):
            await asyncio.sleep(1.0)

    return await _hold(url, until, 32, read_slowly)


async def _silent(url: str, until: float) -> int:
    async def say_nothing(raw: _Raw) -> None:
        await raw.dial()

    async def upgrade_only(raw: _Raw) -> None:
        await raw.upgrade()

    return sum(await asyncio.gather(_hold(url, until, 50, say_nothing), _hold(url, until, 50, upgrade_only)))


async def _never_reads(url: str, until: float) -> int:
    async def ask_on(raw: _Raw) -> None:
        await raw.upgrade()
        raw.hello()
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for number in range(10**9):
            raw.frame(f'{{"type":"list","request":"l{number}"}}'.encode())
            raw.frame(b"x" * 100, opcode=9)
            await raw.writer.drain()
            await asyncio.sleep(0.001)

    return await _hold(url, until, 16, ask_on)


async def _flood(url: str, until: float, data: bytes) -> int:
    sent = 0

    async def pour(raw: _Raw) -> None:
        nonlocal sent
        await raw.upgrade()
        raw.frame(b'{"type":"hello","version":1}')
        while True:
            for _ in range(max(100_000 // len(data), 1)):
                raw.frame(data)
            sent += 100_000
            await raw.writer.drain()
            await asyncio.sleep(0.1)

    async def again() -> None:
        while time.monotonic() < until:
            raw = _Raw(url)
            with suppress(OSError, EOFError, TimeoutError):
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + until - time.monotonic()):
                    await pour(raw)
            raw.close()

    await again()
    return sent


async def _flood_small(url: str, until: float) -> int:
    return await _flood(url, until, b'{"type":"ping","request":"p"}')


async def _flood_large(url: str, until: float) -> int:
    return await _flood(url, until, b'{"type":"send","request":"s","text":"' + b"x" * 60_000 + b'"}')


async def _malformed(url: str, until: float) -> int:
    async def talk_nonsense(raw: _Raw) -> None:
        await raw.upgrade()
        raw.frame(b'{"type":"hello","version":1}')
        for _ in range(30):
            raw.frame(b'{"type": "nonsense", [[[[')
        await raw.reader.read(100_000)
        await raw.reader.read()

    return await _again(url, until, talk_nonsense)


async def _invalid_utf8(url: str, until: float) -> int:
    async def once(raw: _Raw) -> None:
        await raw.upgrade()
        raw.frame(b"\xff\xfe\xfd")
        await raw.reader.read()

    return await _again(url, until, once)


async def _broken_frames(url: str, until: float) -> int:
    async def once(raw: _Raw) -> None:
        await raw.upgrade()
        raw.writer.write(os.urandom(4096))
        await raw.reader.read()

    return await _again(url, until, once)


async def _zip_bomb(url: str, until: float) -> int:
    seconds = until - time.monotonic()
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -12)
    bomb = squeeze.compress(b"\0" * _ZEROS) + squeeze.flush(zlib.Z_SYNC_FLUSH)

    async def once(raw: _Raw) -> None:
        await raw.upgrade("permessage-deflate")
        raw.frame(bomb.removesuffix(b"\0\0\xff\xff"), reserved=0x40)
        await raw.reader.read()

    return await _again(url, time.monotonic() + seconds, once)  # the bomb itself took its time


async def _come_and_go(url: str, until: float) -> int:
    """10,000 times, spread over the time that there is."""
    pause = max(until - time.monotonic(), 1.0) / CONNECTS * 8

    async def once(raw: _Raw) -> None:
        begun = time.monotonic()
        await raw.upgrade()
        raw.frame(b'{"type":"hello","version":1}')
        raw.close()
        await asyncio.sleep(max(pause - (time.monotonic() - begun), 0))

    return await _again(url, until + 60, once, side_by_side=8, most=CONNECTS)


ATTACKS: Final[dict[str, Callable[[str, float], Coroutine[Any, Any, int]]]] = {
    "slow_reader": _slow_reader,
    "silent": _silent,
    "never_reads": _never_reads,
    "flood_small": _flood_small,
    "flood_large": _flood_large,
    "malformed": _malformed,
    "broken_frames": _broken_frames,
    "invalid_utf8": _invalid_utf8,
    "zip_bomb": _zip_bomb,
    "come_and_go": _come_and_go,
}
"""Name → what it does until the monotonic clock says so; how often it did."""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--chats", type=int, default=50, help="others who chat")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each attack")
    options = parser.parse_args()
    print(json.dumps(measure(options.chats, options.seconds, print)))
