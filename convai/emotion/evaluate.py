"""A model's scores on labelled texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convai.core.errors import DataError
from convai.emotion.batches import Task
from convai.emotion.config import Head
from convai.emotion.fitting import judged, score
from convai.emotion.labelled import LabelSet, Target, Texts
from convai.emotion.model import EmotionModel
from convai.emotion.vocabulary import Vocabulary


def evaluate(model: EmotionModel, vocabulary: Vocabulary, data: LabelSet, split: str) -> dict[str, Any]:
    """Accuracy, macro-F1, and F1 of each label on a split of `data`, by the head that has its labels.

    Raises DataError when no head has them, or the split is missing.
    """
    head = head_for(model.config.heads, data)
    texts = data.split(split)
    order = [head.labels.index(label) for label in data.labels]
    targets: list[Target] = [tuple(sorted(order[label] for label in target)) for target in texts.targets]
    task = Task.encode(head, Texts(texts.texts, targets), vocabulary, model.config.max_words)
    _, chances = judged(model, task)
    return {"head": head.name, **score(head, chances, targets)}


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
