"""`convai bench server` measures what it says, on a small scale."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from convai import __main__ as cli
from convai.bench.server import people, transport
from convai.bench.server.clients import ClientFigures, Crowd
from tests.chatting import tiny_agent

pytestmark = pytest.mark.slow


def test_the_transport() -> None:
    found = transport.measure(4, 1.0, interval=0.05, settle=0.3)
    assert found["errors"] == {}
    assert found["sockets"] == 4
    assert found["expected_tokens_per_s"] == 80.0
    assert found["tokens_per_s"] > 0  # how many is what the benchmark is for
    assert 0 < found["delay_ms"]["median"] <= found["delay_ms"]["p99"] <= found["delay_ms"]["most"]


@pytest.mark.parametrize("tokens", [3, 0])
def test_a_crowd_has_waited_where_there_are_words(tokens: int) -> None:
    """The best of several candidates comes whole, at its end: no token is told before."""

    async def answer(socket: ServerConnection) -> None:
        async for text in socket:
            match json.loads(text)["type"]:
                case "hello":
                    frames: list[dict[str, Any]] = [{"type": "ready"}]
                case "new":
                    frames = [{"type": "state"}]
                case _:
                    frames = [{"type": "token", "text": "a"}] * tokens + [{"type": "finished"}]
            for frame in frames:
                await socket.send(json.dumps(frame))

    async def watch() -> tuple[set[int], ClientFigures]:
        async with serve(answer, "0.0.0.0", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            crowd = Crowd(f"http://127.0.0.1:{port}", 2, lines=["hi"], settings={}, stamped=False)
            await crowd.enter()
            await crowd.talk(3600)
            waited = set(crowd.notes.waits)
            notes = await crowd.window(0, replies=1)
            await crowd.leave()
        return waited, notes

    waited, notes = asyncio.run(watch())
    assert waited == {0, 1}
    assert notes.replies >= 1
    assert sum(map(len, notes.waits.values())) >= 1
    assert bool(notes.tokens) == bool(tokens)
    assert not notes.errors


def test_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "_SETTLE", 0.1)
    tiny_agent(candidates=2).save(tmp_path)
    for seconds in (0.5, 4.0, 32.0, 256.0):  # on a slow machine it takes longer until somebody has an answer
        found = people.measure(3, seconds, str(tmp_path), "float32", apart=True)
        if found["replies"]:
            break
    assert found["errors"] == {}
    assert found["replies"] > 0
    assert len(found["engine_tokens_per_s"]) == len(found["served_tokens_per_s"]) == 2
    assert found["share"] > 0


def test_the_command_prints_a_json_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {
        "chats": 2,
        "tokens_per_s": 4.0,
        "delay_ms": {"median": 1.0, "p99": 25.0, "most": 30.0},
        "kb_per_connection": 30.0,
        "errors": {},
    }
    monkeypatch.setattr(transport, "measure", lambda chats, seconds, interval: found)
    assert cli.main(["bench", "server", "--parts", "transport", "--chats", "2"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    line = json.loads(last)
    assert line["ratios"] == {"delay_within_50ms": 2.0, "connection_within_60kb": 2.0}
    assert line["raw"] == {"transport": found}
    assert cli.main(["bench", "server", "--chats", "0"]) == 2
    assert "--chats=0: use a number above 0" in capsys.readouterr().err
