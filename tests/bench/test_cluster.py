"""What a token costs over a socket: the measurement runs, and counts both ways."""

from __future__ import annotations

import json

import pytest

from convai import __main__ as cli


def test_both_ways_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "cluster", "--chats", "2"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(found["ratios"]) == {"socket_vs_in_process"}
    raw = found["raw"]["cluster"]
    assert len(raw["here_us"]) == len(raw["socket_us"]) == 3
    assert min(raw["here_us"] + raw["socket_us"]) > 0


def test_too_many_streams_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "cluster", "--chats", "0"]) == 2
    assert "use 1 to 1000" in capsys.readouterr().err
