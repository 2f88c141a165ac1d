"""Labelled texts as tensors: balanced draws, epochs of a fixed size, batches of texts of like length."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convai.emotion.config import Head
from convai.emotion.labelled import Target, Texts
from convai.emotion.vocabulary import PAD_ID, UNKNOWN_ID, Vocabulary

_WINDOW = 50
"""Batches whose texts are sorted by length together: little padding, yet another mixture every time."""


@dataclass(frozen=True, slots=True)
class Task:
    """The texts of one head, as ids."""

    head: Head
    ids: list[list[int]]
    targets: list[Target]
    weight: float = 1.0
    """How often its texts are drawn, beside those of other tasks."""

    @classmethod
    def encode(
        cls, head: Head, texts: Texts, vocabulary: Vocabulary, max_words: int, weight: float = 1.0
    ) -> Task:
        """Texts to ids, a row a text."""
        return cls(head, [vocabulary.encode(text, max_words) for text in texts.texts], texts.targets, weight)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts of one or several heads; those of a head are next to each other."""

    ids: Tensor
    """`[B, T]`, filled up with PAD_ID."""
    lengths: Tensor
    """`[B]`"""
    parts: tuple[tuple[Head, slice, Tensor], ...]
    """Head, its rows, and their targets: `[rows]` indices, or `[rows, labels]` zeros and ones (multi)."""


def collate(rows: Sequence[tuple[Task, int]]) -> Batch:
    """A batch of (task, text) pairs, ordered by task."""
    order = sorted(rows, key=lambda row: row[0].head.name)
    texts = [task.ids[i] for task, i in order]
    longest = max(map(len, texts))
    ids = torch.tensor([text + [PAD_ID] * (longest - len(text)) for text in texts])
    parts, start = [], 0
    while start < len(order):
        task = order[start][0]
        same = [i for other, i in order if other.head.name == task.head.name]
        targets = _targets(task.head, [task.targets[i] for i in same])
        parts.append((task.head, slice(start, start + len(same)), targets))
        start += len(same)
    return Batch(ids, torch.tensor([len(text) for text in texts]), tuple(parts))


def _targets(head: Head, targets: Sequence[Target]) -> Tensor:
    if not head.multi:
        return torch.tensor([target[0] for target in targets])
    marks = torch.zeros(len(targets), len(head.labels))
    for row, target in enumerate(targets):
        marks[row, list(target)] = 1.0
    return marks


def draw(targets: Sequence[Target], count: int, rng: random.Random, *, balanced: bool = False) -> list[int]:
    """`count` texts by number: every text equally often, or with `balanced` every label that occurs.

    Balanced draws take a label in turn and any text that has it; texts without labels count as one more.
    """
    if not balanced:
        whole, rest = divmod(count, len(targets))
        everything = range(len(targets))
        return [*everything] * whole + rng.sample(everything, rest)
    classes: dict[int, list[int]] = {}
    for row, target in enumerate(targets):
        for label in target or (-1,):
            classes.setdefault(label, []).append(row)
    groups = [classes[label] for label in sorted(classes)]
    rng.shuffle(groups)  # who gets the remainder
    return [rng.choice(groups[i % len(groups)]) for i in range(count)]


def epoch(
    tasks: Sequence[Task], *, number: int, epoch_size: int, batch_size: int, balanced: bool, seed: int
) -> Iterator[Batch]:
    """The batches of epoch `number`: `epoch_size` texts, divided among the tasks by their weights.

    The same number and seed give the same batches, so that a resumed run sees what it would have seen.
    """
    rng = random.Random(f"{seed}/{number}")
    total = sum(task.weight for task in tasks)
    rows: list[tuple[Task, int]] = []
    for task in tasks:
        count = max(1, round(epoch_size * task.weight / total))
        rows += [(task, i) for i in draw(task.targets, count, rng, balanced=balanced)]
    rng.shuffle(rows)
    window = _WINDOW * batch_size
    for start in range(0, len(rows), window):
        near = sorted(rows[start : start + window], key=lambda row: len(row[0].ids[row[1]]))
        cuts = list(range(0, len(near), batch_size))
        rng.shuffle(cuts)
        for cut in cuts:
            yield collate(near[cut : cut + batch_size])


def with_unknown(batch: Batch, share: float) -> Batch:
    """The batch with a `share` of its words, drawn by torch's generator, unknown to the network."""
    gone = (torch.rand(batch.ids.shape) < share) & (batch.ids != PAD_ID)
    return Batch(batch.ids.masked_fill(gone, UNKNOWN_ID), batch.lengths, batch.parts)


def in_order(task: Task, batch_size: int) -> Iterator[tuple[list[int], Batch]]:
    """All texts of a task once, those of like length together, with their numbers."""
    order = sorted(range(len(task)), key=lambda i: len(task.ids[i]))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield rows, collate([(task, i) for i in rows])
