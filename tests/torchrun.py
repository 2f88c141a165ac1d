"""Runs of `convai train` in several processes, as torchrun starts them, or as it would."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.forked import Forked

ROOT = Path(__file__).parent.parent


def command(processes: int, arguments: Sequence[str]) -> list[str]:
    """The command line that runs `convai ARGUMENTS` in `processes` processes of this machine."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, "--nproc-per-node", str(processes), "-m", "convai", *arguments]


def environment() -> dict[str, str]:
    """That of the tests, without GPUs: two processes cannot share one."""
    return os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def one_of(processes: int, rank: int, port: int, arguments: Sequence[str], code: str = "") -> Forked:
    """One of so many processes that run `convai ARGUMENTS`, or `code`, with no launcher that would end it."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    sizes = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    return Forked(arguments, environment() | place | ranks | sizes, code=code)


def run(processes: int, arguments: Sequence[str], code: str = "") -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each of so many processes that run `convai ARGUMENTS`, or `code`."""
    port = free_port()
    with ExitStack() as begun:
        each = [begun.enter_context(one_of(processes, i, port, arguments, code)) for i in range(processes)]
        said = [one.communicate(timeout=300) for one in each]
        return [(one.returncode or 0, out, err) for one, (out, err) in zip(each, said, strict=True)]
