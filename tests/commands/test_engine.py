"""`convai engine`, and `convai serve --engine`: doors and engines as processes, killed and told to end."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from convai import __main__ as cli
from convai.bench.server.stub import StubEngine
from convai.conversation.agent import load_agent, load_voice
from convai.core.only_one import only_one
from convai.engine.handshake import identity
from convai.engine.reaching import addresses, reach
from convai.server.protocol.changes import FinishedReply, TokenDrawn
from convai.store.database import Database
from convai.store.migrations import MIGRATIONS
from tests.chatting import tiny_agent
from tests.commands.processes import door, engine, processes
from tests.engine.remote import TOKEN, listening
from tests.server.serving import Chat


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its replies are long: there is time to kill somebody."""
    folder = tmp_path_factory.mktemp("model")
    tiny_agent(n_positions=900, max_length=500, min_length=500, seed=7).save(folder)
    return folder


def socket_of(url: str) -> str:
    return url.replace("http", "ws", 1) + "/chat"


def wrong(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def test_a_voice_knows_what_an_agent_knows(model: Path) -> None:
    agent, voice = load_agent(model), load_voice(model)
    for name in ("decoding", "max_history", "name", "positions", "has_long_context"):
        assert getattr(voice, name) == getattr(agent, name)
    assert identity("", voice.tokenizer) == identity("", agent.tokenizer)


def test_what_is_wrong_is_one_line(model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "other machines can reach" in wrong("engine", "--listen", "0.0.0.0:0", capsys=capsys)
    assert "HOST:PORT" in wrong("engine", "--listen", "7000", capsys=capsys)
    at = ("serve", "--model", str(model), "--port", "0", "--emotion-model", "none")
    at += ("--store", str(tmp_path / "chats.db"))
    assert "tcp://HOST:PORT" in wrong(*at, "--engine", "10.0.0.1:7000", capsys=capsys)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with listening(StubEngine(0.0)) as (_, (host, port)):
        where = f"tcp://{host}:{port}"
        assert "another token" in wrong(*at, "--engine", where, capsys=capsys)
    voice = load_voice(model)
    other = identity("other", load_agent(model).tokenizer, load_agent(model).model, "float32")
    other = type(other)("other", "else", other.weights)
    with listening(StubEngine(0.0), model=other) as (_, (host, port)):
        where = f"tcp://{host}:{port}"
        said = wrong(*at, "--engine", where, "--engine-token-file", str(token), capsys=capsys)
        assert f"the engine has the model 'other', whose tokens are not those of {voice.name!r}" in said


def test_a_file_has_one_door(model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with only_one(tmp_path / "chats.db.lock", ""):
        said = wrong(
            "serve",
            "--model",
            str(model),
            "--port",
            "0",
            "--store",
            str(tmp_path / "chats.db"),
            capsys=capsys,
        )
    assert "another `convai serve` has these open" in said


def test_what_is_missing_is_said(model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    at = ["serve", "--check", "--model", str(model), "--port", "0", "--store", str(tmp_path / "chats.db")]
    assert cli.main(at) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:7].strip() for line in lines[:-1]] == ["ok"] * 5
    assert lines[-1] == "nothing is missing"
    with listening(StubEngine(0.0)) as (_, (host, port)):
        assert cli.main([*at, "--engine", f"tcp://{host}:{port}"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].startswith("MISSING engine: ")
    assert "another token" in lines[3]


def test_a_store_is_looked_at_and_left_as_it_is(
    model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    where = tmp_path / "chats.db"
    Database(where, MIGRATIONS[:-1]).close()
    at = ["serve", "--check", "--model", str(model), "--port", "0", "--store", str(where)]
    for _ in range(2):
        assert cli.main(at) == 0
        assert "of an earlier convai: the first door to serve it" in capsys.readouterr().out
    with only_one(Path(f"{where}.lock"), "taken"):
        assert cli.main(at) == 2
    assert "MISSING store: " in (said := capsys.readouterr().out)
    assert "another `convai serve` has these open" in said


@pytest.mark.parametrize(
    ("cores", "options", "said"),
    [
        (1, [], "in this process"),
        (2, [], "in a process of its own"),
        (2, ["--engine", "here"], "in this process"),
        (1, ["--engine", "apart"], "in a process of its own"),
    ],
)
def test_a_core_of_its_own_is_a_process_of_its_own(
    cores: int,
    options: list[str],
    said: str,
    model: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("convai.commands.options.allowed", lambda: frozenset(range(cores)))
    at = ["serve", "--check", "--model", str(model), "--port", "0", "--store", str(tmp_path / "chats.db")]
    assert cli.main([*at, *options]) == 0
    assert f"engine: computes here, {said};" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says whose child a process is")
@pytest.mark.slow
def test_a_chat_survives_its_models_process(model: Path, tmp_path: Path) -> None:
    """Kill -9 of the process that `convai serve` has for its model: its reply still comes to its end."""
    at = door(model, tmp_path / "chats.db", "--engine", "apart", "--precision", "float32")
    with processes(at) as [serving]:
        with Chat(socket_of(serving.url)) as chat:
            chat.ready()
            chat.new()
            chat.done("send", text="hello")
            chat.until(TokenDrawn)
            [busy] = [pid for pid in _children(serving.pid) if "spawn_main" in _command(pid)]
            os.kill(busy, signal.SIGKILL)
            assert chat.reply().status == "complete"
            [end] = [frame for frame in chat.frames if isinstance(frame, FinishedReply)]
            assert end.n - 3 == 500  # a path and a beginning before them; some may come in one frame
        [busy] = [pid for pid in _children(serving.pid) if "spawn_main" in _command(pid)]
        serving.end(signal.SIGTERM)
        assert not Path(f"/proc/{busy}").exists()


def _children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_engines_may_come_later() -> None:
    own = identity("tiny", tiny_agent().tokenizer)
    with listening(StubEngine(0.0), model=own) as (_, (host, port)):
        with reach(f"tcp://127.0.0.1:1,{host}:{port}", TOKEN, own, wait=30.0) as port_of_both:
            health = port_of_both.health()
            assert (health.status, health.detail[:15]) == ("ok", "1 of 2 engines:")
            assert port_of_both.limits.name == "stub"
    assert addresses("tcp://a:1, [::1]:2") == [("a", 1), ("::1", 2)]


@pytest.mark.slow
def test_a_chat_survives_its_engine(model: Path, tmp_path: Path) -> None:
    """Kill -9 of the engine that writes the reply: the reader sees the reply that was begun, whole."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    secret = ("--token-file", str(token))
    with processes(engine(model, *secret), engine(model, *secret)) as engines:
        where = "tcp://" + ",".join(one.url.removeprefix("tcp://") for one in engines)
        at = door(model, tmp_path / "chats.db", "--engine", where, "--engine-token-file", str(token))
        with processes(at) as [serving], Chat(socket_of(serving.url)) as chat:
            chat.ready()
            chat.new()
            before = {one: _processor_time(one) for one in engines}
            chat.done("send", text="hello")
            seen = [chat.until(TokenDrawn) for _ in range(60)]
            busy = max(engines, key=lambda one: _processor_time(one) - before[one])
            busy.end()
            reply = chat.reply()
            assert reply.status == "complete"
            tokens: list[Any] = [frame for frame in chat.frames if isinstance(frame, TokenDrawn)]
            [end] = [frame for frame in chat.frames if isinstance(frame, FinishedReply)]
            assert end.n - 3 == 500  # a reader that comes late gets several tokens in one frame
            assert seen == tokens[:60]
            chat.new()
            assert chat.say("hello") == reply.text  # the same persona, turn and seed, undisturbed
            [other] = [one for one in engines if one is not busy]
            assert other.end(signal.SIGTERM) == 0
            assert chat.refused("send", text="and now?") == "queue"
            assert serving.end(signal.SIGTERM) in (0, -signal.SIGTERM)  # uvicorn ends by the signal again
            for one in (serving, *engines):
                assert "hello" not in one.said
                assert TOKEN not in one.said


def _processor_time(process: Any) -> int:
    fields = Path(f"/proc/{process._process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
