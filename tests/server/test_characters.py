"""Characters on the server: imported, greeting, in the prompt, changed, exported; nobody sees another's."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import httpx2
import pytest

from convai.server.protocol.changes import Path, SceneSet, State
from tests.server.serving import Chat, Running
from tests.text.cards.test_character import CARD, packed


def post(server: Running, path: str, body: bytes) -> Any:
    answer = httpx2.post(f"{server.url}{path}", content=body)
    return answer.json(), answer.status_code


def imported(server: Running, card: dict[str, Any] = CARD) -> str:
    told, status = post(server, "/api/characters", json.dumps(card).encode())
    assert status == 201
    return str(told["id"])


def test_a_card_is_imported_listed_exported_and_deleted(server: Running) -> None:
    told, status = post(server, "/api/characters", packed("card.json", json.dumps(CARD).encode()))
    assert status == 201
    assert (told["name"], told["entries"], told["unused"]) == (
        "Annie",
        1,
        ["extensions.fav", "tags", "unknown"],
    )
    listed = httpx2.get(f"{server.url}/api/characters").json()["characters"]
    assert told["id"] in [one["id"] for one in listed]
    address = f"{server.url}/api/characters/{told['id']}"
    assert httpx2.get(address).json()["persona"][0] == "my name is Annie."
    for version in (2, 3):
        exported = httpx2.get(f"{address}/export", params={"version": version}).json()
        assert exported["spec"] == f"chara_card_v{version}"
        assert exported["data"]["description"] == CARD["data"]["description"]
    assert httpx2.get(f"{address}/export", params={"format": "png"}).content.startswith(b"\x89PNG")
    assert httpx2.get(f"{address}/export", params={"version": "9"}).status_code == 400
    assert httpx2.delete(address).status_code == 200
    assert httpx2.get(address).status_code == 404


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1]", b"PK\x03\x04", b'{"version": "1.0.0", "name": "x"}', b"\xff\xfe\x00"]
)
def test_what_is_no_card_is_refused_in_a_line(server: Running, body: bytes) -> None:
    told, status = post(server, "/api/characters", body)
    assert status == 400
    assert "\n" not in told["error"]["message"]


def test_a_character_greets_and_its_words_reach_the_model(server: Running, chat: Chat) -> None:
    id = imported(server)
    chat.new(character=id, user={"name": "Bob", "sentences": ["i am a smith."]}, settings={"seed": 3})
    assert [message.text for message in chat.view.messages] == ["Morning, Bob!"]
    chat.done("regenerate", message=chat.view.messages[0].id)
    chat.until(Path)
    assert [message.text for message in chat.view.messages] == ["Hi."]
    chat.done("greet", greeting=2)
    chat.until(Path)
    assert [message.text for message in chat.view.messages] == ["Closed!"]
    chat.done("set_scene", note={"text": "It rains.", "depth": 1})
    told = chat.until(SceneSet)
    assert told.scene.character is not None
    assert (told.scene.character.name, told.scene.note.text) == ("Annie", "It rains.")
    chat.say("a cat?")
    inspected = chat.ask("inspect", message=chat.view.messages[-1].id)
    kinds = {one.kind for one in inspected.added}
    assert {"lore", "note", "post_history", "user"} <= kinds
    assert {"A cat."} == {one.text for one in inspected.added if one.kind == "lore"}
    assert chat.refused("greet") == "conflict"


def test_it_stays_when_the_conversation_is_opened_again(server: Running, chat: Chat) -> None:
    chat.new(character=imported(server), greeting=None)
    assert chat.view.messages == []
    conversation = chat.view.conversation
    exported = httpx2.get(f"{server.url}/api/conversations/{conversation}/export").text
    assert "Annie is a baker." in exported
    again, status = post(server, "/api/conversations/import", exported.encode())
    assert status == 201
    with server.chat() as other:
        other.done("open", conversation=again["conversation"])
        other.done("greet")
        other.until(Path)
        assert [message.text for message in other.view.messages] == ["Morning!"]
        other.done("set_persona", persona={"sentences": ["i am somebody else."]})
        other.say("hi")
        told = other.ask("inspect", message=other.view.messages[-1].id)
        assert "description" not in {row.part for row in told.rows}


def test_lorebooks_of_their_own(server: Running, chat: Chat) -> None:
    entry = {"key": ["rye"], "content": "Rye is dear.", "sticky": 3}
    world = {"name": "grain", "description": "cereals", "entries": {"0": entry}}
    book, status = post(server, "/api/books", json.dumps(world).encode())
    assert (status, book["entries"], book["unused"]) == (201, 1, ["description", "entries.sticky"])
    chat.new(persona={"sentences": ["i bake."]}, settings={"seed": 1})
    chat.done("set_scene", books=[book["id"]])
    chat.say("rye?")
    told = chat.ask("inspect", message=chat.view.messages[-1].id)
    assert [(one.text, one.why) for one in told.added] == [("Rye is dear.", "“rye” in turn 1")]
    assert httpx2.delete(f"{server.url}/api/books/{book['id']}").status_code == 200
    assert chat.refused("set_scene", books=[book["id"]]) == "not_found"
    assert post(server, "/api/books", b'{"entries": {}}')[1] == 400


def test_nobody_has_another_ones(server: Running, chat: Chat) -> None:
    assert chat.refused("new", character="nobody") == "not_found"
    chat.new()
    assert chat.refused("set_scene", character="nobody") == "not_found"
    store = server.store.scenes
    mine = store.keep("me", "character", "Ann", json.dumps(CARD))
    assert [one.id for one in store.kept("me", "character")] == [mine.id]
    assert mine.id not in [one.id for one in store.kept("you", "character")]
    assert chat.refused("set_scene", character=mine.id) == "not_found"
    server.store.delete_person("me")
    assert store.kept("me", "character") == []


LINES = '*She nods.*\n\n"Hello, you."'


def test_a_greeting_keeps_its_lines_at_every_door(server: Running, chat: Chat) -> None:
    """To the model it is a turn of one line."""
    id = imported(
        server, {**CARD, "data": {**CARD["data"], "name": "Lia", "nickname": "", "first_mes": f"{LINES}\r\n"}}
    )
    chat.new(character=id, settings={"seed": 3})
    assert [message.text for message in chat.view.messages] == [LINES]
    chat.say("hi")
    told = chat.ask("inspect", message=chat.view.messages[-1].id)
    assert '*She nods.* "Hello, you."' in "".join(row.text for row in told.rows)
    address = f"{server.url}/api/conversations/{chat.view.conversation}/export"
    assert '\nagent: *She nods.* "Hello, you."\n' in httpx2.get(address, params={"format": "text"}).text
    again, _ = post(server, "/api/conversations/import", httpx2.get(address).content)
    with server.chat() as other:
        other.done("open", conversation=again["conversation"])
        other.until(State)
        assert other.view.messages[0].text == LINES
        other.done("regenerate", message=other.view.messages[0].id)
        other.until(Path)
        assert [message.text for message in other.view.messages] == ["Hi."]
        other.done("edit", message=other.view.messages[0].id, text=f"{LINES}\n\n\n\n*She waves.* ")
        other.until(Path)
        assert [message.text for message in other.view.messages] == [f"{LINES}\n\n*She waves.*"]
    begun, _ = post(server, "/api/conversations", json.dumps({"character": id}).encode())
    assert [one["text"] for one in begun["messages"]] == [LINES]
    asked = {"model": "tiny", "character": id, "messages": []}
    told, _ = post(server, "/v1/chat/completions", json.dumps(asked).encode())
    assert told["choices"][0]["message"]["content"] == LINES


def test_a_card_is_told_when_the_conversation_was_begun(
    server: Running, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By socket and REST, in every prompt; one that is exported and imported stays as old as it is."""
    began = 1_781_000_000_000
    monkeypatch.setattr("convai.store.conversations.now", lambda: began)
    right = f"It is {datetime.fromtimestamp(began / 1000):%H:%M on %A, %d %B %Y}."
    greeting = "It is {{time}} on {{weekday}}, {{date}}."
    data = {**CARD["data"], "name": "Eva", "nickname": "", "first_mes": greeting}
    id = imported(server, {**CARD, "data": data})
    begun, _ = post(server, "/api/conversations", json.dumps({"character": id}).encode())
    assert [one["text"] for one in begun["messages"]] == [right]
    chat.new(character=id, settings={"seed": 3})
    assert [message.text for message in chat.view.messages] == [right]
    monkeypatch.setattr("convai.store.conversations.now", lambda: began + 10**9)
    chat.done("greet", greeting=1)
    chat.done("greet", greeting=0)
    chat.until(Path)
    assert [message.text for message in chat.view.messages] == [right]
    address = f"{server.url}/api/conversations/{chat.view.conversation}/export"
    again, _ = post(server, "/api/conversations/import", httpx2.get(address).content)
    with server.chat() as other:
        other.done("open", conversation=again["conversation"])
        other.until(State)
        other.done("greet", greeting=1)
        other.done("greet", greeting=0)
        other.until(Path)
        assert other.view.messages[0].text == right
