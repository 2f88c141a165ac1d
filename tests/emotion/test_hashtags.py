"""Hashtags cut into known words, and where that is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.emotion.checkpoint import load_emotion_model, save_emotion_model
from convai.emotion.classifier import EmotionClassifier
from convai.emotion.hashtags import parts
from convai.emotion.vocabulary import RESERVED, UNKNOWN_ID, Vocabulary
from tests.emotion.models import VOCABULARY, WORDS, tiny_model

PLACES = {word: i for i, word in enumerate(["the", "so", "be", "blessed", "happy", "therapist", "rapist"])}


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("#happy", ["happy"]),
        ("#soblessed", ["so", "blessed"]),
        ("#therapist", ["therapist"]),  # rather one word than "the rapist"
        ("#thehappytherapist", ["the", "happy", "therapist"]),
        ("#happyx", ["#happyx"]),
        ("#", ["#"]),
        ("#" + "so" * 6, ["#" + "so" * 6]),  # too many parts
        ("#" + "so" * 5, ["so"] * 5),
        ("#" + "happy" * 9, ["#" + "happy" * 9]),  # too long
    ],
)
def test_cuts(tag: str, expected: list[str]) -> None:
    assert parts(tag, PLACES) == expected


def test_short_parts_are_frequent_words() -> None:
    rare = {"xy": 400, "happy": 5}
    assert parts("#xyhappy", rare) == ["#xyhappy"]
    assert parts("#xyhappy", rare | {"xy": 40}) == ["xy", "happy"]


@given(st.text("behapysotrick", max_size=45))
def test_parts_are_known_and_lose_no_letter(letters: str) -> None:
    found = parts("#" + letters, PLACES)
    assert found == ["#" + letters] or ("".join(found) == letters and all(part in PLACES for part in found))


def test_a_vocabulary_reads_known_hashtags_whole_and_others_in_parts() -> None:
    words = [*RESERVED, "so", "happy", "#sohappy", "love"]
    plain, cutting = Vocabulary(words), Vocabulary(words, split_hashtags=True)
    line = "#SoHappy #lovehappy #what"
    assert plain.split(line) == ["#sohappy", "#lovehappy", "#what"]
    assert cutting.split(line) == ["#sohappy", "love", "happy", "#what"]
    assert cutting.encode(line) == [12, 13, 11, UNKNOWN_ID]
    assert cutting.split("#lovehappy " * 9, 3) == ["love", "happy", "love"]
    assert cutting.extended(["new"], 1).split_hashtags
    assert UNKNOWN_ID not in cutting.encode("#lovehappy")
    assert plain.encode("#lovehappy") == [UNKNOWN_ID]


def test_a_model_says_whether_it_does(tmp_path: Path) -> None:
    save_emotion_model(tiny_model(split_hashtags=True), VOCABULARY, tmp_path)
    model, words = load_emotion_model(tmp_path)
    assert model.config.split_hashtags
    assert words.split_hashtags
    cutting = EmotionClassifier.load(tmp_path)
    tag = "#" + WORDS[3] + WORDS[5]  # happytoday
    [found] = cutting.predict([tag])
    assert found.words == ("happy", "today")
    assert len(found.attention) == 2
    assert EmotionClassifier(tiny_model(), VOCABULARY).predict([tag])[0].words == (tag,)
