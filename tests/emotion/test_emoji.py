"""Emoji for moods: what is present and has none of its own brings one; everything else stays as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.emotion.classifier import Prediction
from convai.emotion.emoji import EMOJI_OF, with_emoji
from convai.emotion.labels import GOEMOTIONS, TWEETEVAL_EMOJI

HEAD = (("😂", 0.6), ("❤", 0.3), ("😊", 0.1))
odds = st.floats(0, 1)


def prediction(**emotions: float) -> Prediction:
    return Prediction(("so",), (1.0,), HEAD, emotions)


def test_every_face_is_an_emotion_without_an_emoji_of_its_own() -> None:
    assert set(EMOJI_OF) <= set(GOEMOTIONS)
    assert not set(EMOJI_OF.values()) & set(TWEETEVAL_EMOJI)
    assert {"joy", "love", "amusement", "admiration"}.isdisjoint(EMOJI_OF)


def test_what_is_present_comes_first() -> None:
    sad = with_emoji(prediction(sadness=0.8, joy=0.1, fear=0.3), {"sadness": 0.5, "fear": 0.4})
    assert sad.emoji[0] == (EMOJI_OF["sadness"], pytest.approx(0.8))
    assert [emoji for emoji, _ in sad.emoji] == [EMOJI_OF["sadness"], "😂", "❤"]
    assert sad.emoji[1][1] == pytest.approx(0.2 * 0.6)
    assert sad.emotions == {"sadness": 0.8, "joy": 0.1, "fear": 0.3}


def test_a_low_threshold_counts_for_rare_emotions() -> None:
    rare = with_emoji(prediction(grief=0.1), {"grief": 0.1})
    assert rare.emoji[0] == (EMOJI_OF["grief"], pytest.approx(0.5))
    assert with_emoji(prediction(grief=0.1), {}).emoji == HEAD


def test_a_neutral_face_yields_to_a_sure_emoji() -> None:
    tree = Prediction(("so",), (1.0,), (("🎄", 0.9), ("❤", 0.1)), {"neutral": 0.5})
    assert with_emoji(tree, {}).emoji[0] == ("🎄", pytest.approx(0.95 * 0.9))
    unsure = Prediction(("so",), (1.0,), (("❤", 0.1), ("😊", 0.1)), {"neutral": 0.9})
    assert with_emoji(unsure, {}).emoji[0] == (EMOJI_OF["neutral"], pytest.approx(0.81))


def test_what_has_an_emoji_already_changes_nothing() -> None:
    assert with_emoji(prediction(joy=0.99, amusement=0.9), {}) == prediction(joy=0.99, amusement=0.9)
    assert with_emoji(Prediction((), ()), {}) == Prediction((), ())


def test_without_an_emoji_head_there_is_still_a_face() -> None:
    found = with_emoji(Prediction(("no",), (1.0,), (), {"anger": 0.9}), {})
    assert found.emoji == ((EMOJI_OF["anger"], pytest.approx(0.9)),)


@given(st.dictionaries(st.sampled_from(GOEMOTIONS), odds), st.dictionaries(st.sampled_from(GOEMOTIONS), odds))
def test_shares_stay_shares(emotions: dict[str, float], thresholds: dict[str, float]) -> None:
    found = with_emoji(Prediction(("so",), (1.0,), HEAD, emotions), thresholds)
    shares = [p for _, p in found.emoji]
    assert len(found.emoji) == len(HEAD)
    assert len({emoji for emoji, _ in found.emoji}) == len(HEAD)
    assert shares == sorted(shares, reverse=True)
    assert all(0 <= p <= 1 for p in shares)
    assert sum(shares) <= 1 + 1e-9
