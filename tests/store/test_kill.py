"""kill -9 at random moments: what was acknowledged is there, nothing half is whole, the talk goes on."""

from __future__ import annotations

import multiprocessing
import random
from multiprocessing.context import ForkServerContext

import pytest

from convai.core.dialog import AGENT
from convai.store import Store
from tests.store.helpers import ANN
from tests.store.killed_writer import reply_to, talk

KILLS = 50
STEPS = 18
"""Steps after which a process is killed at the latest: it makes 14 for a message and its two replies."""


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that begin with everything imported, in milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.store.killed_writer"])
    return context


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_and_nothing_half_is_whole(
    where: str, processes: ForkServerContext
) -> None:
    chance = random.Random(0)
    with Store(where) as store:
        conversation = store.create(ANN).conversation
    told: dict[str, str] = {}
    died_in_a_reply = 0
    for kill in range(KILLS if where.endswith(".db") else 10):  # a server of its own dies less easily
        reader, writer = processes.Pipe(duplex=False)
        process = processes.Process(target=talk, args=(where, conversation, f"run{kill}", writer))
        process.start()
        writer.close()
        said = [reader.recv() for _ in range(chance.randint(1, STEPS))]
        process.kill()  # it has gone on meanwhile, and dies in the midst of whatever it does
        process.join()
        try:
            while True:
                said.append(reader.recv())
        except EOFError:
            reader.close()
        told |= {id: text for kind, id, text in said if kind != "draft"}
        drafts = {id: text for kind, id, text in said if kind == "draft"}

        with Store(where) as store:
            tree = {message.id: message for message in store.tree(ANN, conversation)}
            for id, text in told.items():
                assert (tree[id].text, tree[id].status) == (text, "complete")
            assert all(tree[id].text.startswith(text.strip()) for id, text in drafts.items())
            for message in tree.values():
                assert message.status != "streaming"
                if message.speaker != AGENT:
                    assert message.status == "complete"
                    continue
                asked = tree[message.parent].text if message.parent else ""
                whole = "".join(reply_to(asked))
                assert message.text
                if message.status == "complete":
                    assert message.text == whole
                else:
                    assert whole.startswith(message.text)
                    assert len(message.text) < len(whole)
            died_in_a_reply += any(
                message.status == "interrupted" and f"run{kill} " in message.text for message in tree.values()
            )
            # the conversation goes on, from the last thing that was acknowledged
            path, _ = store.branch(ANN, conversation)
            assert said[-1][1] in {message.id for message in path}
            again = store.append_user(ANN, conversation, f"after {kill}", request=f"after-{kill}")
            assert store.branch(ANN, conversation)[0][-1].id == again.message
            for kind, id, text in said:
                if kind == "message":  # sent again, since the client may not have heard
                    number = text.split()[1]
                    repeated = store.append_user(ANN, conversation, text, request=f"run{kill}-{number}")
                    assert (repeated.message, repeated.again) == (id, True)
    assert died_in_a_reply > kill // 4  # the moments were such that it mattered
    assert len(told) > kill
