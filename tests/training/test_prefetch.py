"""Items made ahead come in order, with their errors, and nothing outlives the reader."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from convai.training.prefetch import prefetched


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_order_and_end() -> None:
    assert list(prefetched(iter(range(100)))) == list(range(100))
    assert list(prefetched(iter(()))) == []
    assert "prefetch" not in names()


def test_the_next_items_are_made_while_one_is_in_use() -> None:
    made, third = [], threading.Event()

    def source() -> Iterator[int]:
        for i in range(10):
            made.append(i)
            if i == 3:
                third.set()
            yield i

    items = prefetched(source(), depth=2)
    assert next(items) == 0
    assert third.wait(120), "two wait in the queue, and the one after them is being made"
    assert made == [0, 1, 2, 3]
    items.close()
    assert "prefetch" not in names()


def test_an_error_comes_where_its_item_would_have() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("bad row")

    items = prefetched(source())
    assert next(items) == 1
    with pytest.raises(ValueError, match="bad row"):
        next(items)
    assert "prefetch" not in names()


def test_closing_closes_the_source() -> None:
    closed = []

    def source() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    items = prefetched(source())
    next(items)
    items.close()
    assert closed == [True]
