"""Group commit: short work for the store, done piece after piece by one thread, put on the disk together.

A thread for each piece would have them all contend for the interpreter with the event loop and the model:
every call into the database gives the interpreter up and has to get it back, and with eight of them a reply
waits longer for its turns than for anything else.
"""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar

from convai.store import Store

_TOGETHER: Final = 32
"""Most pieces that are put on the disk together: the first of them waits for the last."""
T = TypeVar("T")


class _Piece(NamedTuple):
    do: Callable[[], Any]
    future: asyncio.Future[Any]


class _Done(NamedTuple):
    future: asyncio.Future[Any]
    result: Any
    error: Exception | None


class GroupCommit:
    """The thread. `do` belongs to one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pieces: queue.SimpleQueue[_Piece | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="convai-commits", daemon=True)
        self._thread.start()

    async def do(self, do: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """The result of a call; what it wrote is on the disk then. Raises what the call raises.

        A call that has been asked for is made, whether or not somebody still waits for it.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._pieces.put(_Piece(functools.partial(do, *args, **kwargs), future))
        return await future

    def close(self) -> None:
        """Come to the end of what there is to do."""
        self._pieces.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            pieces = [self._pieces.get()]
            with suppress(queue.Empty):
                while pieces[-1] is not None and len(pieces) < _TOGETHER:
                    pieces.append(self._pieces.get_nowait())
            done: list[_Done] = []
            try:
                with self._store.together():
                    done += [_do(piece) for piece in pieces if piece is not None]
            except Exception as error:  # nothing is on the disk for certain
                done = [one._replace(error=one.error or error) for one in done]
            if done:
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    done[0].future.get_loop().call_soon_threadsafe(_resolve, done)
            if pieces[-1] is None:
                return


def _do(piece: _Piece) -> _Done:
    try:
        return _Done(piece.future, piece.do(), None)
    except Exception as error:
        return _Done(piece.future, None, error)


def _resolve(done: list[_Done]) -> None:
    for future, result, error in done:
        if future.done():  # whoever waited was cancelled
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
