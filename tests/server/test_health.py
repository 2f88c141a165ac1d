"""`/healthz` draws a real token and says when none comes; `/metrics` tells what is going on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from convai.core.settings import EngineConfig
from convai.engine.runner import Runner
from convai.server.health import FRESH, Checker
from tests.server.gate import gated
from tests.server.serving import PATIENCE, Running, serving, until_idle


@pytest.fixture
def http(server: Running) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=PATIENCE) as client:
        yield client


def checked(server: Running, **options: Any) -> None:
    """Have the server check itself with other options."""
    service = server.app.service
    service.health = Checker(service.agent, service.engine, lambda: service.draining, **options)


def sample(client: httpx2.Client, name: str, **labels: str) -> float:
    found = [
        one.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for one in family.samples
        if one.name == name and labels.items() <= one.labels.items()
    ]
    assert len(found) == 1, (name, labels, found)
    return float(found[0])


def test_a_real_token_is_drawn(tmp_path: Path) -> None:
    clock = [0.0]
    with serving(tmp_path) as server:
        checked(server, seconds=PATIENCE, clock=lambda: clock[0])
        before = server.stats.tokens_drawn
        answer = httpx2.get(f"{server.url}/healthz", timeout=PATIENCE)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        assert server.stats.tokens_drawn == before + 1
        for _ in range(5):  # within a second it is known
            assert httpx2.get(f"{server.url}/healthz", timeout=PATIENCE).status_code == 200
        assert server.stats.tokens_drawn == before + 1
        clock[0] += FRESH
        assert httpx2.get(f"{server.url}/healthz", timeout=PATIENCE).status_code == 200
        assert server.stats.tokens_drawn == before + 2


def test_a_dead_engine_is_no_healthy_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path / "closed") as server:
        server.engine.close()
        answer = httpx2.get(f"{server.url}/healthz", timeout=PATIENCE)
        assert (answer.status_code, answer.json()["status"]) == (503, "closed")
    with gated(monkeypatch) as gate, serving(tmp_path / "stuck") as server:
        checked(server, seconds=0.05)
        answer = httpx2.get(f"{server.url}/healthz", timeout=PATIENCE)
        assert (answer.status_code, answer.json()["status"]) == (503, "stuck")
        gate.open()

    def broken(*args: object) -> None:
        raise RuntimeError("no more")

    monkeypatch.setattr(Runner, "compute", broken)
    with serving(tmp_path / "broken") as server:
        answer = httpx2.get(f"{server.url}/healthz", timeout=PATIENCE)
        assert (answer.status_code, answer.json()["status"]) == (503, "failed")


def test_a_full_queue_in_front_of_a_dead_engine_is_no_sign_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        gated(monkeypatch) as gate,
        serving(tmp_path, engine=EngineConfig(slots=1, queue=1, prefix_mib=1)) as server,
        server.chat() as chat,
        server.chat() as other,
    ):
        for one in (chat, other):
            one.new()
            one.post("send", text="hi")
            one.until(lambda event: event.type == "started")
        checked(server, seconds=0.05)
        answer = httpx2.get(f"{server.url}/healthz", timeout=PATIENCE)
        assert (answer.status_code, answer.json()["status"]) == (503, "stuck")
        gate.open()
        chat.reply()
        other.reply()


def test_what_is_measured(server: Running, http: httpx2.Client) -> None:
    def counts() -> dict[str, float]:
        return {
            "first": sample(http, "convai_time_to_first_token_seconds_count", door="socket"),
            "between": sample(http, "convai_inter_token_seconds_count", door="socket"),
            "finished": sample(http, "convai_replies_total", door="socket", outcome="finished"),
            "drawn": sample(http, "convai_tokens_drawn_total"),
        }

    with server.chat() as chat:
        chat.new(settings={"max_length": 10, "min_length": 10})
        chat.say("hi")
        before = counts()
        assert sample(http, "convai_connections") >= 1
        chat.say("and again")
        after = counts()
    until_idle(server)
    assert after["first"] - before["first"] == 1
    assert after["finished"] - before["finished"] == 1
    assert 1 <= after["between"] - before["between"] <= 9
    assert after["drawn"] - before["drawn"] >= 10
    assert sample(http, "convai_queue") == 0
    assert sample(http, "convai_running") == 0
    assert sample(http, "convai_engine_cancelled_total") >= 0


def test_refusals_are_counted(tmp_path: Path) -> None:
    with serving(tmp_path, rate=3) as server, server.chat() as chat:
        server.app.service.limiter._clock = lambda: 0.0
        for _ in range(3):
            chat.ask("list")
        assert chat.refused("list") == "rate"
        assert server.app.service.metrics.rejected.labels("rate")._value.get() == 1
