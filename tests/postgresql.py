"""An empty schema on a PostgreSQL server, where CONVAI_TEST_PG names one; .ci/run starts one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, make_url, text


@contextmanager
def schema() -> Iterator[str]:
    """The URL of an empty schema, which is dropped again; without a server the test is skipped."""
    server = os.environ.get("CONVAI_TEST_PG")
    if not server:
        pytest.skip("CONVAI_TEST_PG is unset: no PostgreSQL server to test with")
    url = make_url(server).set(drivername="postgresql+psycopg")
    schema = f"test_{secrets.token_hex(6)}"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    yield url.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()
