"""When replies in the making are saved: soon, and then as often as a crash makes worth while."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from convai.server.drafts import FEW, SAVE_SHARED, SAVE_SLOW, Drafts
from convai.store import Draft


class Reply:
    def __init__(self) -> None:
        self.settled = False

    def draft(self) -> Draft:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("doors", "tokens", "saved"),
    [
        (None, 1, [0.0, 0.1, SAVE_SHARED - 0.1, SAVE_SHARED, SAVE_SLOW]),
        (object(), FEW, [0.0, SAVE_SHARED, SAVE_SLOW]),
        (object(), 1, [0.0, SAVE_SLOW]),
    ],
)
def test_how_often_a_reply_is_saved(doors: Any, tokens: int, saved: list[float]) -> None:
    """`tokens` come before each look."""

    async def times() -> list[float]:
        service: Any = SimpleNamespace(doors=doors)
        drafts, reply, over = Drafts(service), Reply(), Reply()
        over.settled = True
        found = []
        for now in (0.0, 0.1, SAVE_SHARED - 0.1, SAVE_SHARED, SAVE_SLOW):
            for one in (reply, over):
                for _ in range(tokens):
                    drafts.changed(one)
            due = drafts.due(now)
            assert over not in due
            found += [now] * (reply in due)
        return found

    assert asyncio.run(times()) == saved
