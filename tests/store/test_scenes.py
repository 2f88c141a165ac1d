"""What was imported: characters, lorebooks, who one may be known as."""

from __future__ import annotations

import itertools

import pytest

from convai.store import Store
from tests.store.helpers import ANN, BOB


@pytest.mark.parametrize("clock", ["goes on", "stands", "is set back"])
def test_the_latest_comes_first(store: Store, monkeypatch: pytest.MonkeyPatch, clock: str) -> None:
    """Whatever the clock does: several are kept within one of its ticks."""
    ticks = {
        "stands": itertools.repeat(1_700_000_000_000),
        "is set back": itertools.count(1_700_000_000_000, -1),
    }
    if clock in ticks:
        monkeypatch.setattr("convai.store.scenes.now", lambda: next(ticks[clock]))
    names = [f"book {number}" for number in range(6)]
    for name in names:
        store.scenes.keep(ANN, "book", name, "{}")
        store.scenes.keep(BOB, "book", name, "{}")
    assert [one.name for one in store.scenes.kept(ANN, "book")] == names[::-1]
    latest = store.scenes.kept(ANN, "book")[0]
    assert store.scenes.one(ANN, "book", latest.id) == latest
