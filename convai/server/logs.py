"""The server's log: lines with time and place on stderr, few of a kind, and nothing that anybody wrote."""

from __future__ import annotations

import logging
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

logger: Final = logging.getLogger("convai.server")

_MOST: Final = 5
_SECONDS: Final = 60.0
_KNOWN: Final = 1000


class Throttle(logging.Filter):
    """Lets through so many lines of a kind a minute: what strangers send must not fill the disk."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is one of the first of its kind in this minute, or was asked for."""
        if record.levelno < logging.WARNING:
            return True
        kind, now = (record.name, str(record.msg)[:200]), self._clock()
        since, count = self._seen.pop(kind, (now, 0))
        if now - since >= _SECONDS:
            if count > _MOST:
                record.msg = f"{record.msg} [{count - _MOST} more like this were left out before]"
            since, count = now, 0
        self._seen[kind] = (since, count + 1)
        if len(self._seen) > _KNOWN:
            self._seen.popitem(last=False)
        return count < _MOST


def log_to_stderr(more: str = "") -> None:
    """Set the process' logging up: warnings and errors, and all that the logger called `more` has to say."""
    handler = logging.StreamHandler()
    handler.addFilter(Throttle())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    if more:
        logging.getLogger(more).setLevel(logging.INFO)


def log_failure(what: str, error: BaseException) -> None:
    """Log a defect by its place and kind. Its message is left out: it may hold what somebody wrote."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s: %s\n%s", what, type(error).__name__, frames)
