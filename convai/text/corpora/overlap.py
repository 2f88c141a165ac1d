"""Which training dialogues also occur in held-out files, wholly or in two long utterances.

The rule: two or more utterances of six or more words shared with one held-out dialogue, or the whole
dialogue. Only letters and digits are compared; case, spacing and punctuation do not count.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from convai.core.dialog import Dialog
from convai.text.corpora.reading import Reading, Taken, take
from convai.text.corpora.splits import SPLITS

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

    def add(self, where: str, dialog: Dialog) -> None:
        number = len(self.places)
        self.places.append(where)
        self.wholes.setdefault(_whole(dialog), number)
        for key in {letters(t.text) for t in dialog.turns if is_long(t.text)}:
            self.utterances.setdefault(key, []).append(number)

    def compare(self, where: str, dialog: Dialog) -> Overlap | None:
        keys = _whole(dialog)
        shared = Counter(n for key in set(keys) for n in self.utterances.get(key, ()))
        whole = self.wholes.get(keys)
        if whole is not None:
            return Overlap(where, self.places[whole], shared[whole], True)
        if not shared:
            return None
        best = min(shared, key=lambda n: (-shared[n], n))
        if shared[best] < MIN_SHARED:
            return None
        return Overlap(where, self.places[best], shared[best], False)


def _whole(d: Dialog) -> tuple[str, ...]:
    return tuple(letters(turn.text) for turn in d.turns)


def overlap(
    train_paths: Iterable[str | os.PathLike[str]],
    held_out_paths: Iterable[str | os.PathLike[str]],
    reading: Reading | None = None,
    *,
    report: Callable[[Taken], None] = lambda taken: None,
) -> list[Overlap]:
    """Training dialogues that must not be trained on, in the order of the files.

    Of a file that divides itself its `train` part is what is trained on (or the part that `reading` names),
    and the other parts are what is held out. `report` is called with what was taken of each file. Raises
    DataError when a file cannot be read.
    """
    reading = reading or Reading()
    held_out = _HeldOut()
    for path in held_out_paths:
        taken = take(path, replace(reading, split=None), *(part for part in SPLITS if part != "train"))
        report(taken)
        for where, dialog in zip(taken.places, taken.dialogs, strict=True):
            held_out.add(where, dialog)
    found: list[Overlap | None] = []
    for path in train_paths:
        taken = take(path, reading, "train")
        report(taken)
        found += map(held_out.compare, taken.places, taken.dialogs)
    return [one for one in found if one is not None]
