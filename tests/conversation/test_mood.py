"""The mood of a chat: read beside it, never in its way; a preference among candidates."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from convai.conversation.mood import MoodPreference, MoodReader
from convai.conversation.session import Session
from convai.core.dialog import AGENT, USER, Turn
from convai.core.errors import CheckpointError, ConvaiError, SettingsError
from convai.emotion.classifier import EmotionClassifier
from convai.terminal import slash
from convai.terminal.chat import Chat
from convai.terminal.screen import Screen
from convai.text.personas import PersonaDeck
from tests.chatting import ScriptedEngine, tiny_agent
from tests.emotion.models import VOCABULARY, tiny_model

CLASSIFIER = EmotionClassifier(tiny_model(), VOCABULARY)


def session(*script: Any, **options: Any) -> Session:
    candidates = options.pop("candidates", 1)
    return Session(tiny_agent(candidates=candidates), ScriptedEngine(*script), **options)  # type: ignore[arg-type]


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*args: object) -> Any:
        raise error

    return fail


def test_messages_and_replies_are_heard_in_order() -> None:
    heard: list[Turn] = []
    talk = session("hello you", "bye", on_turn=heard.append)
    talk.answer("hi")
    talk.answer("ok")
    assert [(turn.speaker, turn.text) for turn in heard] == [
        (USER, "hi"), (AGENT, "hello you"), (USER, "ok"), (AGENT, "bye"),
    ]  # fmt: skip


def test_a_message_is_heard_before_it_is_answered_and_a_stopped_reply_is_not() -> None:
    heard: list[str] = []
    talk = session("hello you", on_turn=lambda turn: heard.append(turn.text))
    events = talk.say("hi")
    assert heard == ["hi"]
    next(events)
    events.close()
    assert heard == ["hi"]


def test_the_chat_goes_on_when_what_listens_fails(caplog: pytest.LogCaptureFixture) -> None:
    talk = session("one", [("a", 1.0), ("b", 2.0)], on_turn=failing(ValueError("broken")), candidates=2)
    talk.preference = failing(RuntimeError("broken too"))
    assert talk.answer("hi") == "one"
    assert talk.answer("ok") == "b"
    assert "what listens to the chat failed" in caplog.text
    assert "the preference among candidates failed" in caplog.text


def test_a_preference_is_added_to_the_scores(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[list[str]] = []

    def prefer_short(texts: Sequence[str]) -> list[float]:
        asked.append(list(texts))
        return [-float(len(text)) for text in texts]

    candidates = [("long text", 3.0), ("", 9.0), ("ok", 1.0)]
    talk = session(candidates, candidates, "alone", preference=prefer_short, candidates=3)
    assert talk.answer("hi") == "ok"
    assert asked == [["long text", "ok"]]
    talk.preference = lambda texts: [0.0]
    assert talk.answer("hi") == "long text"
    assert "1 scores for 2 candidates" in caplog.text


def test_reading_is_done_elsewhere_and_once() -> None:
    """The chat's thread is not held up by a model that takes its time."""
    go, threads = threading.Event(), []

    def load() -> EmotionClassifier:
        go.wait(120)
        threads.append(threading.current_thread())
        return CLASSIFIER

    reader = MoodReader(load)
    reader(Turn(USER, "i love it"))
    assert threads == []
    go.set()
    assert reader.of("i love it").words == ("i", "love", "it")
    assert reader.of("i love it") is reader.of("i love it")
    assert reader.of("hate").words == ("hate",)
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()
    reader.close()


def test_a_model_that_fails_is_told_once_and_to_whoever_asks(caplog: pytest.LogCaptureFixture) -> None:
    reader = MoodReader(failing(CheckpointError("there is no model; train one")))
    with caplog.at_level(logging.INFO):
        for text in ("a", "b", "c"):
            reader(Turn(USER, text))
            with pytest.raises(CheckpointError, match="train one"):
                reader.of(text)
    reader.close()
    assert caplog.text.count("the mood of the chat is not read") == 1
    broken = MoodReader(failing(ValueError("odd")))
    with pytest.raises(ConvaiError, match=r"the mood cannot be read \(ValueError: odd\)"):
        broken.of("a")
    broken.close()
    assert caplog.records[-1].levelno == logging.WARNING
    assert caplog.records[0].levelno == logging.INFO


def test_a_preference_for_a_mood() -> None:
    reader = MoodReader(lambda: CLASSIFIER)
    texts = ["i love it", "i hate you", "so sad"]
    liked = MoodPreference(reader, "joy", 2.0)(texts)
    chances = [CLASSIFIER.predict([text])[0].emotions["joy"] for text in texts]
    assert sorted(range(3), key=liked.__getitem__) == sorted(range(3), key=chances.__getitem__)
    with pytest.raises(SettingsError, match="there is no mood 'joi'; did you mean joy"):
        MoodPreference(reader, "joi")
    reader.close()


# -- in the terminal -------------------------------------------------------------------------------


def chat(talk: Session, reader: MoodReader | None, *lines: str) -> str:
    out = io.StringIO()
    terminal = Chat(talk, PersonaDeck(), Screen(out, width=80), _NoKeyboard(), slash.execute, reader)
    for line in lines:
        terminal.handle(line)
    return out.getvalue()


class _NoKeyboard:
    typed = ""

    def read(self, prompt: str) -> str:
        raise EOFError


def test_the_slash_command() -> None:
    reader = MoodReader(lambda: CLASSIFIER)
    talk = session("i am happy")
    shown = chat(
        talk, reader, "/mood", "i love it", "/mood", "/mood joy", "/mood joi", "/mood joy x", "/mood off"
    )
    assert "! nothing was said yet" in shown
    assert "you  i love it" in shown
    assert "bot  i am happy" in shown
    for part in ("emoji", "emotions", "joy", "words", "love"):
        assert part in shown
    assert "sound like joy are preferred" in shown
    assert "/settings candidates 5" in shown
    assert "did you mean joy?" in shown
    assert "weight='x'" in shown
    assert talk.preference is None
    reader.close()


def test_without_a_model_only_the_mood_is_missing() -> None:
    reader = MoodReader(failing(CheckpointError("no embedded emotion model")))
    shown = chat(session("hello"), reader, "hi", "/mood")
    assert "bot> hello" in shown
    assert "! no embedded emotion model" in shown
    reader.close()
    assert "in 'convai chat' only" in chat(session("hello"), None, "/mood")
