"""The folder of one measurement: gone with it, and, where that was killed, with the next one."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

from convai.core.errors import ConvaiError
from convai.core.only_one import only_one

_PREFIX: Final = "convai-cluster-"
_LOCK: Final = "measured"
"""A file in it that is locked for as long as somebody measures there."""


@contextmanager
def own_folder(end_left: Callable[[Path], None]) -> Iterator[Path]:
    """A folder for as long as the block lasts, which SIGTERM ends as Ctrl-C does.

    `end_left` ends what may still run in one that was left behind, before that is removed.
    """
    sweep(end_left)
    with _ended_by_sigterm(), tempfile.TemporaryDirectory(prefix=_PREFIX) as made:
        folder = Path(made)
        os.chmod(folder, 0o711)  # PostgreSQL is another user
        with only_one(folder / _LOCK, "somebody else measures here"):
            yield folder


def sweep(end_left: Callable[[Path], None]) -> None:
    """Remove the folders of measurements that were killed. One that cannot be removed stays."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        lock = folder / _LOCK
        with suppress(OSError, ConvaiError):
            if not lock.is_file() or folder.stat().st_uid != os.geteuid():
                continue
            with only_one(lock, "somebody measures there"):
                end_left(folder)
                shutil.rmtree(folder)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
