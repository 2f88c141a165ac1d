"""Clients without manners: the server outlives each."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from convai.bench.server.host import Served, hosted
from tests.server.attacks import ATTACKS

pytestmark = pytest.mark.slow


def test_attacks_are_made_and_the_server_outlives_them() -> None:
    async def each() -> dict[str, int]:
        names = ("slow_reader", "silent", "never_reads", "malformed", "broken_frames", "invalid_utf8")
        return {name: await ATTACKS[name](host.url, monotonic() + 0.5) for name in names}

    with hosted(Served(interval=0.05, compression=True)) as host:
        done = asyncio.run(each())
        assert all(done.values())
        assert asyncio.run(ATTACKS["zip_bomb"](host.url, monotonic() + 2.0)) > 0
        assert host.call("stats")["pid"] > 0
