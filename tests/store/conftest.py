"""A fresh store for every test: on SQLite, and on PostgreSQL where CONVAI_TEST_PG names a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convai.store import Store
from tests.postgresql import schema


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A file, or the URL of an empty schema that is dropped again."""
    if request.param == "sqlite":
        yield str(tmp_path / "chats.db")
        return
    with schema() as url:
        yield url


@pytest.fixture
def store(where: str) -> Iterator[Store]:
    with Store(where) as opened:
        yield opened
