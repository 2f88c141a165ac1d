"""Which training dialogues also occur in held-out files, wholly or in two long utterances.

The rule: two or more utterances of six or more words shared with one held-out dialogue, or the whole
dialogue. Only letters and digits are compared; case, spacing and punctuation do not count.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from convai.core.dialog import Dialog
from convai.text.corpora.reading import Located, iter_located

MIN_WORDS: Final = 6
MIN_SHARED: Final = 2


@dataclass(frozen=True, slots=True)
class Overlap:
    """A training dialogue and the held-out dialogue it shares most with; places are `file:line`."""

    train: str
    held_out: str
    shared: int
    """Different utterances of six or more words that both have."""
    whole: bool
    """Whether all turns are the same."""

    def __str__(self) -> str:
        what = "the whole dialogue" if self.whole else f"{self.shared} utterances"
        return f"{self.train}: shares {what} with {self.held_out}; remove it from the training data"


def letters(text: str) -> str:
    """What is compared: letters and digits, case folded.

    >>> letters("It's 5 o'clock!")
    'its5oclock'
    """
    return "".join(filter(str.isalnum, text.casefold()))


def is_long(text: str) -> bool:
    """Whether an utterance has six or more words with a letter or digit in them."""
    return sum(any(map(str.isalnum, word)) for word in text.split()) >= MIN_WORDS


@dataclass(slots=True)
class _HeldOut:
    places: list[str] = field(default_factory=list)
    utterances: dict[str, list[int]] = field(default_factory=dict)
    wholes: dict[tuple[str, ...], int] = field(default_factory=dict)

    def add(self, located: Located) -> None:
        number = len(self.places)
        self.places.append(located.where)
        self.wholes.setdefault(_whole(located.dialog), number)
        for key in {letters(t.text) for t in located.dialog.turns if is_long(t.text)}:
            self.utterances.setdefault(key, []).append(number)

    def compare(self, located: Located) -> Overlap | None:
        keys = _whole(located.dialog)
        shared = Counter(n for key in set(keys) for n in self.utterances.get(key, ()))
        whole = self.wholes.get(keys)
        if whole is not None:
            return Overlap(located.where, self.places[whole], shared[whole], True)
        if not shared:
            return None
        best = min(shared, key=lambda n: (-shared[n], n))
        if shared[best] < MIN_SHARED:
            return None
        return Overlap(located.where, self.places[best], shared[best], False)


def _whole(d: Dialog) -> tuple[str, ...]:
    return tuple(letters(turn.text) for turn in d.turns)


def overlap(
    train_paths: Iterable[str | os.PathLike[str]], held_out_paths: Iterable[str | os.PathLike[str]]
) -> list[Overlap]:
    """Training dialogues that must not be trained on, in the order of the files.

    Raises DataError when a file cannot be read.
    """
    held_out = _HeldOut()
    for path in held_out_paths:
        for located in iter_located(path):
            held_out.add(located)
    found = (held_out.compare(located) for path in train_paths for located in iter_located(path))
    return [one for one in found if one is not None]
