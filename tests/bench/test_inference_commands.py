"""`convai bench decode` and `concurrency`: what they print, with contenders real and not."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest

from convai.__main__ import main
from convai.bench.bandwidth import Bandwidth, bytes_a_step, measure_bandwidth, share_of_limit
from convai.bench.contenders.registry import KINDS, OURS
from convai.bench.sizes import SIZES
from convai.model.shape import Shape
from tests.bench.fakes import PRECISION, Fake, Slow, Unloadable, fake

TINY = Shape(vocab_size=300, n_positions=512, n_embd=64, n_layer=2, n_head=2)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in SIZES:
        monkeypatch.setitem(SIZES, size, TINY)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, OURS, fake(OURS))
    for name, cls in {"transformers": Slow, "llamacpp": Unloadable, "ctranslate2": Fake}.items():
        monkeypatch.setitem(KINDS, name, fake(name, cls))


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[list[str], dict[str, Any]]:
    assert main(["bench", *args]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert set(result) == {"machine", "ratios", "raw"}
    return table, result


@pytest.mark.usefixtures("fakes")
def test_decode_prints_a_table_and_the_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    table, result = run(capsys, "decode", "--quick", "--baselines", "transformers", "llamacpp", "ctranslate2")
    expected = {"vs_transformers": 3.0, "vs_ctranslate2": 1.0, "turn10_within_1.5x": 1.5 / 10}
    assert result["ratios"] == pytest.approx(
        {f"{size}/1/{name}": ratio for size in "SM" for name, ratio in expected.items()}
    )
    raw = result["raw"]
    assert raw["S"]["missing"] == {"llamacpp": "llamacpp: RuntimeError: no such model"}
    assert raw["copy_gb_per_s"] > 0
    ours = raw["S"]["1"][OURS]
    assert ours["precision"] == PRECISION
    assert ours["tokens_per_s"] == pytest.approx(8.0)
    limit = 1e9 * max(raw["copy_gb_per_s"], raw["read_gb_per_s"]) / bytes_a_step(TINY, PRECISION)
    assert ours["share_of_bandwidth"] == pytest.approx(ours["decode_tokens_per_s"] / limit)
    assert re.match(r"\d+ threads; memory: copy [\d.]+ GB/s, read [\d.]+ GB/s$", table[0])
    assert raw["threads"] >= 1
    assert raw["S"]["turns"]["first_token_ms"] == pytest.approx(list(range(1, 11)))
    assert raw["S"]["turns"]["known_tokens"] == [5 * i for i in range(10)]
    assert any("the llamacpp" in line and "missing: " in line for line in table)
    assert any("the transformers" in line and "3.00 x" in line for line in table)


@pytest.mark.usefixtures("fakes")
def test_concurrency_compares_for_every_number_of_chats(capsys: pytest.CaptureFixture[str]) -> None:
    _, result = run(
        capsys, "concurrency", "--quick", "--size", "M", "--chats", "2", "3", "--baselines", "transformers"
    )
    assert result["ratios"] == pytest.approx(
        {"M/2/vs_transformers": 3.0, "M/3/vs_transformers": 3.0, "M/3/first_token_within_3x": 3 / 4}
    )
    assert result["raw"]["M"]["first_token"] == pytest.approx({"alone_ms": 1, "loaded_ms": 4, "others": 3})
    assert result["raw"]["M"]["missing"] == {}
    assert result["raw"]["M"]["3"][OURS]["rounds"] == 1


@pytest.mark.usefixtures("fakes")
def test_concurrency_tells_the_memory_where_it_is_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--quick", "--size", "S", "--chats", "2", "5", "--baselines", "--memory"]
    table, result = run(capsys, "concurrency", *args)
    assert result["ratios"]["S/5/memory_within_3gb"] == pytest.approx(3e9 / 5e8)
    assert result["raw"]["S"]["memory"] == {"peak_bytes": 5e8, "chats": 5, "tokens_each": 1000}
    assert any(line.endswith("5 chats of 1,000 tokens: 0.50 GB at the peak") for line in table)


@pytest.mark.usefixtures("fakes")
def test_json_alone_stands_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "decode", "--quick", "--size", "S", "--baselines", "--json"]) == 0
    captured = capsys.readouterr()
    assert set(json.loads(captured.out)["ratios"]) == {"S/1/turn10_within_1.5x"}
    assert "the ours" in captured.err


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(("load", "warned"), [(0.1, False), (1.5, True)])
def test_a_busy_machine_is_said(
    load: float, warned: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    table, result = run(capsys, "decode", "--quick", "--size", "S", "--baselines")
    assert any("do not trust these figures" in line for line in table) == warned
    assert result["raw"]["load"] == load


@pytest.mark.slow
def test_the_real_ones_in_their_processes(capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--quick", "--size", "S", "--chats", "2", "--baselines", "recompute"]
    _, result = run(capsys, "concurrency", *args)
    assert result["raw"]["S"]["missing"] == {}
    rates = {name: figures["tokens_per_s"] for name, figures in result["raw"]["S"]["2"].items()}
    assert result["ratios"]["S/2/vs_recompute"] == pytest.approx(rates[OURS] / rates["recompute"])
    first = result["raw"]["S"]["first_token"]
    assert result["ratios"]["S/2/first_token_within_3x"] == pytest.approx(
        3 * first["alone_ms"] / first["loaded_ms"]
    )


@pytest.mark.usefixtures("fakes")
def test_without_ours_there_is_nothing_to_compare(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(KINDS, OURS, fake(OURS, Unloadable))
    assert main(["bench", "decode", "--quick", "--size", "S", "--baselines"]) == 2
    assert "own engine cannot be measured: ours: RuntimeError: no such model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["decode", "--rounds", "0"], "rounds=0: use 1 or more"),
        (["decode", "--threads", "-1"], "threads=-1: use 0 (all cores) or more"),
        (["concurrency", "--chats", "0"], "chats=0: use 1 or more"),
        (["decode", "--baselines", "gpt4all"], "invalid choice: 'gpt4all'"),
    ],
)
def test_bad_options_are_one_line(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *args]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_the_limit_is_the_reading_of_all_weights() -> None:
    weights = 2 * 12 * 64**2 + 300 * 64
    assert bytes_a_step(TINY, "float32") == 4 * weights
    assert bytes_a_step(TINY, "q8_0") == weights * 34 / 32
    assert share_of_limit(TINY, "int8", 10.0, Bandwidth(copy=20.0 * weights, read=5.0)) == pytest.approx(0.5)


def test_bandwidth_is_measured() -> None:
    found = measure_bandwidth(1, megabytes=1, seconds=0.02)
    assert 1e7 < found.copy < 1e13
    assert 1e7 < found.read < 1e13
