"""Names of requests: clients number them, and those of one never stand in the way of another's."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from convai.server.protocol.changes import State
from tests.server.serving import PATIENCE, Chat, Running

PERSONA: Any = {"sentences": ["i am a nurse."]}


def begin(chat: Chat, name: str = "r1", **more: Any) -> Any:
    answer = chat.done("new", request=name, **{"persona": PERSONA, **more})
    chat.until(State)
    return answer


def said(server: Running, conversation: str) -> list[str]:
    return [message.text for message in server.store.tree("local", conversation) if message.speaker == 0]


@pytest.mark.parametrize("texts", [("one", "two"), ("hi", "hi")])
@pytest.mark.parametrize("at_once", [True, False])
def test_two_sockets_that_number_alike(server: Running, texts: tuple[str, str], at_once: bool) -> None:
    found = []
    with ExitStack() as open_:
        for text in texts:
            chat = open_.enter_context(server.chat())
            begun = begin(chat)
            sent = chat.done("send", request="r2", text=text)
            assert (begun.again, sent.again) == (False, False)
            found.append((begun.conversation, sent.message))
            chat.reply()
            if not at_once:
                open_.close()
    assert len(set(found)) == 2
    assert [said(server, conversation) for conversation, _ in found] == [[text] for text in texts]


@pytest.mark.parametrize("texts", [("one", "two"), ("hi", "hi")])
def test_two_windows_on_one_conversation_that_number_alike(server: Running, texts: tuple[str, str]) -> None:
    with server.chat() as one, server.chat() as other:
        conversation = begin(one).conversation
        other.done("open", request="r1", conversation=conversation)
        one.done("send", request="r2", text=texts[0])
        one.reply()
        while len(other.view.messages) < 2 or other.view.writing:
            other.read()
        answer = other.done("send", request="r2", text=texts[1])
        assert not answer.again
        other.reply()
        assert other.done("send", request="r2", text=texts[1]).again  # its own, once more
    assert said(server, conversation) == list(texts)


def test_a_script_that_runs_twice_says_it_twice(server: Running) -> None:
    with server.chat() as chat:
        conversation = begin(chat).conversation
    for _ in range(2):
        with server.chat() as chat:
            chat.done("open", request="r1", conversation=conversation)
            chat.until(State)
            assert not chat.done("send", request="r2", text="hi").again
            chat.reply()
            assert not chat.done("set_title", request="r3", title="t").again
    assert said(server, conversation) == ["hi", "hi"]


def test_a_new_conversation_that_was_not_heard_of_is_the_same_when_asked_for_again(server: Running) -> None:
    with server.chat() as chat:
        conversation = begin(chat, "once").conversation
        chat.drop()
    room = server.app.rooms.known("local", conversation)
    limit = time.monotonic() + PATIENCE
    while room is not None and not room.empty:
        assert time.monotonic() < limit, "the server does not hear that the socket is gone"
        time.sleep(0.001)
    with server.chat() as again:
        answer = begin(again, "once")
        assert (answer.conversation, answer.again) == (conversation, True)
        assert begin(again, "once").again
        other = begin(again, "once", title="another")
        assert (other.again, other.conversation != conversation) == (False, True)


def test_another_file_under_a_name_that_was_used_is_imported(server: Running) -> None:
    url = f"{server.url}/api/conversations/import?request=r1"
    texts = [f"user: hello {word}\nagent: yes\n".encode() for word in ("one", "two")]

    def sent(text: bytes) -> tuple[str, bool]:
        answer = httpx2.post(url, content=text, headers={"content-type": "text/plain"}, timeout=PATIENCE)
        assert answer.status_code == 201, answer.text
        return answer.json()["conversation"], answer.json()["again"]

    first, second = sent(texts[0]), sent(texts[1])
    assert (first[1], second[1], first[0] != second[0]) == (False, False, True)
    assert sent(texts[0]) == (first[0], True)
    assert said(server, second[0]) == ["hello two"]
