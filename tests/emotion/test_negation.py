"""Negations: what they deny, what is done about it, and what the embedded model then says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.__main__ import main
from convai.core.errors import DataError
from convai.core.resources import emotion_negation_path
from convai.emotion.classifier import EmotionClassifier
from convai.emotion.evaluate import read_denied, score_denied
from convai.emotion.negation import FACTOR, readings, turned
from convai.emotion.text import UNKNOWN, split
from tests.emotion.models import VOCABULARY, tiny_model


@pytest.mark.parametrize(
    ("text", "affirmed", "bare"),
    [
        ("i am not happy at all.", "i am happy at all .", f"i am {UNKNOWN} ."),
        ("i don't love it but stay", "i love it but stay", f"i {UNKNOWN} but stay"),
        ("not bad, not good", "bad , good", f"{UNKNOWN} , {UNKNOWN}"),
        ("she is never kind lol", "she is kind lol", f"she is {UNKNOWN} lol"),
        ("I didn’t like one two three four five", "i like one two three four five", f"i {UNKNOWN} five"),
    ],
)
def test_what_is_denied(text: str, affirmed: str, bare: str) -> None:
    both = readings(split(text))
    assert both is not None
    assert (" ".join(both.affirmed), " ".join(both.bare)) == (affirmed, bare)


@pytest.mark.parametrize(
    "text",
    [
        "i am happy", "no", "no, i love it", "not only happy", "i have never been so sad", "never this good",
        "no doubt it is great", "can't wait to see you", "isn't it lovely", "don't worry", "why not",
        "it doesn't matter", "", "i do not",
    ],
)  # fmt: skip
def test_what_denies_nothing(text: str) -> None:
    assert readings(split(text)) is None


@given(st.lists(st.sampled_from("i not never don't no happy , so only lol but this".split()), max_size=12))
def test_readings_only_leave_out_and_replace(words: list[str]) -> None:
    both = readings(words)
    if both is None:
        return
    assert len(both.affirmed) < len(words)
    rest = iter(words)
    assert all(word in rest for word in both.affirmed)
    assert UNKNOWN in both.bare
    assert len(both.bare) <= len(both.affirmed)


def test_what_is_denied_is_taken_away_and_its_opposite_gets_a_part() -> None:
    said = {"joy": 0.6, "sadness": 0.1, "neutral": 0.2, "fear": 0.3}
    affirmed = {"joy": 0.9, "sadness": 0.0, "neutral": 0.1, "fear": 0.3}
    bare = {"joy": 0.2, "sadness": 0.1, "neutral": 0.7, "fear": 0.0}
    found = turned(said, affirmed, bare)
    assert found == pytest.approx({"joy": 0.2, "sadness": FACTOR * 0.9, "neutral": 0.2, "fear": 0.0})
    assert list(found) == list(said)


@pytest.mark.parametrize(
    ("said", "affirmed", "bare"),
    [
        ({"joy": 0.1, "sadness": 0.6}, {"joy": 0.9, "sadness": 0.0}, {"joy": 0.1, "sadness": 0.1}),  # read
        (
            {"joy": 0.6, "sadness": 0.1},
            {"joy": 0.6, "sadness": 0.0},
            {"joy": 0.5, "sadness": 0.1},
        ),  # elsewhere
        ({"joy": 0.1, "neutral": 0.6}, {"joy": 0.1, "neutral": 0.9}, {"joy": 0.1, "neutral": 0.3}),
        ({"surprise": 0.6, "joy": 0.1}, {"surprise": 0.9, "joy": 0.0}, {"surprise": 0.0, "joy": 0.1}),
    ],
)
def test_what_is_left(said: dict[str, float], affirmed: dict[str, float], bare: dict[str, float]) -> None:
    assert turned(said, affirmed, bare) is None


def test_a_denied_dislike_is_no_dislike_of_another_kind() -> None:
    said = {"anger": 0.8, "disapproval": 0.5, "approval": 0.0, "caring": 0.2}
    affirmed = {"anger": 0.9, "disapproval": 0.1, "approval": 0.0, "caring": 0.1}
    bare = {"anger": 0.02, "disapproval": 0.05, "approval": 0.1, "caring": 0.1}
    found = turned(said, affirmed, bare)
    assert found == pytest.approx(
        {"anger": 0.02, "disapproval": 0.05, "approval": FACTOR * 0.9, "caring": 0.2}
    )


def test_texts_beside_a_negation_and_switched_off_stay_as_they_are() -> None:
    model = tiny_model()
    on, off = EmotionClassifier(model, VOCABULARY), EmotionClassifier(model, VOCABULARY, negation=False)
    texts = ["i am happy", "i am not happy at all", "", "i love you"]
    together = on.predict(texts)
    for text, one, other in zip(texts, together, off.predict(texts), strict=True):
        [alone] = on.predict([text])
        assert alone.emotions == pytest.approx(one.emotions, abs=1e-5)
        assert one.words == other.words
        if "not" not in one.words:
            assert one.emotions == pytest.approx(other.emotions, abs=1e-5)
            assert dict(one.emoji) == pytest.approx(dict(other.emoji), abs=1e-5)


def test_the_embedded_model_reads_most_of_its_own_texts_and_half_of_later_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["emotion", "evaluate", "--negations", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["read"]) == {"seen", "unseen", "later", "third", "all"}
    for part, least in (("seen", 0.85), ("unseen", 0.85), ("later", 0.5), ("third", 0.6)):
        assert found["read"][part]["share"] >= least
        assert found["network alone"][part]["share"] < 0.5


@pytest.mark.parametrize(
    ("text", "emotions"),
    [
        ("i am not happy at all", {"sadness", "disappointment"}),
        ("not bad at all", {"approval", "neutral"}),
        ("i don't love it", {"disapproval", "disappointment"}),
        ("i have never been so sad", {"sadness"}),
    ],
)
def test_plain_negations(text: str, emotions: set[str]) -> None:
    [found] = EmotionClassifier.load().predict([text])
    assert found.best_emotion() in emotions


def test_the_command_shows_what_the_network_says(capsys: pytest.CaptureFixture[str]) -> None:
    best = []
    for option in ("--negation", "--no-negation"):
        assert main(["emotion", "predict", "--json", option, "i am not happy at all"]) == 0
        emotions = json.loads(capsys.readouterr().out)["emotions"]
        best.append(max(emotions, key=emotions.__getitem__))
    assert best == ["sadness", "joy"]


def test_files_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jsonl"
    for text, message in (
        ('{"text": "a"}', ":1: a text and"),
        ('{"text": "a", "right": []}', ":1: a text"),
        ("", "nothing in it"),
    ):
        path.write_text(text + "\n")
        with pytest.raises(DataError, match=message):
            read_denied(path)
    assert main(["emotion", "evaluate"]) != 0
    assert "name label sets" in capsys.readouterr().err
    assert main(["emotion", "evaluate", "a", "--negations"]) != 0
    assert "leave the label sets out" in capsys.readouterr().err


def test_convais_own_texts() -> None:
    texts = read_denied(emotion_negation_path())
    assert len({one.text for one in texts}) == len(texts) >= 50
    found = score_denied(EmotionClassifier(tiny_model(), VOCABULARY), texts)
    assert (
        found["all"]["texts"]
        == len(texts)
        == sum(found[part]["texts"] for part in ("seen", "unseen", "later", "third"))
    )
