"""Prepared statements give what SQLAlchemy gives, and what is said costs as much in a long conversation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, insert, select, update

from convai.store import StoreError, queries
from convai.store.database import Database
from convai.store.prepared import Prepared, for_psycopg
from convai.store.tables import requests

ROW = {"owner": "ann", "name": "r1", "conversation": "c", "message": None, "created": 5}
_OF = select(requests).where(requests.c.owner == bindparam("owner"), requests.c.created > 1)


@pytest.fixture
def database(where: str) -> Any:
    database = Database(where)
    yield database
    database.close()


def test_rows_are_those_of_sqlalchemy(database: Database) -> None:
    put, found = Prepared(insert(requests)), Prepared(_OF.order_by(requests.c.name))
    with database.write() as connection:
        put.run(connection, ROW, {**ROW, "name": "r2", "message": "m"})
        put.run(connection, {**dict(reversed(ROW.items())), "name": "r3", "owner": "ben"})
    with database.read() as connection:
        rows = found.all(connection, {"owner": "ann"})
        same = connection.execute(_OF.order_by(requests.c.name), {"owner": "ann"}).all()
        assert [row._asdict() for row in rows] == [row._asdict() for row in same]
        assert [(row.name, row.message) for row in rows] == [("r1", None), ("r2", "m")]
        assert found.all(connection, {"owner": "nobody"}) == []
        assert found.one_or_none(connection, {"owner": "nobody"}) is None
        assert found.one_or_none(connection, {"owner": "ben"}).name == "r3"  # type: ignore[union-attr]


def test_what_is_set_is_chosen_with_every_call(database: Database) -> None:
    with database.write() as connection:
        Prepared(insert(requests)).run(connection, ROW)
        change = Prepared(update(requests).where(requests.c.name == bindparam("of_name")))
        change.run(connection, {"of_name": "r1", "message": "m"})
        change.run(connection, {"created": 9, "of_name": "r1"})
        change.run(connection, {"created": 9, "of_name": "none", "message": "no"})
        row = Prepared(_OF).one_or_none(connection, {"owner": "ann"})
        assert row is not None
        assert (row.message, row.created) == ("m", 9)


def test_what_fails_undoes_the_transaction(database: Database) -> None:
    put = Prepared(insert(requests))

    def twice() -> None:
        with database.write() as connection:
            put.run(connection, ROW)
            put.run(connection, ROW)

    with pytest.raises(StoreError, match=r"UNIQUE|unique"):
        twice()
    with database.read() as connection:
        assert Prepared(_OF).all(connection, {"owner": "ann"}) == []


def test_nothing_reads_a_whole_conversation_to_go_on_with_it(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db")
    with database.read() as connection:
        for statement, given, index in (
            (queries._ENTERED, {"id": "c"}, "messages_being_written"),
            (
                queries._CHILDREN_OF_ONE,
                {"conversation": "c", "writer": "w", "parent": "p"},
                "messages_by_parent",
            ),
        ):
            compiled = statement._for(connection, given)
            asked = f"EXPLAIN QUERY PLAN {compiled.text}"
            plan = [row[3] for row in connection.exec_driver_sql(asked, compiled.values(given))]
            assert any(index in step for step in plan), plan
            # a search of messages by their conversation alone reads all of them, but for the last number
            whole = [step for step in plan if "messages" in step and step.endswith("(conversation=?)")]
            assert all("COVERING INDEX" in step or index in step for step in whole), plan
    database.close()


def test_names_are_values_and_what_looks_like_them_is_not() -> None:
    asked = for_psycopg("SELECT a::text, '10:30', 7 % 4 FROM t WHERE x = :x AND (y = :y OR y = :x)")
    assert asked == "SELECT a::text, '10:30', 7 %% 4 FROM t WHERE x = %(x)s AND (y = %(y)s OR y = %(x)s)"
