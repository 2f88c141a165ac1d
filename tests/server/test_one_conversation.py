"""A conversation is the same at every door: terminal, socket, REST and self-chat give the same replies."""

from __future__ import annotations

import io
import json
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from convai.conversation.agent import Agent
from convai.conversation.hooks import Hooks
from convai.conversation.session import Session
from convai.core.dialog import USER, Dialog, Persona, Turn
from convai.core.settings import EngineConfig
from convai.core.settings_values import from_text
from convai.engine import Engine, Event
from convai.evaluation.evaluate import numbered_seed
from convai.evaluation.self_chat import self_chats
from convai.server.protocol.changes import FinishedReply, Started, TokenDrawn
from convai.terminal.chat import Chat
from convai.terminal.screen import Screen
from convai.text.personas import PersonaDeck
from tests.chatting import DigestEngine, ended, tiny_agent
from tests.server.serving import PATIENCE, Running, serving

PERSONAS = [Persona(("i am a nurse.", "i have two dogs.")), Persona(("i ski.",))]
RUN = 5
SEED = numbered_seed(RUN, 0)
EXACT = EngineConfig(precision="float32", prefix_mib=8)


class Doors:
    """One agent, and an engine for each door that says the same."""

    def __init__(self, agent: Agent, made_up: bool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.agent, self.folder = agent, folder
        self._made_up = made_up
        if made_up:
            monkeypatch.setattr(Agent, "exact_engine", lambda agent, precision: self.engine())

    def engine(self) -> Any:
        return DigestEngine(self.agent) if self._made_up else self.agent.engine(EXACT)

    def self_chat(self, turns: int) -> Dialog:
        """The model in both chairs."""
        history = self.agent.max_history
        (chat,) = self_chats(self.agent, PERSONAS, 1, turns=turns, seed=RUN, max_history=history)
        return chat.dialog

    def terminal(self, persona: Persona) -> Session:
        decoding = replace(self.agent.decoding, seed=SEED)
        return Session(self.agent, self.engine(), persona, decoding=decoding)

    def serving(self, **more: Any) -> Any:
        engine = self.engine()
        return serving(
            self.folder, self.agent, engine if self._made_up else engine.start(), rate=1_000_000, **more
        )


@pytest.fixture(params=["made up", "model"])
def doors(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doors:
    return Doors(tiny_agent(max_length=8), request.param == "made up", tmp_path, monkeypatch)


def rest(server: Running, dialog: Dialog, reply: int, **settings: Any) -> str:
    """What REST says in the place of a turn of the dialogue."""
    said = [("user" if turn.speaker == USER else "assistant", turn.text) for turn in dialog.turns[:reply]]
    system = ("system", "\n".join(dialog.persona.sentences))
    body = {
        "model": "tiny",
        "messages": [{"role": role, "content": text} for role, text in (system, *said)],
        "seed": SEED,
        **settings,
    }
    answer = httpx2.post(f"{server.url}/v1/chat/completions", json=body, timeout=PATIENCE)
    return answer.json()["choices"][0]["message"]["content"]  # type: ignore[no-any-return]


def test_the_same_seed_gives_the_same_conversation_at_every_door(doors: Doors) -> None:
    """500 turns that self-chat made up, 20 redraws, and what is said after them (fewer with a model)."""
    turns, redraws = (250, 20) if isinstance(doors.engine(), DigestEngine) else (3, 5)
    dialog = doors.self_chat(turns)
    texts = [turn.text for turn in dialog.turns]
    said, replies = texts[::2], texts[1::2]

    session = doors.terminal(dialog.persona)
    assert [session.answer(text) for text in said] == replies
    again = [ended(session.regenerate()).text for _ in range(redraws)]
    assert len(set(again)) > redraws / 2, "the doors are held against something"
    after = session.answer("and then?")

    with doors.serving() as server, server.chat() as chat:
        chat.ready()
        chat.new(persona={"sentences": list(dialog.persona.sentences)}, settings={"seed": SEED})
        assert [chat.say(text) for text in said] == replies
        drawn = []
        for _ in range(redraws):
            chat.done("regenerate")
            drawn.append(chat.reply().text)
        assert drawn == again
        assert chat.say("and then?") == after
        for place in sorted({1, 3, len(texts) // 2 | 1, len(texts) - 1}):
            assert rest(server, dialog, place) == texts[place]


AGAINST_REPETITION: dict[str, Any] = {
    "dry_multiplier": 2.0,
    "dry_allowed_length": 1,
    "dry_sequence_breakers": '" "',
    "xtc_probability": 0.5,
    "xtc_threshold": 0.01,
    "top_n_sigma": 3.0,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.25,
    "repeat_last_n": -1,
    "logit_bias": '"e": 2.5',
    "dynatemp_low": 0.4,
    "dynatemp_high": 1.4,
    "temperature_last": True,
}


def test_what_is_against_repetition_is_so_at_every_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the terminal's typed settings, the socket's, and REST in the words of other servers."""
    doors = Doors(tiny_agent(max_length=8), False, tmp_path, monkeypatch)
    session = doors.terminal(PERSONAS[0])
    plain = doors.terminal(PERSONAS[0])
    for name, value in AGAINST_REPETITION.items():
        session.decoding = from_text(session.decoding, name, str(value))
    texts = ("hi", "how are you?", "how are you?")
    replies = [session.answer(text) for text in texts]
    assert replies != [plain.answer(text) for text in texts]
    with doors.serving() as server, server.chat() as chat:
        chat.ready()
        chat.new(
            persona={"sentences": list(PERSONAS[0].sentences)}, settings={"seed": SEED, **AGAINST_REPETITION}
        )
        assert [chat.say(text) for text in texts] == replies
        path, _ = server.store.branch("local", chat.view.conversation or "")
        dialog = Dialog(tuple(Turn(kept.speaker, kept.text) for kept in path), (Persona(), PERSONAS[0]))
        theirs = {
            **AGAINST_REPETITION,
            "dry_sequence_breakers": [" "],
            "logit_bias": {str(doors.agent.tokenizer.encode("e")[0]): 2.5},
            "dynamic_temperature": True,
        }
        assert [rest(server, dialog, place, **theirs) for place in (1, 3, 5)] == replies


def test_undo_and_another_message_stand_at_the_same_place(doors: Doors) -> None:
    session = doors.terminal(PERSONAS[0])
    first = [session.answer("hi"), session.answer("how are you?")]
    session.undo()
    second = session.answer("who are you?")
    with doors.serving() as server, server.chat() as chat:
        chat.ready()
        chat.new(persona={"sentences": list(PERSONAS[0].sentences)}, settings={"seed": SEED})
        assert [chat.say("hi"), chat.say("how are you?")] == first
        chat.done("undo")
        assert chat.say("who are you?") == second


def test_what_leans_on_a_reply_does_so_at_every_door(doors: Doors) -> None:
    """A history in other words, and a preference among candidates; what the model read is kept."""
    hooks = Hooks(
        preference=lambda texts: [float(len(text)) for text in texts],
        history=lambda turns: [replace(turn, text=turn.text.upper()) for turn in turns],
    )
    session = doors.terminal(PERSONAS[0])
    session.decoding = replace(session.decoding, candidates=3)
    session.preference, session.history = hooks.preference, hooks.history
    replies = [session.answer(text) for text in ("hi", "how are you?")]
    with doors.serving(hooks=hooks) as server, server.chat() as chat:
        chat.ready()
        settings = {"seed": SEED, "candidates": 3}
        chat.new(persona={"sentences": list(PERSONAS[0].sentences)}, settings=settings)
        assert [chat.say(text) for text in ("hi", "how are you?")] == replies
        answer = chat.ask("inspect", message=chat.view.messages[-1].id)
        shown = "".join(row.text for row in answer.rows if row.part == "history")
        assert "HI" in shown
        assert "HOW ARE YOU?" in shown
        path, _ = server.store.branch("local", chat.view.conversation or "")
        dialog = Dialog(tuple(Turn(kept.speaker, kept.text) for kept in path), (Persona(), PERSONAS[0]))
        assert rest(server, dialog, 3, candidates=3) == replies[1]


def test_of_several_candidates_every_door_shows_that_one_is_coming_and_then_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = Doors(tiny_agent(max_length=8), False, tmp_path, monkeypatch)
    session, out = doors.terminal(PERSONAS[0]), io.StringIO()
    session.decoding = replace(session.decoding, candidates=3)
    chat = Chat(session, PersonaDeck(PERSONAS), Screen(out, width=80), NoKeys(), lambda chat, line: None)
    before = []

    def events() -> Generator[Event, None, None]:
        drawn = session.say("hi")
        before.append(out.getvalue())
        yield from drawn

    assert chat.show_reply(events())
    (reply,) = [turn.text for turn in session.turns if turn.speaker != USER]
    assert before == ["bot> "]
    assert out.getvalue().split() == ["bot>", *reply.split()]

    with doors.serving() as server, server.chat() as socket:
        socket.ready()
        settings = {"seed": SEED, "candidates": 3}
        socket.new(persona={"sentences": list(PERSONAS[0].sentences)}, settings=settings)
        first = len(socket.frames)
        assert socket.say("hi") == reply
        came = [f for f in socket.frames[first:] if isinstance(f, Started | TokenDrawn | FinishedReply)]
        assert [type(frame) for frame in came] == [Started, FinishedReply]
        assert came[0].message.text == ""
        body = {
            "model": "tiny",
            "messages": [
                {"role": "system", "content": "\n".join(PERSONAS[0].sentences)},
                {"role": "user", "content": "hi"},
            ],
            "seed": SEED,
            "candidates": 3,
            "stream": True,
        }
        answer = httpx2.post(f"{server.url}/v1/chat/completions", json=body, timeout=PATIENCE)
        sent = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        deltas = [one["choices"][0]["delta"] for one in sent]
        assert deltas[0].get("role") == "assistant"
        assert [delta["content"] for delta in deltas if delta.get("content")] == [reply]


class NoKeys:
    """A keyboard on which nobody types."""

    typed = ""

    def read(self, prompt: str) -> str:
        raise EOFError


def test_another_reply_to_a_message_that_has_one_is_another(doors: Doors) -> None:
    """Asked for by the user's message, and not by the reply."""
    with doors.serving() as server, server.chat() as chat:
        chat.ready()
        chat.new(persona={"sentences": list(PERSONAS[0].sentences)}, settings={"seed": SEED})
        first = chat.say("hi")
        chat.done("regenerate", message=chat.view.messages[0].id)
        second = chat.reply().text
    session = doors.terminal(PERSONAS[0])
    assert session.answer("hi") == first
    assert ended(session.regenerate()).text == second != first


def test_an_engine_of_digests_tells_requests_apart() -> None:
    agent = tiny_agent()
    session = Session(agent, DigestEngine(agent), PERSONAS[0])  # type: ignore[arg-type]
    other = Session(agent, DigestEngine(agent), PERSONAS[1])  # type: ignore[arg-type]
    assert not isinstance(session.engine, Engine)
    session.decoding = other.decoding = replace(agent.decoding, seed=SEED)
    assert session.answer("hi") != other.answer("hi")
