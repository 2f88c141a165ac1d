"""kill -9 in mid-reply, at random: what was acknowledged is there. SIGTERM: replies come to their end."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from convai.core.dialog import AGENT
from convai.server.protocol.answers import Accepted, Overloaded
from convai.server.protocol.changes import FinishedReply, TokenDrawn
from convai.store import Store
from tests.forked import context
from tests.server.served import serve
from tests.server.serving import PATIENCE, Chat

KILLS = 50
TOKENS = 40
SETTINGS = {"max_length": TOKENS, "min_length": TOKENS, "no_repeat_ngram": 0, "no_repeat_own_ngram": 0}


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that begin with everything imported, in milliseconds."""
    return context()


@contextmanager
def served(
    processes: ForkServerContext, folder: Path, pause: float = 0.0
) -> Iterator[tuple[BaseProcess, str]]:
    """A server's process and the address of its socket."""
    reader, writer = processes.Pipe(duplex=False)
    process = processes.Process(target=serve, args=(folder, writer, pause))
    process.start()
    writer.close()
    try:
        assert reader.poll(PATIENCE), "the server does not come up"
        yield process, str(reader.recv()).replace("http", "ws", 1) + "/chat"
    finally:
        process.kill()
        process.join()
        reader.close()


@pytest.mark.slow
def test_kill_loses_nothing_that_was_acknowledged(processes: ForkServerContext, tmp_path: Path) -> None:
    chance = random.Random(0)
    conversation = ""
    said: dict[str, str] = {}
    whole: dict[str, str] = {}
    interrupted = 0
    for kill in range(KILLS):
        with served(processes, tmp_path, 0.003) as (process, url):
            with Chat(url) as chat:
                chat.ready()
                if conversation:
                    chat.done("open", conversation=conversation)
                else:
                    conversation = chat.new(settings=SETTINGS)
                left = chance.randint(1, 2 * TOKENS)
                turn = 0
                try:
                    while left > 0:
                        turn += 1
                        text = f"message {kill}/{turn}"
                        name = chat.post("send", text=text)
                        while left > 0:
                            event = chat.read()
                            left -= 1
                            if isinstance(event, Accepted) and event.request == name:
                                said[event.message or ""] = text
                            if isinstance(event, FinishedReply):
                                whole[event.message.id] = event.message.text
                                break
                finally:
                    process.kill()  # it goes on meanwhile, and dies in the midst of whatever it does
                    process.join()
        with Store(tmp_path / "chats.db") as store:
            tree = {message.id: message for message in store.tree("local", conversation)}
        for id, text in (said | whole).items():
            assert (tree[id].text, tree[id].status) == (text, "complete"), kill
        for message in tree.values():
            assert message.status != "streaming"
            if message.speaker == AGENT:
                ids = message.details.get("ids", ())
                assert (message.status == "complete") == (len(ids) == TOKENS), "half a reply looks whole"
                interrupted += message.status == "interrupted"
    assert len(said) >= KILLS // 2
    assert interrupted, "none of them died in a reply that had been saved"
    with served(processes, tmp_path) as (_, url), Chat(url) as chat:  # the conversation goes on
        chat.ready()
        chat.done("open", conversation=conversation)
        assert chat.say("are you still there?")


def test_a_signal_drains(processes: ForkServerContext, tmp_path: Path) -> None:
    with served(processes, tmp_path, 0.01) as (process, url), Chat(url) as chat, Chat(url) as other:
        for one in (chat, other):
            one.ready()
            one.new(settings={**SETTINGS, "max_length": 300, "min_length": 300})
        chat.done("send", text="tell me a long story")
        chat.until(TokenDrawn)
        os.kill(process.pid or 0, signal.SIGTERM)
        while True:  # requests are refused as soon as the signal has come
            answer = other.ask("suggest", count=1)
            if isinstance(answer, Overloaded) and answer.reason == "draining":
                break
        assert answer.retry > 0
        assert chat.reply().status == "complete"
        for one in (chat, other):
            assert one.until(lambda event: event.type == "going_away").reason == "shutdown"
            with pytest.raises(ConnectionClosed) as closed:
                one.read()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        process.join(PATIENCE)
        assert process.exitcode == -signal.SIGTERM
    with Store(tmp_path / "chats.db") as store:
        [reply] = [m for item in store.find("local").items for m in store.tree("local", item.id) if m.speaker]
        assert (reply.status, len(reply.details["ids"])) == ("complete", 300)
