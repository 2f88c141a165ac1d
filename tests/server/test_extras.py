"""Suggestions, several candidates, and the input of a reply."""

from __future__ import annotations

import math

from convai.conversation.scene import Source
from convai.server.protocol.answers import Inspected
from convai.server.protocol.changes import FinishedReply, Suggestions, TokenDrawn
from convai.store import Conversation
from convai.text.insertions import Insertion
from tests.server.serving import Chat, Running, until_idle


def test_suggestions_are_distinct_short_and_ranked(chat: Chat) -> None:
    chat.new(settings={"seed": 4})
    chat.say("hi")
    chat.done("suggest", count=3)
    told = chat.until(Suggestions)
    assert told.message == chat.view.messages[-1].id
    assert len({line.text for line in told.lines}) == len(told.lines) == 3
    scores = [line.score for line in told.lines]
    assert scores == sorted(scores, reverse=True)
    assert all(len(line.text) <= 100 for line in told.lines)


def test_suggestions_go_on_with_what_was_written(chat: Chat) -> None:
    chat.new(settings={"seed": 4})
    chat.say("hi")
    chat.done("suggest", count=3, hint="by the way, i")
    lines = chat.until(Suggestions).lines
    assert len(lines) == 3
    assert all(line.text.startswith("by the way, i") for line in lines)
    assert any(len(line.text) > len("by the way, i") for line in lines)


def test_a_reply_is_drawn_anew_from_a_word_on(chat: Chat) -> None:
    chat.new(settings={"seed": 6, "max_length": 12, "min_length": 8})
    first = chat.say("hi")
    chat.done("regenerate", begun=first[:4])
    second = chat.reply()
    assert second.text.startswith(first[:4])
    assert second.text != first
    assert chat.view.messages[-1].siblings.count == 2
    rows = chat.ask("inspect", message=second.id).rows
    reply = [row for row in rows if row.part == "reply"]
    assert "".join(row.text for row in reply if row.logprob is None).endswith(first[:4])
    chat.done("regenerate", begun=first[:4])
    assert chat.reply().text != second.text


def test_suggestions_never_keep_a_reply_waiting(server: Running, chat: Chat) -> None:
    chat.new(settings={"max_length": 300, "min_length": 300, "no_repeat_ngram": 0, "candidates": 1})
    before = server.stats
    for _ in range(5):
        chat.post("suggest", count=5)
    chat.done("send", text="hi")
    assert chat.refused("suggest") == "conflict", "a reply is being written"
    chat.until(TokenDrawn)
    chat.done("stop")
    after = until_idle(server)
    counted = after.submitted - before.submitted
    assert counted == after.finished - before.finished + after.cancelled - before.cancelled


def test_the_best_of_several_is_shown_with_all_scores(chat: Chat) -> None:
    chat.new(settings={"candidates": 5, "seed": 1})
    chat.done("send", text="hi")
    reply = chat.until(FinishedReply).message
    assert not any(isinstance(frame, TokenDrawn) for frame in chat.frames)
    assert len(reply.candidates) == 5
    best = reply.candidates[reply.chosen]  # which one that is: tests/conversation/test_ranking.py
    assert reply.text == best.text != ""
    assert all(math.isfinite(candidate.score) for candidate in reply.candidates)
    inspected = chat.ask("inspect", message=reply.id)
    assert isinstance(inspected, Inspected)
    assert (inspected.candidates, inspected.chosen) == (reply.candidates, reply.chosen)
    assert "".join(row.text for row in inspected.rows if row.logprob is not None and row.id < 256).strip()


def test_inspect_shows_the_exact_input_and_how_the_reply_was_drawn(server: Running) -> None:
    with server.chat(alternatives=3) as chat:
        chat.ready()
        chat.new(settings={"seed": 6})
        chat.say("one")
        chat.done("set_persona", persona={"sentences": ["i am somebody else."]})
        first, reply = chat.view.messages
        chat.say("two")
        told = chat.ask("inspect", message=reply.id)
    assert "".join(row.text for row in told.rows if row.part == "persona") == (
        "<bos>i am a nurse.i have two dogs."
    ), "the persona that it was drawn with"
    assert "".join(row.text for row in told.rows if row.part == "history") == "<speaker1>one"
    drawn = [row for row in told.rows if row.part == "reply" and row.logprob is not None]
    events = [f for f in chat.frames if isinstance(f, TokenDrawn) and f.message == reply.id]
    assert [row.logprob for row in drawn[: len(events)]] == [event.logprob for event in events]
    assert [row.alternatives for row in drawn[: len(events)]] == [event.alternatives for event in events]
    assert all(len(event.alternatives) == 3 for event in events)
    assert [row.position for row in told.rows] == list(range(len(told.rows)))
    assert told.settings is not None
    assert told.settings["temperature"] == 1.0
    with server.chat() as again:
        again.done("open", conversation=chat.view.conversation)
        assert again.refused("inspect", message=first.id) == "refused"
        assert again.ask("inspect", message=reply.id).rows == told.rows


def test_what_was_added_to_the_input_shows_as_it_was(server: Running) -> None:
    """It is kept with the reply, so it is what the model read, whatever would be added now."""
    told = ["It rains."]

    def source_of(owner: str, conversation: Conversation) -> Source:
        assert (owner, conversation.id) != ("", "")
        return lambda place: [Insertion(told[0], 1, "memory", why=f"turn {place.number}")]

    server.app.service.sources.append(source_of)
    try:
        with server.chat() as chat:
            chat.new(settings={"seed": 6})
            chat.say("one")
            told[0] = "It snows."
            inspected = chat.ask("inspect", message=chat.view.messages[-1].id)
    finally:
        server.app.service.sources.clear()
    assert "".join(row.text for row in inspected.rows if row.part == "memory") == "It rains."
    assert [(one.kind, one.text, one.why) for one in inspected.added] == [("memory", "It rains.", "turn 1")]
    account = inspected.account
    assert account.tokens["memory"] == len("It rains.")
    assert sum(account.tokens.values()) + account.reply + account.free == account.positions
