"""Labelled texts, whatever file they came from: what training, tuning and evaluation take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from convai.core.errors import DataError
from convai.emotion.config import Head, Role

TRAIN, VALID, TEST = SPLITS = ("train", "valid", "test")

Target = tuple[int, ...]
"""Indices of the labels that a text has: one, or any number where the set is multi-label."""

FEWEST: Final = 2
"""Classes below which there is nothing to learn."""


@dataclass(slots=True)
class Texts:
    """Texts and their targets, in the order of the file."""

    texts: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def add(self, text: str, target: Target) -> None:
        """Append one."""
        self.texts.append(text)
        self.targets.append(target)

    def __len__(self) -> int:
        return len(self.texts)

    def taken(self, rows: Sequence[int]) -> Texts:
        """Those of `rows`, in that order."""
        return Texts([self.texts[i] for i in rows], [self.targets[i] for i in rows])

    def counts(self, n_labels: int) -> list[int]:
        """How many texts have each label."""
        found = Counter(label for target in self.targets for label in target)
        return [found[label] for label in range(n_labels)]


@dataclass(slots=True)
class LabelSet:
    """A data set: what its labels are called, and its splits."""

    name: str
    labels: tuple[str, ...]
    multi: bool = False
    role: Role = "labels"
    splits: dict[str, Texts] = field(default_factory=dict)
    source: str = ""
    """The file or folder, for messages."""

    def head(self) -> Head:
        """The head that learns it."""
        return Head(name=self.name, labels=self.labels, multi=self.multi, role=self.role)

    def split(self, name: str) -> Texts:
        """A split that must be there. Raises DataError naming those there are."""
        texts = self.splits.get(name)
        if not texts:
            there = ", ".join(name for name, found in self.splits.items() if found) or "none"
            raise DataError(f"{self.source}: has no {name} split (there are: {there})")
        return texts

    def check(self) -> None:
        """Raise DataError unless the training split has two classes or more (two labels, where multi)."""
        train = self.split(TRAIN)
        present = [label for label, n in zip(self.labels, train.counts(len(self.labels)), strict=True) if n]
        if not self.multi and len(present) < FEWEST:
            raise DataError(
                f"{self.source}: every training text is labelled {present[0]!r}; "
                "there is nothing to tell apart: add texts with other labels"
            )
        if self.multi and not present:
            raise DataError(f"{self.source}: no training text has any label; add labels")
