"""Labelled texts as tensors: balanced draws, epochs of a fixed size, batches of texts of like length."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convai.core.errors import SettingsError
from convai.emotion.config import Head
from convai.emotion.labelled import Target, Texts
from convai.emotion.vocabulary import PAD_ID, UNKNOWN_ID, WordEncoder

_WINDOW = 50
"""Batches whose texts are sorted by length together: little padding, yet another mixture every time."""


Lesson = tuple[Head, Tensor]
"""A head, and what its teachers say of a task's texts: probabilities `[texts, labels]`."""


@dataclass(frozen=True, slots=True)
class HeadTexts:
    """The texts of one head, as ids."""

    head: Head
    ids: list[list[int]]
    targets: list[Target]
    weight: float = 1.0
    """How often its texts are drawn, beside those of other tasks."""
    lessons: tuple[Lesson, ...] = ()
    """What there is to learn besides."""
    share: float = 0.0
    """Share of the lesson of the task's own head in its targets; 1 for texts without labels."""

    @classmethod
    def encode(
        cls,
        head: Head,
        texts: Texts,
        vocabulary: WordEncoder,
        max_words: int,
        weight: float = 1.0,
        lessons: tuple[Lesson, ...] = (),
        share: float = 0.0,
    ) -> HeadTexts:
        """Texts to ids, a row a text."""
        ids = [vocabulary.encode(text, max_words) for text in texts.texts]
        return cls(head, ids, texts.targets, weight, lessons, share)

    def parts(self, rows: Sequence[int], at: slice) -> Iterator[Part]:
        """What the texts `rows`, which are rows `at` of a batch, have to learn: of the own head first."""
        said = {head.name: chances[list(rows)].float() for head, chances in self.lessons}
        lesson = said.get(self.head.name)
        targets = lesson if lesson is not None and self.share == 1 else self._targets(rows)
        if lesson is not None and self.share < 1:
            if not self.head.multi:
                targets = nn.functional.one_hot(targets, len(self.head.labels)).float()
            targets = targets.lerp(lesson, self.share)
        yield self.head, at, targets
        for head, _ in self.lessons:
            if head.name != self.head.name:
                yield head, at, said[head.name]

    def _targets(self, rows: Sequence[int]) -> Tensor:
        if not self.head.multi:
            return torch.tensor([self.targets[i][0] for i in rows])
        marks = torch.zeros(len(rows), len(self.head.labels))
        for row, i in enumerate(rows):
            marks[row, list(self.targets[i])] = 1.0
        return marks

    def __len__(self) -> int:
        return len(self.ids)


Part = tuple[Head, slice, Tensor]
"""A head, its rows, and their targets: `[rows]` indices, or `[rows, labels]` probabilities (zeros and ones
where they are labels of a multi-label set)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts of one or several tasks; those of a task are next to each other."""

    ids: Tensor
    """`[B, T]`, filled up with PAD_ID."""
    lengths: Tensor
    """`[B]`"""
    parts: tuple[Part, ...]


def collate(rows: Sequence[tuple[HeadTexts, int]]) -> Batch:
    """A batch of (task, text) pairs, ordered by task: those of a set next to each other."""
    groups: dict[int, list[int]] = {}  # task → its texts
    tasks = {id(task): task for task, _ in rows}
    for task, i in rows:
        groups.setdefault(id(task), []).append(i)
    order = sorted(groups, key=lambda key: tasks[key].head.name)
    texts = [tasks[key].ids[i] for key in order for i in groups[key]]
    longest = max(map(len, texts))
    ids = torch.tensor([text + [PAD_ID] * (longest - len(text)) for text in texts])
    parts: list[Part] = []
    start = 0
    for key in order:
        end = start + len(groups[key])
        parts += tasks[key].parts(groups[key], slice(start, end))
        start = end
    return Batch(ids, torch.tensor([len(text) for text in texts]), tuple(parts))


def check_weights(weights: Sequence[float], sets: int) -> None:
    """Raise SettingsError unless there is a weight above 0 for each of so many sets."""
    if len(weights) != sets:
        raise SettingsError(f"--weights: {len(weights)} numbers for {sets} data sets; give one each")
    if any(weight <= 0 for weight in weights):
        raise SettingsError("--weights: use numbers above 0")


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
    tasks: Sequence[HeadTexts], *, number: int, epoch_size: int, batch_size: int, balanced: bool, seed: int
) -> Iterator[Batch]:
    """The batches of epoch `number`: `epoch_size` texts, divided among the tasks by their weights.

    The same number and seed give the same batches, so that a resumed run sees what it would have seen.
    """
    rng = random.Random(f"{seed}/{number}")
    total = sum(task.weight for task in tasks)
    rows: list[tuple[HeadTexts, int]] = []
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


def in_order(task: HeadTexts, batch_size: int) -> Iterator[tuple[list[int], Batch]]:
    """All texts of a task once, those of like length together, with their numbers."""
    order = sorted(range(len(task)), key=lambda i: len(task.ids[i]))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield rows, collate([(task, i) for i in rows])
