"""Two doors, an engine and PostgreSQL, all of them processes: kill -9 of the door that somebody talks to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from convai.server.protocol.changes import State, TokenDrawn
from tests.chatting import tiny_agent
from tests.commands.processes import door, engine, processes
from tests.postgresql import schema
from tests.server.serving import Chat


@pytest.mark.slow
def test_a_chat_survives_kill_9_of_its_door(tmp_path: Path) -> None:
    """The reply goes on at another door, from the tokens that were shown, as if nothing had happened."""
    model = tmp_path / "model"
    tiny_agent(n_positions=900, max_length=500, min_length=500, seed=7).save(model)
    with schema() as where, processes(engine(model, "--threads", "1")) as [computes]:
        at = door(model, where, "--engine", computes.url, "--rate", "100000")
        with processes(at, at) as [first, second]:
            urls = [one.url.replace("http", "ws", 1) + "/chat" for one in (first, second)]
            here = Chat(urls[0])
            here.ready()
            here.new()
            stays = Chat(urls[1])
            stays.done("open", conversation=here.view.conversation)
            stays.until(State)
            here.post("send", text="hello")
            for _ in range(40):
                here.until(TokenDrawn)
            first.end()
            died = time.monotonic()
            with Chat(urls[1], view=here.view, resume=here.view.resume()) as again:
                assert again.ready().resumed
                while again.view.writing:
                    again.read()
                reply = again.view.messages[-1]
                assert (reply.status, again.shown[0]) == ("complete", "hello")
                print(f"whole {time.monotonic() - died:.1f} s after its door died")
                while reply not in stays.view.messages:  # told its end, or shown the whole
                    stays.read()
                # a door that fell behind shows the whole again, and goes on from there
                states = [n for n, frame in enumerate(stays.frames) if isinstance(frame, State)]
                rest = stays.frames[states[-1] :]
                tokens = [frame.text for frame in rest if isinstance(frame, TokenDrawn)]
                if len(states) == 1:
                    assert len(tokens) == 500
                stated = rest[0].messages[-1:]
                begun = "".join(one.text for one in stated if one.id == reply.id)
                assert (begun + "".join(tokens)).strip() == reply.text
                again.new()
                again.post("send", text="hello")
                # whoever fell behind is shown the whole instead of the end of the reply
                while len(again.view.messages) < 2 or again.view.messages[-1].status != "complete":
                    again.read()
                # the same persona, turn and seed, undisturbed
                assert again.view.messages[-1].text == reply.text
            assert "hello" not in first.said + second.said + computes.said
