"""What browsers are told about pages of other origins; with a real one in tests/web/test_other_origin.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.server.serving import PATIENCE, Running, serving

PAGE, STRANGER = "http://localhost:5173", "http://localhost:5174"
TOKEN = "0123456789abcdef"
ROUTES = ("/v1/chat/completions", "/v1/completions", "/v1/models", "/healthz", "/api/conversations/import")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with a token, to which pages of PAGE may connect."""
    folder: Path = tmp_path_factory.mktemp("cors")
    (folder / "tokens").write_text(TOKEN)
    with serving(folder, tokens=folder / "tokens", origins=PAGE) as up:
        yield up


def ask(server: Running, method: str, path: str, origin: str | None, **headers: str) -> Any:
    given = {"authorization": f"Bearer {TOKEN}", **({"origin": origin} if origin else {}), **headers}
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]} if method == "POST" else None
    return httpx2.request(method, server.url + path, headers=given, json=body, timeout=PATIENCE)


def preflight(server: Running, path: str, origin: str, *names: str) -> Any:
    """As a browser does it: without the token."""
    asked = {"access-control-request-method": "POST", "access-control-request-headers": ", ".join(names)}
    return httpx2.options(server.url + path, headers={"origin": origin, **asked}, timeout=PATIENCE)


@pytest.mark.parametrize("path", ROUTES)
def test_a_named_origin_may_send_what_clients_send(guarded: Running, path: str) -> None:
    names = ("authorization", "content-type", "x-stainless-lang")
    answer = preflight(guarded, path, PAGE, *names)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert set(answer.headers["access-control-allow-headers"].split(", ")) == set(names)
    assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "origin", [STRANGER, "null", "http://localhost:5173.example.org", "https://localhost:5173"]
)
def test_another_origin_is_told_nothing(guarded: Running, path: str, origin: str) -> None:
    answer = preflight(guarded, path, origin, "content-type")
    assert answer.status_code == 403
    assert not any(name.startswith("access-control-allow") for name in answer.headers)
    answer = ask(guarded, "GET", "/v1/models", origin)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_answers_and_errors_can_be_read_by_the_page(guarded: Running) -> None:
    for method, path, status, headers in [
        ("POST", "/v1/chat/completions", 200, {}),
        ("POST", "/v1/chat/completions", 401, {"authorization": "Bearer wrong"}),
        ("GET", "/v1/chat/completions", 405, {}),
        ("GET", "/v1/models", 200, {}),
        ("GET", "/v1/models", 401, {"authorization": ""}),
        ("GET", "/nothing", 404, {}),
    ]:
        answer = ask(guarded, method, path, PAGE, **headers)
        assert answer.status_code == status, (method, path)
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "retry-after" in answer.headers["access-control-expose-headers"]


def test_without_an_origin_nothing_is_added(guarded: Running) -> None:
    answer = ask(guarded, "GET", "/v1/models", None)
    assert answer.status_code == 200
    assert not any(name.startswith("access-control") for name in answer.headers)
