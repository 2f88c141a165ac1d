"""A model's scores on labelled texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from convai.core.errors import DataError
from convai.core.intervals import wilson
from convai.emotion.batches import HeadTexts
from convai.emotion.classifier import EmotionClassifier
from convai.emotion.config import Head
from convai.emotion.fitting import judged, replace_heads, score, with_thresholds
from convai.emotion.labelled import TRAIN, LabelSet, Target, Texts
from convai.emotion.model import Network
from convai.emotion.vocabulary import WordEncoder
from convai.text.corpora.json_text import objects

_SPREAD: Final = 0.3
"""Log-odds over which F1 is smoothed before thresholds are chosen."""
_EXAMPLE: Final = '{"part": "seen", "text": "i am not happy", "right": ["sadness", "disappointment"]}'


def evaluate(model: Network, vocabulary: WordEncoder, data: LabelSet, split: str) -> dict[str, Any]:
    """Accuracy, macro-F1, and F1 of each label on a split of `data`, by the head that has its labels.

    Raises DataError when no head has them, or the split is missing.
    """
    task = _task(model, vocabulary, data, split)
    _, chances = judged(model, task)
    return {"head": task.head.name, **score(task.head, chances, task.targets)}


def choose_thresholds(model: Network, vocabulary: WordEncoder, data: LabelSet) -> None:
    """Give the head of `data`, a multi-label set, the thresholds that are best on its training texts.

    The few texts that a training holds out make a poor choice of many thresholds: a network that has seen
    each text once or twice is nearly as sure of others, and those it learnt are many times as many. F1 is
    smoothed over thresholds.
    Raises DataError as `evaluate`, and where the labels exclude each other.
    """
    task = _task(model, vocabulary, data, TRAIN)
    if not task.head.multi:
        raise DataError(f"{data.source}: a text has one label there; thresholds are for several")
    _, chances = judged(model, task)
    replace_heads(model, [with_thresholds(task.head, chances, task.targets, _SPREAD)])


def _task(model: Network, vocabulary: WordEncoder, data: LabelSet, split: str) -> HeadTexts:
    """The texts of a split, their labels numbered as the model's head has them."""
    head = head_for(model.config.heads, data)
    texts = data.split(split)
    order = [head.labels.index(label) for label in data.labels]
    targets: list[Target] = [tuple(sorted(order[label] for label in target)) for target in texts.targets]
    return HeadTexts.encode(head, Texts(texts.texts, targets), vocabulary, model.config.max_words)


def head_for(heads: Sequence[Head], data: LabelSet) -> Head:
    """The head of the name of `data`, else the one that has all its labels. Raises DataError."""
    for head in heads:
        if head.name == data.name and set(data.labels) <= set(head.labels):
            return head
    for head in heads:
        if set(data.labels) <= set(head.labels) and head.multi == data.multi:
            return head
    there = ", ".join(head.name for head in heads) or "none"
    raise DataError(f"{data.source}: no head of the model has its labels (heads: {there})")


@dataclass(frozen=True, slots=True)
class Denied:
    """A text with a negation."""

    text: str
    right: frozenset[str]
    """Emotions of which any is a right answer."""
    part: str
    """A part of the file, as "seen" by whoever wrote rules; "all" where none is named."""


def read_denied(path: Path) -> list[Denied]:
    """The texts of a file, one a line as JSON. Raises DataError, naming file and line."""
    found = []
    for where, entry in objects(path, _EXAMPLE):
        match entry:
            case {"text": str(text), "right": [str(), *_] as right, **rest}:
                found.append(Denied(text, frozenset(map(str, right)), str(rest.get("part", "all"))))
            case _:
                raise DataError(f"{where}: a text and the emotions that are right; a line is like {_EXAMPLE}")
    return found


def score_denied(classifier: EmotionClassifier, texts: Sequence[Denied]) -> dict[str, dict[str, float]]:
    """For every part, and for all: the `share` whose strongest emotion is right, its interval, `texts`."""
    best = [prediction.best_emotion() for prediction in classifier.predict([one.text for one in texts])]
    right = [emotion in one.right for emotion, one in zip(best, texts, strict=True)]
    found = {}
    for part in [*dict.fromkeys(one.part for one in texts), "all"]:
        mine = [good for good, one in zip(right, texts, strict=True) if part in ("all", one.part)]
        share = sum(mine) / len(mine)
        low, high = wilson(share, len(mine))
        found[part] = {"share": share, "low": low, "high": high, "texts": len(mine)}
    return found
