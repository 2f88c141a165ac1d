"""What the store's thread does: in order, on the disk together, and nobody's failure is another's."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convai.server.group_commit import GroupCommit
from convai.store import Store, StoreError

ANN = "ann"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "chats.db") as made:
        yield made


@pytest.fixture
def commits(store: Store) -> Iterator[GroupCommit]:
    made = GroupCommit(store)
    yield made
    made.close()


async def held(commits: GroupCommit, *asked: Callable[[], object]) -> list[object]:
    """Ask for things while the commits is busy with another one, so that they wait together."""
    begun, gate = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert gate.wait(60)

    busy = asyncio.ensure_future(commits.do(work))
    await asyncio.sleep(0)
    assert begun.wait(60)
    waiting = [asyncio.ensure_future(commits.do(one)) for one in asked]
    await asyncio.sleep(0)
    gate.set()
    await busy
    return await asyncio.gather(*waiting, return_exceptions=True)


def test_in_order_and_with_what_it_raises(commits: GroupCommit) -> None:
    done: list[int] = []

    def fail() -> None:
        done.append(-1)
        raise LookupError("not here")

    found = asyncio.run(held(commits, lambda: done.append(1), fail, lambda: len(done)))
    assert done == [1, -1]
    assert [str(one) for one in found] == ["None", "not here", "2"]


def test_those_that_wait_go_to_the_disk_together(
    commits: GroupCommit, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(ANN)  # the log is a file that is known
    syncs: list[int] = []
    real = os.fsync

    def fsync(file: int) -> None:
        assert len(store.find(ANN).items) == 11  # all are committed by then
        syncs.append(file)
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    asyncio.run(held(commits, *[lambda: store.create(ANN)] * 10))
    assert len(syncs) == 1


def test_nothing_is_acknowledged_that_is_not_on_the_disk(
    commits: GroupCommit, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(ANN)

    def fsync(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    found = asyncio.run(held(commits, lambda: store.create(ANN), lambda: store.find(ANN)))
    assert [type(one) for one in found] == [StoreError, StoreError]
    monkeypatch.undo()
    assert asyncio.run(commits.do(store.create, ANN)).conversation  # and it goes on


def test_somebody_who_no_longer_waits(commits: GroupCommit) -> None:
    done: list[int] = []

    async def leave() -> int:
        gate = threading.Event()
        busy = asyncio.ensure_future(commits.do(gate.wait))
        left = asyncio.ensure_future(commits.do(done.append, 1))
        await asyncio.sleep(0)
        left.cancel()
        gate.set()
        await busy
        return await commits.do(len, done)

    assert asyncio.run(leave()) == 1, "it is done all the same"


def test_what_was_asked_for_is_done_before_the_end(store: Store) -> None:
    done: list[int] = []

    async def end() -> None:
        commits = GroupCommit(store)
        last = asyncio.ensure_future(commits.do(done.append, 1))
        await asyncio.sleep(0)
        commits.close()
        await last

    asyncio.run(end())
    assert done == [1]
