"""The memory through the doors: told on a socket, known in the next conversation, forgotten, off; REST."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from convai.server.protocol.answers import Conversations, Error, Facts, Inspected
from convai.server.protocol.changes import Deleted, MemoryChanged, State
from tests.server.serving import Chat, Running, serving

PERSONA: Any = {"sentences": ["i am a nurse."]}


def begin(chat: Chat) -> str:
    made = chat.done("new", persona=PERSONA)
    assert made.conversation is not None
    return made.conversation


def tell(chat: Chat, text: str) -> MemoryChanged:
    """Say something; what was learnt."""
    chat.done("send", text=text)
    seen: list[MemoryChanged] = []
    while not seen or chat.view.writing:
        frame = chat.read()
        if isinstance(frame, MemoryChanged):
            seen.append(frame)
    return seen[-1]


def facts(chat: Chat, **more: Any) -> Facts:
    answer = chat.ask("list_facts", **more)
    assert isinstance(answer, Facts)
    return answer


def texts(found: Facts) -> list[str]:
    return [fact.text for fact in found.items]


def inspected(chat: Chat) -> Inspected:
    answer = chat.ask("inspect", message=chat.view.messages[-1].id)
    assert isinstance(answer, Inspected)
    return answer


def test_what_is_told_is_known_the_next_day(tmp_path: Path) -> None:
    with serving(tmp_path, memory=True) as server:
        with server.chat() as chat:
            conversation = begin(chat)
            (fact,) = tell(chat, "hi! i live in lima.").kept
            assert (fact.text, fact.said, fact.conversation) == (
                "i live in lima.",
                "hi! i live in lima.",
                conversation,
            )
            assert fact.message == chat.view.messages[0].id
            assert "memory" not in {one.kind for one in inspected(chat).added}
            moved = tell(chat, "no, i moved to oslo.")
            assert [old.text for old in moved.replaced] == ["i live in lima."]
    with serving(tmp_path, memory=True) as server, server.chat() as chat:
        begin(chat)
        chat.done("send", text="where do i live?")
        chat.reply()
        found = inspected(chat)
        (line,) = [one for one in found.added if one.kind == "memory"]
        assert line.text == "The user told you: i moved to oslo."
        assert found.account is not None
        assert found.account.tokens["memory"] > 0
        old = facts(chat, history=True).items[-1]
        assert chat.done("restore_fact", fact=old.id).request
        assert texts(facts(chat)) == ["i live in lima."]
        assert (
            inspected(chat) == found or inspected(chat).added == found.added
        )  # that reply had the other one


def test_a_person_writes_edits_forgets_and_switches_off(tmp_path: Path) -> None:
    with serving(tmp_path, memory=True) as server, server.chat() as chat, server.chat() as other:
        chat.done("remember", text="my shoe size is 47.")  # nothing is open yet
        assert chat.done("remember", text="my shoe size is 47.").request
        chat.done("remember", text="i have a dog.")
        found = facts(chat)
        assert texts(found) == ["i have a dog.", "my shoe size is 47."]
        assert texts(facts(chat, limit=1)) == ["i have a dog."]
        assert texts(facts(chat, after=found.items[0].id)) == ["my shoe size is 47."]
        conversation = begin(chat)
        other.done("open", conversation=conversation)
        other.until(State)  # from here on it is told what changes
        chat.done("edit_fact", fact=found.items[0].id, text="i have a cat.")
        seen = other.until(MemoryChanged)
        assert [fact.text for fact in seen.kept] == ["i have a cat."]
        chat.done("forget", fact=found.items[1].id)
        assert other.until(MemoryChanged).forgotten == (found.items[1].id,)
        chat.done("set_memory", enabled=False)
        assert other.until(MemoryChanged).enabled is False
        assert not facts(chat).enabled
        chat.done("send", text="i live in lima.")
        chat.reply()
        chat.done("send", text="do i have pets?")
        chat.reply()
        assert inspected(chat).added == ()
        assert texts(facts(chat)) == ["i have a cat."]
        chat.done("forget")
        assert other.until(MemoryChanged).all
        assert texts(facts(chat)) == []
        assert chat.refused("forget", fact="nonsuch") == "not_found"
        assert chat.refused("edit_fact", fact="nonsuch", text="x") == "not_found"
        assert chat.refused("remember", text="x" * 301) == "bad_field"
        assert chat.refused("remember", text="a\x1bb") == "bad_field"


def test_a_message_that_is_written_anew_was_not_meant(tmp_path: Path) -> None:
    with serving(tmp_path, memory=True) as server, server.chat() as chat:
        begin(chat)
        tell(chat, "i have a dog.")
        chat.done("edit", message=chat.view.messages[0].id, text="i have a parrot.")
        assert [fact.text for fact in chat.until(MemoryChanged).kept] == ["i have a parrot."]
        assert texts(facts(chat)) == ["i have a parrot."]


def test_a_server_without_memory_says_so(server: Running) -> None:
    with server.chat() as chat:
        assert chat.refused("list_facts") == "refused"
        begin(chat)
        chat.done("send", text="i live in lima.")
        chat.reply()
        assert inspected(chat).added == ()
    answer = httpx2.get(f"{server.url}/api/memory")
    assert answer.status_code == 404
    assert "--memory on" in answer.json()["error"]["message"]


def test_rest(tmp_path: Path) -> None:
    with serving(tmp_path, memory=True) as server:
        url = f"{server.url}/api/memory"
        with server.chat() as chat:
            begin(chat)
            tell(chat, "i live in lima.")
            (known,) = httpx2.get(url).json()["facts"]
            assert (known["text"], known["instead"]) == ("i live in lima.", None)
            made = httpx2.post(url, json={"text": "i moved to oslo."})
            assert made.status_code == 201
            assert made.json()["replaced"][0]["id"] == known["id"]
            assert len(httpx2.get(url, params={"history": "1"}).json()["facts"]) == 2
            assert httpx2.post(f"{url}/{known['id']}/restore").json()["instead"] is None
            assert [fact["text"] for fact in httpx2.get(url).json()["facts"]] == ["i live in lima."]
            edited = httpx2.patch(f"{url}/{known['id']}", json={"text": "i live in Lima, Peru."})
            assert edited.json()["text"] == "i live in Lima, Peru."
            assert httpx2.patch(url, json={"enabled": False}).json() == {"enabled": False}
            assert httpx2.get(url).json()["enabled"] is False
            assert httpx2.delete(f"{url}/{known['id']}").status_code == 200
            assert httpx2.delete(url).json() == {"forgotten": 0}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {"text": "x" * 1_000_000}, 400),
        ("POST", "", {"text": "a\x1b[31m"}, 400),
        ("POST", "", {"text": 7}, 400),
        ("POST", "", [], 400),
        ("POST", "", {"text": "x", "more": 1}, 400),
        ("PATCH", "", {"enabled": "yes"}, 400),
        ("PATCH", "/nonsuch", {"text": "x"}, 404),
        ("DELETE", "/nonsuch", None, 404),
        ("POST", "/nonsuch/restore", None, 404),
    ],
)
def test_bad_input_gets_one_clear_line(
    server_with_memory: Running, method: str, path: str, body: Any, status: int
) -> None:
    data = None if body is None else json.dumps(body)
    headers = {"Content-Type": "application/json"}
    answer = httpx2.request(
        method, f"{server_with_memory.url}/api/memory{path}", content=data, headers=headers
    )
    assert answer.status_code == status
    assert "\n" not in answer.json()["error"]["message"]


@pytest.fixture(scope="module")
def server_with_memory(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving(tmp_path_factory.mktemp("memory"), memory=True) as running:
        yield running


def test_a_person_is_deleted_with_their_memory(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("ann-ann-ann-ann-ann\nbob-bob-bob-bob-bob\n")
    with serving(tmp_path, memory=True, tokens=file) as server:
        ann, bob = ({"Authorization": f"Bearer {t}"} for t in file.read_text().split())
        url = f"{server.url}/api/memory"
        for who in (ann, bob):
            assert httpx2.post(url, json={"text": "i have a dog."}, headers=who).status_code == 201
        assert httpx2.delete(f"{server.url}/api/person", headers=ann).json() == {"deleted": True}
        assert httpx2.get(url, headers=ann).json()["facts"] == []
        (theirs,) = httpx2.get(url, headers=bob).json()["facts"]
        assert httpx2.delete(f"{url}/{theirs['id']}", headers=ann).status_code == 404
        assert httpx2.get(url).status_code == 401


def test_what_a_deleted_person_has_open_ends_and_nothing_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("ann-ann-ann-ann-ann\nbob-bob-bob-bob-bob\n")
    ann, bob = file.read_text().split()
    with serving(tmp_path, memory=True, tokens=file) as server:
        with server.chat(token=ann) as chat, server.chat(token=ann) as idle, server.chat(token=bob) as other:
            begin(other)
            begin(idle)
            begin(chat)
            chat.ask("send", text="i live in lima. i have a dog.")  # is read, learnt and answered meanwhile
            headers = {"Authorization": f"Bearer {ann}"}
            gone = httpx2.delete(f"{server.url}/api/person", headers=headers)
            assert gone.json() == {"deleted": True}
            for window in (chat, idle):
                while not isinstance(window.read(), Deleted):
                    pass
                refused = window.ask("send", text="i live in oslo.")
                assert isinstance(refused, Error)
                assert refused.code in ("order", "not_found")
            assert texts(facts(chat, history=True)) == []
            assert httpx2.get(f"{server.url}/api/you", headers=headers).json() == {"you": []}
            found = chat.ask("list")
            assert isinstance(found, Conversations)
            assert found.items == ()
            (fact,) = tell(other, "i live in rome.").kept
            assert fact.text == "i live in rome."
            begin(chat)
            (fact,) = tell(chat, "i live in cairo.").kept
            assert texts(facts(chat, history=True)) == ["i live in cairo."]
