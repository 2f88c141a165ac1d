"""One process at a time: a lock on a file, which is free again when the process ends, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convai.core.errors import ConvaiError


@contextmanager
def only_one(path: Path, message: str) -> Iterator[None]:
    """Hold the lock file `path` for as long as the block lasts; it stays behind, empty.

    Raises ConvaiError with `message` where another process holds it. On systems without such locks nobody is
    kept out.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConvaiError(message) from None
        yield
