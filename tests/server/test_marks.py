"""Moods and links are read beside the conversation: they never keep a reply waiting, and never break it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from convai.core.dialog import USER, Turn
from convai.emotion.classifier import Prediction
from convai.server.marks import Linked, coref_data, emotion_data
from convai.server.protocol.changes import Marks, State
from tests.server.serving import serving


def mood(text: str) -> Prediction:
    """A mood that tells what it was read in."""
    words = tuple(text.split())
    share = 1 / max(len(words), 1)
    return Prediction(words, (share,) * len(words), (("❤", 0.5), ("😂", 0.25)), {"joy": 0.75, "anger": 0.25})


def repeated(turns: Sequence[Turn]) -> list[Linked]:
    """The first word of every message of the user's, linked with one another."""
    heads = [turn.text.split()[0] for turn in turns]
    said = [(i, 0, len(heads[i])) for i, turn in enumerate(turns) if turn.speaker == USER]
    return [Linked("somebody", tuple(said))]


def of_kind(kind: str, message: str | None = None):  # type: ignore[no-untyped-def]
    return lambda event: isinstance(event, Marks) and event.kind == kind and message in (None, event.message)


def test_messages_and_replies_get_a_mood_that_stays_with_them(tmp_path: Path) -> None:
    with serving(tmp_path, read_mood=mood) as server, server.chat() as chat:
        id = chat.new()
        chat.done("send", text="i love you")
        reply = chat.reply()
        while len(chat.view.marks) < 2:
            chat.read()
        said = chat.view.messages[0].id
        assert chat.view.marks[said]["emotion"] == {
            "emoji": [["❤", 0.5], ["😂", 0.25]],
            "emotions": {"joy": 0.75, "anger": 0.25},
            "words": ["i", "love", "you"],
            "attention": [0.3333, 0.3333, 0.3333],
        }
        assert chat.view.marks[reply.id]["emotion"]["words"] == reply.text.split()
        with server.chat() as other:
            other.done("open", conversation=id)
            assert other.until(State).messages[0].marks == chat.view.marks[said]
            assert other.view.marks == chat.view.marks
        exported = json.loads(server.store.export_json("local", id))["labels"]["conversation"]
        assert "emotion" in json.dumps(exported)


def test_a_slow_mood_keeps_no_reply_waiting(tmp_path: Path) -> None:
    go_on = threading.Event()

    def slow(text: str) -> Prediction:
        go_on.wait(60)
        return mood(text)

    with serving(tmp_path, read_mood=slow) as server, server.chat() as chat:
        chat.new()
        try:
            for text in ("one", "two"):
                chat.say(text)
            assert not any(isinstance(frame, Marks) for frame in chat.frames)
        finally:
            go_on.set()
        while len(chat.view.marks) < 4:
            chat.read()


def test_what_fails_to_be_read_breaks_nothing_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(given: object) -> list[Linked]:
        raise ValueError(f"no good: {given}")

    with (
        caplog.at_level(logging.WARNING),
        serving(tmp_path, read_mood=broken, read_coref=broken) as server,  # type: ignore[arg-type]
        server.chat() as chat,
    ):
        chat.new()
        for text in ("my secret", "another secret"):
            assert chat.say(text)
        chat.done("undo")
        counter = server.app.service.metrics.marks.labels("emotion", "failed")._value
        while counter.get() < 4:
            chat.ask("ping")
    told = [record.getMessage() for record in caplog.records]
    assert len([line for line in told if line.startswith("emotion marks cannot be read")]) == 1
    assert len([line for line in told if line.startswith("coref marks cannot be read")]) == 1
    assert not any("secret" in line for line in told)


def test_links_are_told_for_the_branch_that_is_shown(tmp_path: Path) -> None:
    with serving(tmp_path, read_coref=repeated) as server, server.chat() as chat:
        id = chat.new()
        chat.say("ann is here")
        chat.say("she sings")
        first, _, third, last = (message.id for message in chat.view.messages)
        chat.until(of_kind("coref", last)) if "coref" not in chat.view.marks.get(last, {}) else None
        cluster = {"main": "somebody", "spans": {first: [[0, 3]], third: [[0, 3]]}}
        assert chat.view.marks[last]["coref"] == {"clusters": [cluster]}
        with server.chat() as other:
            other.done("open", conversation=id)
            state = other.until(State)
            assert state.messages[-1].marks == {"coref": {"clusters": [cluster]}}
        chat.done("undo")
        told = chat.until(of_kind("coref"))
        assert (told.message, told.data) == (chat.view.messages[-1].id, {"clusters": []})


def test_a_conversation_from_before_is_read_when_it_is_opened(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.chat() as chat:
        id = chat.new()
        chat.say("ann is here")
        chat.say("ann sings")
        assert not chat.view.marks
    with serving(tmp_path, read_mood=mood, read_coref=repeated) as server, server.chat() as chat:
        chat.done("open", conversation=id)
        chat.until(State)
        # Moods and links come in any order: a message may have its links before its mood.
        marks = chat.view.marks.values
        while sum("emotion" in kinds for kinds in marks()) < 4 or not any(
            "coref" in kinds for kinds in marks()
        ):
            chat.read()
        assert [kinds["emotion"]["emoji"][0] for kinds in marks()] == [["❤", 0.5]] * 4


def test_marks_are_within_bounds() -> None:
    long = emotion_data(mood("😀" * 4000 + " ab" * 4000))
    assert len(json.dumps({"emotion": long}, ensure_ascii=False).encode()) < 8_000
    assert len(long["words"]) == len(long["attention"]) > 0
    assert emotion_data(Prediction(("hi",), (1.0,))) == {}
    turns = [Turn(0, "ann sees ann")] * 3
    ids = [f"{i:024d}" for i in range(3)]
    wild = [
        Linked("x" * 500, ((0, 0, 3), (1, 0, 3))),
        Linked("none", ((0, 0, 3),)),
        Linked("outside", ((0, 0, 3), (9, 0, 3), (0, 3, 3), (0, -1, 2), (0, 0, 99))),
    ]
    [cluster] = coref_data(wild, turns, ids)["clusters"]
    assert cluster == {"main": "x" * 40, "spans": {ids[0]: [[0, 3]], ids[1]: [[0, 3]]}}
    many = coref_data([wild[0]] * 1000, turns, ids)
    assert 10 < len(many["clusters"]) < 1000
    assert len(json.dumps(many, ensure_ascii=False).encode()) < 10_000
