"""A PostgreSQL that is somebody else's: what is missing there is one line that says what to do."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from convai.store import Store, StoreError, server_check
from convai.store import database as module
from convai.store.database import Database
from convai.store.server_check import check_rights, check_sessions
from tests.postgresql import schema


@pytest.fixture
def url() -> Iterator[str]:
    with schema() as where:
        yield where


def options(url: str, added: str) -> str:
    made = make_url(url)
    before = made.query["options"]
    assert isinstance(before, str)
    return made.update_query_dict({"options": f"{before} {added}"}).render_as_string(hide_password=False)


@pytest.fixture
def plain(url: str) -> Iterator[str]:
    """The URL for somebody who may look at the schema, and make nothing there."""
    role, engine = f"plain_{secrets.token_hex(6)}", create_engine(make_url(url))
    with engine.begin() as connection:
        if not connection.execute(
            text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        ).scalar():
            pytest.skip("CONVAI_TEST_PG names somebody who may make no roles")
        name = connection.execute(text("SELECT current_schema()")).scalar()
        connection.execute(text(f"CREATE ROLE {role}"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA {name} TO {role}"))
    yield options(url, f"-crole={role}")
    with engine.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {role}"))
        connection.execute(text(f"DROP ROLE {role}"))
    engine.dispose()


def test_the_right_to_make_tables(url: str, plain: str) -> None:
    with closing(Database(url, change=False)) as database:
        assert database.missing
        check_rights(database)
    with (
        closing(Database(plain, change=False)) as database,
        pytest.raises(
            StoreError, match=r"no right to make tables in .*GRANT CREATE ON SCHEMA test_\w+ TO plain"
        ),
    ):
        check_rights(database)
    Store(url).close()
    with closing(Database(url, change=False)) as database:
        assert not database.missing


def test_a_schema_that_is_not_there(url: str) -> None:
    with (
        closing(Database(options(url, "-csearch_path=nowhere"), change=False)) as database,
        pytest.raises(StoreError, match=r"search_path \(nowhere\) names no schema that is there; make it"),
    ):
        check_rights(database)


class OtherSession:
    """A connection behind a pooler: what it listens to is listened to by another session."""

    def __init__(self, driver: Any, other: Any) -> None:
        self._driver, self._other = driver, other

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def execute(self, statement: str, *values: Any) -> Any:
        return (self._other if statement.startswith("LISTEN") else self._driver).execute(statement, *values)

    def close(self) -> None:
        self._driver.close()
        self._other.close()


def test_a_pooler_that_keeps_no_sessions(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Database(url)) as database:
        check_sessions(database)
        apart = database.apart
        monkeypatch.setattr(database, "apart", lambda: OtherSession(apart(), apart()))
        monkeypatch.setattr(server_check, "_HEARD", 0.05)
        with pytest.raises(
            StoreError, match=r"a pooler in between .*name PostgreSQL itself, or have the pooler"
        ):
            check_sessions(database)


def test_an_old_server(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OLDEST", (99,))
    with pytest.raises(StoreError, match=r"PostgreSQL \d+\.\d+, which is too old; use 99 or later"):
        Database(url)
