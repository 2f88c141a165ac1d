"""`auto` takes the type that is fastest on the processor at hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from convai.training import autocast as precision
from convai.training.autocast import autocast_dtype, bf16_pays


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    bf16_pays.cache_clear()
    yield
    bf16_pays.cache_clear()


def processor(monkeypatch: pytest.MonkeyPatch, *, amx: bool, bf16: bool, seconds: float = 1.0) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(
        precision, "_product_seconds", lambda dtype: seconds if dtype == torch.bfloat16 else 1.0
    )


@pytest.mark.parametrize(
    ("amx", "bf16", "seconds", "expected"),
    [
        (True, True, 9.0, True),  # not tried
        (False, False, 0.1, False),
        (False, True, 0.5, True),
        (False, True, 1.8, False),
    ],
)
def test_a_processor_without_amx_is_tried(
    monkeypatch: pytest.MonkeyPatch, amx: bool, bf16: bool, seconds: float, expected: bool
) -> None:
    processor(monkeypatch, amx=amx, bf16=bf16, seconds=seconds)
    assert bf16_pays() is expected
    assert autocast_dtype("auto", torch.device("cpu")) == (torch.bfloat16 if expected else None)


def test_a_named_type_is_taken_as_it_is() -> None:
    cpu = torch.device("cpu")
    assert autocast_dtype("bf16", cpu) == torch.bfloat16
    assert autocast_dtype("fp16", cpu) == torch.float16
    assert autocast_dtype("float32", cpu) is None


def test_the_trial_takes_the_best_of_its_products() -> None:
    times = iter([0.0, 3.0, 4.0, 5.0, 10.0, 12.0, 20.0, 24.0])
    assert precision._product_seconds(torch.float32, lambda: next(times)) == 1.0


def test_settled_is_what_auto_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for pays, name in ((True, "bf16"), (False, "float32")):
        monkeypatch.setattr(precision, "bf16_pays", lambda pays=pays: pays)
        assert precision.settled("auto", cpu) == name
        assert [precision.settled(p, cpu) for p in ("float32", "bf16", "fp16")] == ["float32", "bf16", "fp16"]
