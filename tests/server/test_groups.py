"""Groups on the server: as in the terminal, over socket and REST; members, greetings, kept and exported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from convai.conversation.session import Session
from convai.conversation.staging import Staging, staging_of
from convai.core.character import Character
from convai.server.protocol.changes import FinishedReply, SceneSet, State
from convai.server.protocol.changes import Path as PathChange
from convai.text.cards import card_of, character_of
from tests.chatting import DigestEngine, ended, tiny_agent
from tests.conversation.test_characters import chatml
from tests.conversation.test_group import ANN, BOB
from tests.postgresql import schema
from tests.server.serving import PATIENCE, Chat, Running, serving
from tests.server.test_characters import imported

DEE = Character("Dee", description="Dee is a nurse.", talkativeness=0.9)
CAST = tuple(character_of(card_of(one)) for one in (ANN, BOB, DEE))
SEED = 11
SAID = ("hello", "Bob, what do you do?", "and Ann and Dee?", "well", "so?", "hm")


def cast(server: Running) -> list[str]:
    return [imported(server, dict(card_of(one).document)) for one in CAST]


def rest(server: Running, path: str, body: Any = None, method: str = "POST") -> Any:
    answer = httpx2.request(method, f"{server.url}/api/conversations{path}", json=body, timeout=PATIENCE)
    return answer.json(), answer.status_code


def of_socket(chat: Chat) -> list[tuple[str, str]]:
    """What was said, with names."""
    scene = chat.view.scene
    names = {one.persona: one.name for one in scene.group.members} if scene and scene.group else {}
    return [
        (names.get(one.persona, "") if one.role == "agent" else "", one.text) for one in chat.view.messages
    ]


def say(chat: Chat, server: Running, text: str, answers: int) -> None:
    """Say something, and wait for so many replies."""
    chat.done("send", text=text)
    for _ in range(answers):
        chat.until(FinishedReply)


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Where a store is, if not in a file."""
    if request.param == "sqlite":
        yield None
        return
    with schema() as url:
        yield url


@pytest.mark.parametrize("made_up", [True, False])
def test_a_group_says_the_same_at_every_door(tmp_path: Path, made_up: bool, where: str | None) -> None:
    agent = tiny_agent(max_length=8) if made_up else chatml(min_length=4)
    agent.decoding = replace(agent.decoding, seed=None)

    def engine() -> Any:
        return DigestEngine(agent) if made_up else agent.engine()

    session = Session(agent, engine(), decoding=replace(agent.decoding, seed=SEED))
    session.members().gather(CAST)
    session.greet()
    counts = [len(session.answers(text)) for text in SAID]
    assert max(counts) > 1
    before = [(turn.name, turn.text) for turn in session.turns]
    last = ended(session.regenerate()).text
    ended(session.speak("ann"))
    ended(session.speak())
    expected = [(turn.name, turn.text) for turn in session.turns]
    assert ("Ann", "Hi all.") in expected
    assert {name for name, _ in expected} == {"", "Ann", "Bob Smith", "Dee"}

    started = engine() if made_up else engine().start()
    with serving(tmp_path, agent, started, where=where, rate=1_000_000) as server:
        ids = cast(server)
        with server.chat() as chat:
            chat.ready()
            chat.new(characters=ids, settings={"seed": SEED})
            for text, count in zip(SAID, counts, strict=True):
                say(chat, server, text, count)
            assert of_socket(chat) == before
            chat.done("regenerate")
            assert chat.reply().text == last
            for member in ("ann", ""):
                chat.done("speak", member=member)
                chat.reply()
            assert of_socket(chat) == expected
            kept = chat.view.conversation
        # opened again, and exported and imported
        with server.chat() as chat:
            chat.ready()
            chat.done("open", conversation=kept)
            chat.until(State)
            assert of_socket(chat) == expected
        exported = httpx2.get(f"{server.url}/api/conversations/{kept}/export").text
        (tmp_path / "group.jsonl").write_text(exported)
        again = Session(agent, engine())
        again.load(tmp_path / "group.jsonl")
        assert again.group == session.group
        assert [(turn.name, turn.text) for turn in again.turns] == expected
        back = httpx2.post(f"{server.url}/api/conversations/import", content=exported).json()["conversation"]
        next_said, _ = rest(server, f"/{back}/messages", {"text": "and now?"})
        assert [(one.get("name", ""), one["text"]) for one in next_said["messages"][1:]] == session.answers(
            "and now?"
        )

        told, status = rest(server, "", {"characters": ids, "settings": {"seed": SEED}})
        assert status == 201
        said = told["messages"]
        for text in SAID:
            answer, status = rest(server, f"/{told['conversation']}/messages", {"text": text})
            assert (status, answer["next"]) == (201, "")
            said += answer["messages"]
        by_rest = [(one.get("name", ""), one["text"]) for one in said]
        at = len(by_rest) - 1
        assert by_rest[:at] == expected[:at]


def test_two_doors_have_the_same_one_speak(tmp_path: Path) -> None:
    """Whichever of them is asked, and whoever looks on at the other."""
    with serving(tmp_path, rate=1_000_000) as server:
        begun, _ = rest(server, "", {"characters": cast(server), "settings": {"seed": SEED}})
        address = f"/{begun['conversation']}/messages"
        said = [rest(server, address, {"text": text})[0]["messages"] for text in SAID[:4]]
        said.append(rest(server, address, {"speaker": "dee"})[0]["messages"])
    expected = [(one.get("name", ""), one["text"]) for turn in [begun["messages"], *said] for one in turn]
    with schema() as url, serving(tmp_path, where=url) as one, serving(tmp_path, where=url) as other:
        told, _ = rest(one, "", {"characters": cast(one), "settings": {"seed": SEED}})
        with other.chat() as chat:
            chat.ready()
            chat.done("open", conversation=told["conversation"])
            for server, text in zip((one, other, one, other), SAID, strict=False):
                rest(server, f"/{told['conversation']}/messages", {"text": text})
            rest(one, f"/{told['conversation']}/messages", {"speaker": "dee"})
            while of_socket(chat) != expected:
                chat.read()


def test_each_reply_has_its_speakers_card(server: Running, chat: Chat) -> None:
    chat.new(characters=cast(server), settings={"seed": 1}, greeting=None)
    assert chat.view.messages == []
    chat.done("set_group", order="chosen")
    chat.until(SceneSet)
    for name in ("Ann", "Bob"):
        say(chat, server, f"{name}, hi", 1)
    message = chat.view.messages[-1]
    told = chat.ask("inspect", message=message.id)
    text = "".join(row.text for row in told.rows)
    assert "Ann: " in text
    parts = {row.part for row in told.rows}
    assert parts & {"description", "persona"}
    assert message.persona == 2
    assert chat.view.messages[0].persona == 1
    assert chat.view.scene is not None


def test_members_change_and_nobody_answers_for_whom_nobody_asked(server: Running, chat: Chat) -> None:
    ann, bob, dee = cast(server)
    assert chat.refused("set_group", order="turn") == "order" if chat.view.conversation is None else True
    chat.new(character=ann, settings={"seed": 1}, greeting=None)
    assert chat.refused("set_group", order="turn") == "refused"
    assert chat.refused("speak") == "refused"
    chat.say("hi")
    chat.done("set_group", add=bob)
    scene = chat.until(SceneSet).scene
    assert [one.name for one in scene.group.members] == ["Ann", "Bob Smith"]
    chat.done("set_group", add=dee, mute="bob", order="chosen", cards="swap")
    scene = chat.until(SceneSet).scene
    assert [(one.name, one.muted) for one in scene.group.members] == [
        ("Ann", False),
        ("Bob Smith", True),
        ("Dee", False),
    ]
    assert (scene.group.order, scene.group.cards) == ("chosen", "swap")
    chat.done("send", text="Bob?")
    chat.until(PathChange)
    assert [one.text for one in chat.view.messages][-1] == "Bob?"
    assert chat.view.writing is None
    chat.done("speak", member="bob")
    chat.reply()
    assert of_socket(chat)[-1][0] == "Bob Smith"
    chat.done("set_group", remove="Bob")
    assert [one.here for one in chat.until(SceneSet).scene.group.members] == [True, False, True]
    assert of_socket(chat)[-1][0] == "Bob Smith"
    for fields in ({"add": dee}, {"remove": "Eve"}, {"mute": "bob"}):
        assert chat.refused("set_group", **fields) == "refused"
    assert chat.refused("set_group", add="nothing") == "not_found"
    assert chat.refused("set_persona", persona={"sentences": ["i ski."]}) == "refused"
    assert chat.refused("set_scene", character=dee) == "conflict"
    assert chat.refused("new", characters=[]) == "refused"
    assert chat.refused("new", characters=[ann, ann]) == "refused"


def test_greetings_of_a_group_are_drawn_anew(server: Running, chat: Chat) -> None:
    chat.new(characters=cast(server), settings={"seed": 1})
    assert of_socket(chat) == [("Ann", "Hi all."), ("Bob Smith", "Yo.")]
    chat.done("regenerate", message=chat.view.messages[0].id)
    chat.until(PathChange)
    assert of_socket(chat) == [("Ann", "Ho.")]


def test_an_edited_message_is_answered_by_whom_it_names(server: Running, chat: Chat) -> None:
    chat.new(characters=cast(server), settings={"seed": 1}, greeting=None)
    chat.done("set_group", order="chosen")
    say(chat, server, "Ann?", 1)
    chat.done("edit", message=chat.view.messages[0].id, text="Dee?")
    chat.until(FinishedReply)
    assert [name for name, _ in of_socket(chat)] == ["", "Dee"]
    chat.done("edit", message=chat.view.messages[0].id, text="hello")
    chat.until(PathChange)
    assert of_socket(chat) == [("", "hello")]
    chat.done("regenerate")
    chat.reply()
    assert [name for name, _ in of_socket(chat)] == ["", "Ann"]
    reply = chat.view.messages[-1]
    chat.done("edit", message=reply.id, text="Ann says so.")
    chat.until(PathChange)
    assert of_socket(chat)[-1] == ("Ann", "Ann says so.")


def test_over_rest_a_group_is_shown_and_changed(server: Running) -> None:
    told, _ = rest(server, "", {"characters": cast(server), "greeting": None})
    path = f"/{told['conversation']}"
    shown, status = rest(server, f"{path}/group", method="GET")
    assert status == 200
    assert [one["name"] for one in shown["group"]["members"]] == ["Ann", "Bob Smith", "Dee"]
    changed, _ = rest(server, f"{path}/group", {"order": "turn", "mute": "Ann"}, method="PATCH")
    assert changed["group"]["order"] == "turn"
    spoken, _ = rest(server, f"{path}/messages", {"speaker": "dee"})
    assert [one["name"] for one in spoken["messages"]] == ["Dee"]
    assert rest(server, f"{path}/messages", {"speaker": ""})[0]["messages"][0]["name"] == "Bob Smith"
    for where, body, method, code in (
        (f"{path}/messages", {"speaker": "Eve"}, "POST", 400),
        (f"{path}/messages", {}, "POST", 400),
        (f"{path}/messages", {"text": " "}, "POST", 400),
        (f"{path}/group", {"order": "loud"}, "PATCH", 400),
        (f"{path}/group", {}, "DELETE", 405),
        ("/nothing/messages", {"text": "hi"}, "POST", 404),
        ("", {"characters": []}, "POST", 400),
        ("", {"characters": ["nobody"]}, "POST", 404),
    ):
        told, status = rest(server, where, body, method)
        assert status == code, told
        assert "\n" not in told["error"]["message"]


def test_one_character_is_talked_with_over_rest(server: Running) -> None:
    told, _ = rest(server, "", {"persona": {"sentences": ["i ski."]}, "settings": {"seed": 3}})
    assert told["messages"] == []
    first, _ = rest(server, f"/{told['conversation']}/messages", {"text": "hi"})
    assert [(one["role"], one["status"]) for one in first["messages"]] == [
        ("user", "complete"),
        ("agent", "complete"),
    ]
    assert first["next"] == ""


def test_what_was_kept_before_there_were_groups_is_read() -> None:
    old = json.loads(Staging().as_json())
    assert "group" not in old
    assert not staging_of(json.dumps(old)).group
