"""Several models in one server: a conversation asks for one of them, and so does a client of REST."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import torch

from convai import __main__ as cli
from convai.conversation.adapters import start
from convai.conversation.agent import Agent, load_agent
from convai.conversation.session import Session
from convai.core.dialog import Persona
from convai.core.settings import EngineConfig
from convai.server.protocol.answers import Error
from convai.text.tokenizer import Tokenizer
from tests.chatting import tiny_agent
from tests.server.serving import Running, serving
from tests.tiny import tiny_model

PERSONA = {"sentences": ["i bake."]}
EXACT = EngineConfig(precision="float32", prefix_mib=8)


def other(seed: int, n_positions: int = 400) -> Agent:
    """Like the tiny agent, with other weights."""
    agent = tiny_agent(n_positions=n_positions)
    model = tiny_model(vocab_size=261, n_positions=n_positions, seed=seed)
    with torch.no_grad():
        model.transformer.wte.weight.mul_(0.3)
    return Agent(model, agent.tokenizer, agent.decoding, 4)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    at = tmp_path_factory.mktemp("models")
    tiny_agent().save(at / "tiny")
    for seed, name in enumerate(("baker", "nurse"), 1):
        other(seed).save(at / name)
    return {path.name: path for path in at.iterdir()}


@pytest.fixture(scope="module")
def running(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    found = start(folders["tiny"], EXACT, adapters=[str(folders["baker"]), str(folders["nurse"])], loaded=1)
    with serving(tmp_path_factory.mktemp("store"), found.agent, cast(Any, found.engine)) as up:
        yield up


def alone(folder: Path, said: str, seed: int) -> str:
    agent = load_agent(folder)
    session = Session(agent, agent.engine(EXACT), Persona(("i bake.",)))
    session.decoding = agent.decoding.__class__(max_length=20, temperature=1.0, seed=seed)
    return session.answer(said)


def test_a_conversation_asks_for_one(running: Running, folders: dict[str, Path]) -> None:
    with running.chat() as chat:
        chat.ready()
        for name in ("tiny", "baker", "nurse", "baker"):
            chat.new(persona=PERSONA, settings={"seed": 5, "adapter": "" if name == "tiny" else name})
            assert chat.say("hi") == alone(folders[name], "hi", 5)


def test_another_one_from_the_next_reply_on(running: Running, folders: dict[str, Path]) -> None:
    with running.chat() as chat:
        chat.ready()
        chat.new(persona=PERSONA, settings={"seed": 6})
        chat.done("set_decoding", settings={"adapter": "baker"})
        assert chat.say("hi") == alone(folders["baker"], "hi", 6)
        refused = chat.ask("set_decoding", settings={"adapter": "cook"})
        assert isinstance(refused, Error)
        assert "'tiny' has no such model; there is baker, nurse" in refused.message
        chat.new(persona=PERSONA, settings={"seed": 6, "adapter": "nurse"})
        assert chat.say("hi") == alone(folders["nurse"], "hi", 6)


def test_over_rest_it_is_a_model(running: Running) -> None:
    with httpx2.Client(base_url=running.url) as client:
        names = [model["id"] for model in client.get("/v1/models").json()["data"]]
        assert names[:3] == ["tiny", "baker", "nurse"]
        assert client.get("/v1/models/baker").json()["id"] == "baker"

        def ask(**more: Any) -> httpx2.Response:
            body = {"messages": [{"role": "user", "content": "hi"}], "seed": 1, "temperature": 1.0, **more}
            return client.post("/v1/chat/completions", json=body)

        texts = {
            name: ask(model=name).json()["choices"][0]["message"]["content"] for name in ("tiny", "baker")
        }
        assert texts["tiny"] != texts["baker"]
        by_setting = ask(model="tiny", adapter="baker").json()
        assert by_setting["choices"][0]["message"]["content"] == texts["baker"]
        missing = ask(model="cook")
        assert missing.status_code == 404
        assert "there is 'tiny', 'baker', 'nurse'" in missing.json()["error"]["message"]
        wrong = ask(model="tiny", adapter="cook")
        assert wrong.status_code == 400
        assert "there is baker, nurse" in wrong.json()["error"]["message"]
        metrics = client.get("/metrics").text
        assert "convai_adapters_loaded 1.0" in metrics
        assert "convai_adapter_loads_total" in metrics


def test_what_is_wrong_is_one_line(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*adapters: Path | str) -> str:
        at = ["engine", "--model", str(folders["tiny"]), "--listen", "127.0.0.1:0", "--adapters"]
        assert cli.main([*at, *map(str, adapters)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
        return error

    assert "no such model folder" in said(tmp_path / "nothing")
    assert "two models called baker" in said(folders["baker"], folders["baker"])
    tokenizer = Tokenizer.train(["other words than bytes"], 300)
    Agent(tiny_model(vocab_size=tokenizer.vocab_size, n_positions=400), tokenizer).save(tmp_path / "words")
    assert "its tokens are not those of tiny" in said(tmp_path / "words")
    other(1, n_positions=200).save(tmp_path / "short")
    assert "it takes 200 positions, tiny 400" in said(tmp_path / "short")


def test_a_door_whose_engines_are_elsewhere_loads_none(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["serve", "--model", str(folders["tiny"]), "--store", str(tmp_path / "chats.db"), "--port", "0"]
    at += ["--engine", "tcp://127.0.0.1:1", "--adapters", str(folders["baker"])]
    assert cli.main(at) == 2
    assert "give them to `convai engine`" in capsys.readouterr().err
