"""An emoji for what a text feels like, where the emoji that the model knows have none.

TweetEval's 20 emoji were the most frequent ones of Twitter: nearly all are glad, none is sad, angry, afraid
or asking. Beside a message about a loss the likeliest of them would be a face with tears of joy. So emotions
that are present and have no emoji of their own among them bring one, mostly that of GoEmotions (Demszky et
al. 2020, arXiv 2005.00547).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from convai.emotion.classifier import Prediction

EMOJI_OF: Final = {
    "anger": "\N{POUTING FACE}",
    "annoyance": "\N{UNAMUSED FACE}",
    "confusion": "\N{CONFUSED FACE}",
    "curiosity": "\N{THINKING FACE}",
    "disappointment": "\N{DISAPPOINTED FACE}",
    "disapproval": "\N{THUMBS DOWN SIGN}",
    "disgust": "\N{FACE WITH OPEN MOUTH VOMITING}",
    "embarrassment": "\N{FLUSHED FACE}",
    "fear": "\N{FEARFUL FACE}",
    "gratitude": "\N{PERSON WITH FOLDED HANDS}",
    "grief": "\N{CRYING FACE}",
    "nervousness": "\N{GRIMACING FACE}",
    "neutral": "\N{NEUTRAL FACE}",
    "realization": "\N{ELECTRIC LIGHT BULB}",
    "remorse": "\N{PENSIVE FACE}",
    "sadness": "\N{CRYING FACE}",
    "surprise": "\N{ASTONISHED FACE}",
}
"""Emotions for which the glad emoji of Twitter will not do."""
_EDGE: Final = 1e-6


def with_emoji(prediction: Prediction, thresholds: Mapping[str, float]) -> Prediction:
    """`prediction` with the emoji of the emotions that are present put among its emoji, best first.

    An emotion is present when its probability reaches its threshold (0.5 for those that have none). Its
    share is its odds set against those of the threshold, for "neutral" what the best emoji leaves of that (a
    greeting at Christmas has its tree). Together they take the largest of these shares, and leave the rest to
    the emoji that were there. As many emoji come out as went in, and at least one.
    """
    shares: dict[str, float] = {}
    sure = max((p for _, p in prediction.emoji), default=0.0)
    for label, p in prediction.emotions.items():
        threshold = min(max(thresholds.get(label, 0.5), _EDGE), 1 - _EDGE)
        if label in EMOJI_OF and p >= threshold:
            p = min(p, 1 - _EDGE)
            odds, least = p / (1 - p), threshold / (1 - threshold)
            share = odds / (odds + least) * (1 - sure if label == "neutral" else 1.0)
            shares[EMOJI_OF[label]] = shares.get(EMOJI_OF[label], 0.0) + share
    if not shares:
        return prediction
    taken = min(1.0, max(shares.values()))
    total = sum(shares.values())
    mixed = {emoji: (1 - taken) * p for emoji, p in prediction.emoji}
    for emoji, share in shares.items():
        mixed[emoji] = mixed.get(emoji, 0.0) + taken * share / total
    ranked = sorted(mixed.items(), key=lambda pair: -pair[1])
    return replace(prediction, emoji=tuple(ranked[: max(1, len(prediction.emoji))]))
