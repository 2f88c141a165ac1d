"""The soak test: it ends, its counts agree, and it notices what is wrong."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch

from convai.bench.random_model import random_model
from convai.bench.server.host import resident_bytes
from convai.bench.sizes import SIZES
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Shape
from tests.engine import soak
from tests.engine.soak_guests import random_settings

TINY = Shape(vocab_size=300, n_positions=256, n_embd=16, n_layer=1, n_head=1)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "S", TINY)
    monkeypatch.setattr(soak, "PROBE_EVERY", 0.0)


def run(**plan: Any) -> tuple[list[str], dict[str, Any]]:
    table: list[str] = []
    found = soak.measure(soak.SoakPlan(chats=6, precision="float32", **plan), table.append)
    return table, found


def test_guests_come_and_go_and_nothing_is_left() -> None:
    table, found = run(requests=60)
    assert found["passed"]
    assert set(found["checks"]) == {
        "no stuck request",
        "no failure",
        "counters add up",
        "everything is free again",
        "a seeded reply stays the same",
    }
    assert all(line.startswith("ok ") for line in table)
    assert found["outcomes"]["taken"] >= 60
    assert found["outcomes"]["left"] > 0
    assert found["engine"]["cancelled"] > 0
    assert found["probes"] > 1


def test_a_full_queue_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "SLOTS", 4)
    monkeypatch.setattr(soak, "QUEUE", 1)
    _, found = run(requests=20)
    assert found["passed"]
    assert found["outcomes"]["refused"] == found["engine"]["refused"] > 0


def test_a_damaged_model_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(config: Shape, seed: int) -> DoubleHeadsModel:
        model = random_model(config, seed)
        with torch.no_grad():
            model.transformer.wte.weight[0] = math.nan
        return model

    monkeypatch.setattr(soak, "random_model", poisoned)
    table, found = run(requests=20)
    assert not found["passed"]
    assert not found["checks"]["no failure"]
    assert found["checks"]["counters add up"], "what failed is counted as well"
    assert any(line.startswith("FAIL") and "not a finite number" in line for line in table)


def test_a_request_that_waits_too_long_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "PATIENCE", 0.0)
    _, found = run(minutes=1.0)
    assert not found["checks"]["no stuck request"]


def test_memory_is_judged_between_the_third_tenth_and_the_last() -> None:
    rising = [10 * i for i in range(100)]
    assert soak.ends_of(rising) == (245.0, 945.0)
    assert soak.ends_of([5] * 19 + [50] * 81) == (50.0, 50.0), "what is touched first does not count"
    assert soak.ends_of([7]) == (7.0, 7.0)
    assert resident_bytes() > 2**20


def test_settings_of_every_kind_are_legal() -> None:
    rng = random.Random(0)
    drawn = [random_settings(rng) for _ in range(300)]
    assert {c.num_beams > 1 for c in drawn} == {True, False}
    assert {c.candidates for c in drawn} == {1, 2, 4}
    assert all(max(c.num_beams, c.candidates) <= 4 for c in drawn)
