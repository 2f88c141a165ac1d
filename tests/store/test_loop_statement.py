"""A statement that an event loop asks itself: its answers, and what is left behind where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing

import pytest
from sqlalchemy import text

from convai.store import StoreError
from convai.store.database import Database
from convai.store.loop_statement import LoopStatement
from tests.postgresql import schema
from tests.server.serving import PATIENCE

Row = Callable[..., Awaitable[list[str | None]]]


@pytest.fixture
def database() -> Iterator[Database]:
    with schema() as where, closing(Database(where)) as made:
        yield made


def asking(database: Database, sql: str, ask: Callable[[Row], Awaitable[None]]) -> None:
    statement = LoopStatement(database, sql)
    with closing(statement):
        asyncio.run(_timed(ask(statement.row)))


async def _timed(work: Awaitable[None]) -> None:
    async with asyncio.timeout(PATIENCE):
        await work


def test_values_of_any_size_and_letters(database: Database) -> None:
    async def ask(row: Row) -> None:
        assert await row("ä€😀", "") == ["ä€😀", "3", None]
        large = "x" * 10_000_000  # which no socket takes at once
        assert await row(large, "y") == [large, "10000000", "y"]

    asking(database, "SELECT CAST($1 AS TEXT), length($1), nullif($2, '')", ask)


def test_after_an_error_it_goes_on(database: Database) -> None:
    async def ask(row: Row) -> None:
        for wrong, said in (("0", "division by zero"), ("x", "invalid input syntax")):
            with pytest.raises(StoreError, match=said):
                await row(wrong)
            assert await row("2") == ["5"]

    asking(database, "SELECT 10 / CAST($1 AS INTEGER)", ask)


def test_a_statement_that_is_none_is_one_line(database: Database) -> None:
    async def ask(row: Row) -> None:
        with pytest.raises(StoreError, match="syntax error"):
            await row()

    asking(database, "SELEKT", ask)


def test_a_connection_that_was_ended_is_made_anew(database: Database) -> None:
    async def ask(row: Row) -> None:
        first = await row("")
        with pytest.raises(StoreError):
            await row("end")
        assert await row("") != first

    ends = "CASE $1 WHEN 'end' THEN CAST(pg_terminate_backend(pg_backend_pid()) AS TEXT) END"
    asking(database, f"SELECT pg_backend_pid(), {ends}", ask)


def test_who_is_cancelled_leaves_no_answer_behind(database: Database) -> None:
    def runs() -> bool:
        with database.read() as connection:
            found = connection.execute(
                text("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_slee%'")
            )
            return found.first() is not None

    async def ask(row: Row) -> None:
        assert await row("0", "first") == ["", "first"]
        task = asyncio.create_task(row("60", "second"))  # type: ignore[arg-type]
        while not await asyncio.to_thread(runs):
            assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await row("0", "third") == ["", "third"]

    asking(database, "SELECT pg_sleep(CAST($1 AS FLOAT)), CAST($2 AS TEXT)", ask)


def test_a_table_is_not_read_as_a_whole(database: Database) -> None:
    """However few rows PostgreSQL takes it for, and however many are asked for."""
    with database.write() as connection:
        connection.execute(text("CREATE TABLE things (id TEXT PRIMARY KEY, size INTEGER)"))
        connection.execute(
            text("INSERT INTO things SELECT CAST(id AS TEXT), id FROM generate_series(1, 300) AS id")
        )
        connection.execute(text("ANALYZE things"))
    few = "SELECT sum(size) FROM things, json_to_recordset(CAST($1 AS JSON)) AS given(id TEXT)"
    sql = f"{few} WHERE things.id = given.id"

    async def ask(row: Row) -> None:
        assert await row('[{"id": "7"}, {"id": "8"}]') == ["15"]

    statement = LoopStatement(database, sql)
    with closing(statement):
        asyncio.run(_timed(ask(statement.row)))
        plan = "\n".join(line for (line,) in statement._driver.execute("EXPLAIN EXECUTE convai('[]')"))
    assert "Index Scan using things_pkey" in plan
    assert "Seq Scan" not in plan
