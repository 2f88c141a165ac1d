"""Engines as Ray Serve replicas: found, used and lost by a door that has no Ray of its own."""

from __future__ import annotations

import importlib.util
import signal
import socket
import sys
from pathlib import Path

import pytest

from convai import __main__ as cli
from convai.engine import EngineLost
from convai.engine.handshake import identity
from convai.engine.reaching import on_ray, reach
from tests.chatting import tiny_agent
from tests.commands.processes import engine, processes
from tests.engine.test_remote import ask

HAS_RAY = importlib.util.find_spec("ray") is not None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_without_ray_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(["engine", "--ray", "--listen", "127.0.0.1:0"]) == 2
    error = capsys.readouterr().err
    assert "pip install 'convai[ray]'" in error
    assert error.count("\n") == 1


def test_a_ray_that_is_not_there_is_one_line() -> None:
    with pytest.raises(EngineLost, match="does not say where its engines are"):
        on_ray(f"ray://127.0.0.1:{free_port()}")


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed (pip install 'convai[ray]')")
def test_replies_come_from_replicas(tmp_path: Path) -> None:
    agent = tiny_agent()
    agent.save(tmp_path / "model")
    port = free_port()
    options = [one if one != "127.0.0.1:0" else f"127.0.0.1:{port}" for one in engine(tmp_path / "model")]
    with processes((*options, "--ray", "--replicas", "2")) as [running]:
        assert running.url == f"ray://127.0.0.1:{port}"
        with reach(f"ray://127.0.0.1:{port}", "", identity("", agent.tokenizer), wait=60.0) as replicas:
            assert len(replicas.engines) == 2
            assert len(list(replicas.stream(ask(5)))) == 6
        assert running.end(signal.SIGINT) == 0
