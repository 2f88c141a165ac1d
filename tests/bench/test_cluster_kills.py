"""Doors, engines and PostgreSQL are killed: the measurement runs, finds nothing, and would find something."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest

from convai import __main__ as cli
from convai.bench.cluster.counting import CountingEngine, letters, said
from convai.bench.cluster.person import Observations, Visitor
from convai.core.settings import DecodingConfig
from convai.engine import Begun, Finished, Request, Token
from convai.server.protocol.changes import Started, State, TokenDrawn
from convai.server.protocol.values import Message, PersonaCard
from tests.drawing import prompt

RAY = importlib.util.find_spec("ray") is not None
POSTGRESQL = shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def asked(text: str, **fields: object) -> Request:
    return Request(prompt(text), DecodingConfig(max_length=90, min_length=90), **fields)  # type: ignore[arg-type]


def test_a_reply_follows_from_what_was_said() -> None:
    """From its first letter, or from any other one: it goes on where another engine has begun."""
    with_one = CountingEngine(0.0)
    try:
        whole = letters(said(3, 4), 90)
        for begun in (0, 1, 64, 89, 90):
            there = (Begun(0, tuple(whole[:begun].encode()), -1.0),) if begun else ()
            events = list(with_one.stream(asked(said(3, 4), begun=there)))
            assert "".join(e.text for e in events if isinstance(e, Token)) == whole[begun:]
            assert isinstance(events[-1], Finished)
            assert events[-1].text == whole
    finally:
        with_one.close()
    assert len({letters(said(person, turn), 90) for person in range(9) for turn in range(9)}) == 81


@pytest.mark.parametrize("fault", ["", "missing", "twice", "another"])
def test_a_reader_sees_what_is_not_as_it_must_be(fault: str) -> None:
    notes = Observations()
    person = Visitor(1, ["ws://nowhere"], notes, length=90)
    user = Message(id="u", role="user", text=said(1, 0), time=0)
    reply = Message(id="a", parent="u", role="agent", text="", status="streaming", time=0)
    person.view.take(
        State(
            conversation="c", stream="s", n=0, title="", persona=PersonaCard(), settings={}, messages=(user,)
        )
    )
    person.view.take(Started(message=reply, n=1))
    words = list(letters(said(1, 0), 20))
    if fault == "missing":
        del words[7]
    elif fault == "twice":
        words.insert(7, words[6])
    elif fault == "another":
        words = list(letters(said(2, 0), 20))
    for n, word in enumerate(words, 2):
        person.view.take(TokenDrawn(message="a", text=word, logprob=0.0, n=n))
        person._look()
    assert bool(notes.wrong) == bool(fault)


def test_a_silence_is_told_by_what_died_meanwhile_and_how_often() -> None:
    notes = Observations()
    notes.killed += [(0.0, "door"), (10.0, "door"), (10.6, "engine"), (12.0, "door")]
    for begun, ended in ((5.0, 6.1), (10.2, 11.5), (10.2, 13.0), (11.0, 13.0)):
        notes.silence(begun, ended)
    assert {what: [round(one, 1) for one in every] for what, every in notes.away.items()} == {
        "nothing": [1.1],
        "door and engine": [1.3, 2.0],
        "door (2 times) and engine": [2.8],
    }


@pytest.mark.slow
@pytest.mark.skipif(not POSTGRESQL, reason="PostgreSQL is not installed")
def test_nothing_is_lost_when_something_dies(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "cluster", "--kills", "3", "--people", "2", "--doors", "2", "--engines", "2"]
    assert cli.main([*command, "--seed", "3"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["raw"]["kills"]
    assert sum(found["killed"].values()) == 3
    assert found["wrong"] == {}
    assert found["turns"] == found["replies"] >= 8
    assert found["undisturbed"]["stay"] == 1.0


@pytest.mark.slow
@pytest.mark.skipif(not POSTGRESQL, reason="PostgreSQL is not installed")
@pytest.mark.skipif(not RAY, reason="Ray is not installed (pip install 'convai[ray]')")
def test_nothing_is_lost_when_ray_dies(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "cluster", "--kills", "3", "--ray", "--people", "2", "--doors", "2", "--engines", "2"]
    assert cli.main([*command, "--seed", "22"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["raw"]["kills"]
    assert {"Ray", "Ray's head"} <= set(found["killed"])
    assert found["wrong"] == {}
    assert found["turns"] == found["replies"] >= 8


def test_without_ray_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(["bench", "cluster", "--kills", "3", "--ray"]) == 2
    error = capsys.readouterr().err
    assert "pip install 'convai[ray]'" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "options",
    [["--ray"], ["--kills", "0"], ["--kills", "1", "--doors", "1"], ["--kills", "1", "--sockets", "2"]],
)
def test_what_cannot_be_measured_is_one_line(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "cluster", *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1
