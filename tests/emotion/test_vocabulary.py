"""The vocabulary: ids, building, extending, torchMoji's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convai.core.errors import CheckpointError, SettingsError
from convai.emotion.vocabulary import RESERVED, UNKNOWN_ID, Vocabulary

TEXTS = ["happy happy joy", "Happy joy sad", "b a", "", "xy" * 16 + " " + "xy" * 16]


def test_the_most_frequent_words_then_the_alphabet() -> None:
    made = Vocabulary.build(TEXTS, size=13, min_count=1)
    assert made.words == (*RESERVED, "happy", "joy", "a")
    assert made.words == Vocabulary.build(TEXTS[::-1], size=13, min_count=1).words
    assert Vocabulary.build(TEXTS, size=99).words == (*RESERVED, "happy", "joy")


def test_every_text_has_an_id() -> None:
    made = Vocabulary.build(TEXTS, size=99)
    assert made.encode("HAPPY @you sooo 3") == [10, 2, UNKNOWN_ID, 4]
    assert made.encode("") == made.encode(" \n") == [UNKNOWN_ID]
    assert made.encode("joy " * 500, 7) == [11] * 7


def test_extending_keeps_the_old_ids() -> None:
    made = Vocabulary.build(TEXTS, size=99)
    longer = made.extended(["sad sad glad", "joy", "glad sad a"], 2)
    assert longer.words == (*made.words, "sad", "glad")
    assert made.extended(["sad"], 0).words == made.words


def test_files(tmp_path: Path) -> None:
    made = Vocabulary.build([*TEXTS, "\U0001f602 \U0001f602 \u00e9 \u00e9"], size=99)
    path = tmp_path / "vocabulary.json"
    made.save(path)
    assert Vocabulary.load(path).words == made.words
    assert json.loads(path.read_text(encoding="utf-8"))["happy"] == 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "missing"),
        ("{", ":1: not JSON"),
        ("[]", "expected a JSON object"),
        ('{"a": "b"}', "not a vocabulary"),
        ('{"a": 0}', "begins with CUSTOM_MASK"),
        (json.dumps({word: 2 * i for i, word in enumerate(RESERVED)}), "0, 1, 2 and so on"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "vocabulary.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=message) as caught:
        Vocabulary.load(path)
    assert str(path) in str(caught.value)


def test_words_twice_and_sizes_too_small() -> None:
    with pytest.raises(SettingsError, match="'a' is there again"):
        Vocabulary([*RESERVED, "a", "a"])
    with pytest.raises(SettingsError, match="use 10 or more"):
        Vocabulary.build([], size=9)


def test_torchmojis_own_vocabulary(convai_data: Path) -> None:
    made = Vocabulary.load(convai_data / "emotion" / "torchmoji" / "vocabulary.json")
    assert len(made) == 50000
    assert made.words[:10] == RESERVED
    assert made.encode("wooohoooo don't #love :) the")[1:] == made.ids(["don't", "#love", ":)", "the"])
    assert UNKNOWN_ID not in made.encode("wooohoooo don't #love :) the")
