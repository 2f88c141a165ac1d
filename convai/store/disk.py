"""What SQLite has committed, on the disk: one wait for many transactions."""

from __future__ import annotations

import os
import threading
from pathlib import Path


class Disk:
    """SQLite's write-ahead log, on the disk: one wait for all the transactions that are committed by then.

    SQLite itself would wait within each transaction (synchronous = FULL), and let all other writers wait
    meanwhile. With NORMAL it writes the log, in order, and waits only before it takes the log into the
    database (https://www.sqlite.org/pragma.html#pragma_synchronous); whoever committed waits here before
    they say so.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._counting, self._syncing = threading.Lock(), threading.Lock()
        self._asked = self._done = 0
        self._made = -1

    def sync(self) -> None:
        """Return when all that was committed before the call is on the disk. Raises OSError."""
        with self._counting:
            self._asked += 1
            mine = self._asked
        with self._syncing:
            if self._done >= mine:
                return  # another one's wait began after our commit
            with self._counting:
                latest = self._asked
            try:
                file = os.open(self._log, os.O_RDONLY)
            except FileNotFoundError:  # the last connection took it into the database, and waited for that
                return
            try:
                os.fsync(file)
                made = os.fstat(file).st_ino
            finally:
                os.close(file)
            if made != self._made:
                self._sync_folder()
            self._made, self._done = made, latest

    def _sync_folder(self) -> None:
        """The log is a new file: its name has to be on the disk as well."""
        try:
            folder = os.open(self._log.parent, os.O_RDONLY)
        except OSError:  # where folders cannot be opened, their names need no waiting for
            return
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
