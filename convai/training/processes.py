"""Several processes as one run: joined by torchrun's variables, and ended together when one of them dies.

Collectives on the processor go through gloo whatever the gradients go through, since gloo notices a dead
process at once. Each failure is reported once, by the process that meets it first.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import Any, Final, NoReturn

import ignite.distributed as idist
import torch
import torch.distributed as dist
from torch import Tensor

from convai.core.errors import ConvaiError, ReportedElsewhere, SettingsError, TrainingError

PATIENT: Final = timedelta(days=30)
"""Where one process works (reads, encodes, saves) and the others wait: only its death ends the waiting."""
START: Final = timedelta(minutes=10)
"""What the processes have at least to find each other: they may start at different times."""
GRACE: Final = 5.0
"""Seconds that a process has to end by itself when another one has died; a GPU's queue may block it."""
_WORD: Final = "convai failed"
"""Where in the launcher's store the first process that fails leaves its word."""


@dataclass(slots=True)
class _Joined:
    """What a process of several holds besides ignite's own state."""

    timeout: float
    gradients: Any
    quick: Any
    patient: Any
    goodbyes: Any
    store: Any
    ended: threading.Event = field(default_factory=threading.Event)


_joined: _Joined | None = None


def is_first() -> bool:
    """Whether this process writes and speaks for all."""
    return bool(idist.get_rank() == 0)


def gradient_group() -> Any:
    """The process group that gradients are summed in; None without one."""
    return _joined.gradients if _joined is not None else None


def reduced(values: Tensor) -> Tensor:
    """The sum of `values` (on the processor) over all processes, the same on each to the bit."""
    if _joined is not None:
        dist.all_reduce(values, group=_joined.quick)
    return values


def barrier() -> None:
    """Wait until every process is here, however long another one works before."""
    if _joined is not None:
        dist.barrier(group=_joined.patient)


def after_first() -> None:
    """Wait until the first process is here, however long it works before; it waits for nobody."""
    if _joined is not None:
        dist.broadcast(torch.zeros(1), 0, group=_joined.patient)


def from_first(text: str) -> str:
    """The first process' `text`, on every process; however long it takes to make."""
    if _joined is None:
        return text
    own = bytearray(text.encode() + b"\n")  # a buffer of nothing is refused
    data = torch.frombuffer(own, dtype=torch.uint8)
    size = torch.tensor([len(data)])
    dist.broadcast(size, 0, group=_joined.patient)
    if not is_first():
        data = torch.empty(int(size), dtype=torch.uint8)
    dist.broadcast(data, 0, group=_joined.patient)
    return bytes(data.numpy()[:-1]).decode()


@contextlib.contextmanager
def first_here() -> Iterator[None]:
    """Let the first process of each machine through, then the others: they find what it has fetched."""
    if idist.get_local_rank():
        barrier()
    yield
    if not idist.get_local_rank():
        barrier()


@contextlib.contextmanager
def process_group(timeout: float = 600.0) -> Iterator[None]:
    """Be one of torchrun's processes as long as the context lasts; without torchrun nothing happens.

    `timeout`: seconds that a process waits for another one within a step. Raises TrainingError where
    another process has died or does not answer, and ReportedElsewhere where it has said why.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    global _joined
    previous = signal.getsignal(signal.SIGTERM)
    try:
        _check_gpus()
        _joined = _join(timeout)
        watch = threading.Thread(target=_watch, args=(_joined,), daemon=True)
        watch.start()
        signal.signal(signal.SIGTERM, _on_sigterm)
        yield
        barrier()
        _joined.ended.set()
        dist.send(torch.zeros(1), (dist.get_rank() - 1) % dist.get_world_size(), group=_joined.goodbyes)
        watch.join()
    except BaseException as error:
        _leave(error, timeout)
    finally:
        _joined = None
    signal.signal(signal.SIGTERM, previous)
    idist.finalize()


def _leave(error: BaseException, timeout: float) -> NoReturn:
    """Raise what this process has to say about `error`.

    The launcher ends all processes when it sees one end. So this one is deaf to it while it speaks, and where
    it has nothing to say it waits until the one that speaks has ended.
    """
    launcher = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: launcher.set())
    report = _report_of(error, timeout)
    if _joined is not None:
        _joined.ended.set()
        mendable = isinstance(report, (ConvaiError, OSError, MemoryError))
        atexit.register(_exit, 130 if isinstance(report, KeyboardInterrupt) else 2 if mendable else 1)
    if isinstance(report, ReportedElsewhere):
        launcher.wait(GRACE)
    if report is error:
        raise error
    raise report from error


def _exit(code: int) -> None:
    """End without Python's clean-up, which would wait for (or break on) threads and queues that are stuck."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _check_gpus() -> None:
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cards = torch.cuda.device_count()
    if torch.cuda.is_available() and here > cards:
        error = SettingsError(
            f"{here} processes on a machine with {cards} GPU: start one a GPU (torchrun --nproc-per-node "
            f"{cards}), or compute on the processor (CUDA_VISIBLE_DEVICES= torchrun ...)"
        )
        raise error if os.environ.get("LOCAL_RANK") == "0" else ReportedElsewhere(0, str(error))


def _join(timeout: float) -> _Joined:
    # torchrun says who this process is; ignite would believe SLURM, which counts torchruns
    os.environ.pop("SLURM_JOB_ID", None)
    seconds = timedelta(seconds=timeout)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    idist.initialize(backend, timeout=max(seconds, START))
    return _Joined(
        timeout=timeout,
        gradients=dist.new_group(backend=backend, timeout=seconds),
        quick=dist.new_group(backend="gloo", timeout=seconds),
        patient=dist.new_group(backend="gloo", timeout=PATIENT),
        goodbyes=dist.new_group(backend="gloo", timeout=PATIENT),
        store=dist.distributed_c10d._get_default_store(),
    )


def _watch(joined: _Joined) -> None:
    """Wait for the next process' goodbye; if it dies instead, see that this one ends too."""
    following = (dist.get_rank() + 1) % dist.get_world_size()
    try:
        dist.recv(torch.zeros(1), src=following, group=joined.goodbyes)
    except RuntimeError as error:
        if joined.ended.wait(GRACE):
            return
        # the main thread is stuck where no signal reaches it
        report = _report_of(error, joined.timeout)
        if not isinstance(report, ReportedElsewhere):
            sys.stderr.write(f"convai: error: {report}\n")
        _exit(2)


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    raise _Terminated


class _Terminated(BaseException):
    """SIGTERM, which torchrun sends to all processes when one of them has ended."""


def _report_of(error: BaseException, timeout: float) -> BaseException:
    """What this process has to say about `error`: its own line, or nothing where another one has spoken."""
    if isinstance(error, ReportedElsewhere):
        return error
    mine = _explained(error, timeout)
    rank, host = os.environ.get("RANK", "0"), socket.gethostname()
    text = "\n".join((rank, host, str(mine)))
    found = _first_word(text)
    if found is None or found == text:
        return mine
    their_rank, their_host, message = found.split("\n", 2)
    if their_host != host and os.environ.get("LOCAL_RANK") == "0":
        return TrainingError(f"process {their_rank} on {their_host}: {message}")
    return ReportedElsewhere(int(their_rank), message)


def _first_word(text: str) -> str | None:
    """Keep `text` unless another process has left a word already; the word that was first."""
    if _joined is None:
        return None
    try:
        found = _joined.store.compare_set(_WORD, "", text)
        _let_others_hear(_joined.store)
    except RuntimeError:  # the store has gone with the process that held it
        return None
    return found.decode() if isinstance(found, bytes) else str(found)


def _let_others_hear(store: Any) -> None:
    """Without a launcher the store ends with process 0, which gives the others time to ask it."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return
    if not is_first():
        store.set(f"{_WORD}, heard by {dist.get_rank()}", "")
        return
    others = [f"{_WORD}, heard by {rank}" for rank in range(1, dist.get_world_size())]
    # not store.wait: it writes torch's own lines to stderr where the others are dead
    until = time.monotonic() + GRACE
    while not store.check(others) and time.monotonic() < until:
        time.sleep(0.01)


def _explained(error: BaseException, timeout: float) -> BaseException:
    place = f"process {os.environ.get('RANK', '0')} of {os.environ.get('WORLD_SIZE', '1')}"
    last = "the last checkpoint is intact: go on with --resume"
    if isinstance(error, _Terminated):
        return TrainingError(f"{place}: ended by its launcher, as when another process has died; {last}")
    if not isinstance(error, RuntimeError):
        return error
    text = str(error)
    if isinstance(error, dist.DistError) or "gloo" in text or "NCCL" in text:
        if "imed out" in text or "timeout" in text:
            return TrainingError(
                f"{place}: no answer from another process for {timeout:g} s; see what keeps it, or raise "
                f"--timeout; {last}"
            )
        return TrainingError(
            f"{place}: another process of this run has died without a word (killed, out of memory, or cut "
            f"off); {last}"
        )
    return error
