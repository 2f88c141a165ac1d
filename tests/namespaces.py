"""Hosts as network namespaces of this machine, each on a cable that can be cut. Needs root on Linux.

A socket belongs to the namespace of the thread that made it, so one process can be at both ends.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, TypeVar

import pytest

T = TypeVar("T")
_NETWORK: Final = 0x40000000  # CLONE_NEWNET


class Host:
    """A namespace at the other end of a cable: `here` and `address` are its two ends."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self._cable = name, f"c{name[-8:]}{number}"
        self.here, self.address = f"10.213.{number}.1", f"10.213.{number}.2"

    def plug_in(self, other: str) -> None:
        """Lay the cable from the namespace `other`."""
        _ip("netns", "add", self.name)
        _ip(
            "link",
            "add",
            self._cable,
            "netns",
            other,
            "type",
            "veth",
            "peer",
            "name",
            "far",
            "netns",
            self.name,
        )
        for at, device, address in ((other, self._cable, self.here), (self.name, "far", self.address)):
            _ip("-n", at, "address", "add", f"{address}/30", "dev", device)
            _ip("-n", at, "link", "set", device, "up")
        _ip("-n", self.name, "link", "set", "lo", "up")

    def cut(self) -> None:
        """What is sent is lost, and nobody is told."""
        _ip("-n", self.name, "link", "set", "far", "down")

    def mend(self) -> None:
        """As it was before."""
        _ip("-n", self.name, "link", "set", "far", "up")

    def do(self, call: Callable[[], T]) -> T:
        """Call something that makes its sockets there."""
        return inside(self.name, call)


@contextmanager
def hosts(count: int) -> Iterator[tuple[str, list[Host]]]:
    """A namespace with a cable to each of `count` others; the test is skipped where they cannot be made."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need Linux, root and iproute2")
    tag = secrets.token_hex(4)
    centre = f"convai-{tag}"
    with ExitStack() as made:
        try:
            _ip("netns", "add", centre)
        except OSError as error:
            pytest.skip(f"network namespaces are not permitted here: {error}")
        made.callback(_ip, "netns", "del", centre)
        _ip("-n", centre, "link", "set", "lo", "up")
        found = []
        for number in range(count):
            found.append(Host(f"convai{number}-{tag}", number))
            made.callback(_ip, "netns", "del", found[-1].name)
            found[-1].plug_in(centre)
        yield centre, found


def inside(name: str, call: Callable[[], T]) -> T:
    """Call something in a thread of its own in the namespace; threads that it starts are there as well."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            with Path("/run/netns", name).open() as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(namespace.fileno(), _NETWORK):
                    raise OSError(ctypes.get_errno(), "setns")
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return done.result()


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise OSError(done.stderr.strip())
