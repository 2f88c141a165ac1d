"""One's own labelled texts: a CSV or TSV file with a header and the columns text and label."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from convai.core.errors import DataError, SettingsError
from convai.core.text_files import lines
from convai.emotion import text
from convai.emotion.labelled import SPLITS, TRAIN, VALID, LabelSet, Target, Texts
from convai.emotion.readers import read_labelled

_SPLIT_NAMES: Final = {"val": VALID, "dev": VALID, "validation": VALID}
_FEWEST_OF_A_CLASS: Final = 2
_MOST_TWINS: Final = 4
"""Texts with the same words that are held out together."""


def read_table(
    path: Path,
    *,
    text_column: str = "text",
    label_column: str = "label",
    labels: Sequence[str] | None = None,
    separator: str | None = None,
) -> LabelSet:
    """Read a table; further columns are ignored, but `split` (train, valid, test) where there is one.

    `labels`: those that may occur, in the order of the outputs; None takes those found, sorted. `separator`:
    cuts a cell into several labels, which makes the set multi-label. Raises DataError naming file and line
    for a missing column, an empty text or label, an unknown label.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    reader = csv.DictReader(
        (line + "\n" for _, line in lines(path)), delimiter="\t" if path.suffix == ".tsv" else ","
    )
    for column in (text_column, label_column):
        if column not in (reader.fieldnames or ()):
            there = ", ".join(reader.fieldnames or ()) or "none"
            raise DataError(
                f"{path}:1: there is no column {column!r} (there are: {there}); "
                "name yours with --text-column and --label-column"
            )
    rows = []
    for row in reader:
        where = f"{path}:{reader.line_num}"
        text, cell = row[text_column], row[label_column]
        if text is None or cell is None or not text.strip() or (not cell.strip() and separator is None):
            missing = text_column if text is None or not text.strip() else label_column
            raise DataError(f"{where}: the {missing} is empty; fill it in or delete the row")
        parts = cell.split(separator) if separator is not None else [cell]
        rows.append((where, text, [part.strip() for part in parts if part.strip()], _split(row, where)))
    if not rows:
        raise DataError(f"{path}: no rows below the header; add texts with labels")
    known = tuple(labels) if labels is not None else tuple(sorted({one for row in rows for one in row[2]}))
    result = LabelSet("labels", known, multi=separator is not None, source=str(path))
    for where, text, said, split in rows:
        result.splits.setdefault(split, Texts()).add(text, _target(said, known, where))
    return result


def _split(row: dict[str, str | None], where: str) -> str:
    name = (row.get("split") or TRAIN).strip().lower()
    name = _SPLIT_NAMES.get(name, name)
    if name not in SPLITS:
        raise DataError(f"{where}: the split {name[:40]!r} is none of {', '.join(SPLITS)}")
    return name


def _target(said: Sequence[str], known: Sequence[str], where: str) -> Target:
    for label in said:
        if label not in known:
            raise DataError(f"{where}: the label {label[:40]!r} is none of {', '.join(known)}")
    return tuple(sorted({known.index(label) for label in said}))


def _bare(line: str) -> str:
    """A text's words without hashtags, mentions and links; the text itself if nothing else is there."""
    words = (word for word in text.split(line) if word[0] != "#" and word not in (text.AT, text.URL))
    return " ".join(words) or line


def with_validation(data: LabelSet, share: float, seed: int = 0) -> LabelSet:
    """`data` with a validation split: its own, or `share` of the training texts, alike in their classes.

    Texts that differ in hashtags alone stay together (TweetEval's emotion set has hundreds that occur with
    and without theirs): a text that was learnt says nothing about those that were not. Only what many texts
    say is on both sides, or else all in training.
    Raises DataError when a class has too few texts to be on both sides.
    """
    if data.splits.get(VALID):
        return data
    train = data.split(TRAIN)
    rng = random.Random(seed)
    classes: dict[Target, list[int]] = {}
    for row, target in enumerate(train.targets):
        classes.setdefault(target[:1], []).append(row)
    bare = [_bare(line) for line in train.texts]
    twins: dict[str, list[int]] = {}
    for row, words in enumerate(bare):
        twins.setdefault(words, []).append(row)
    held: set[int] = set()
    for target, rows in sorted(classes.items()):
        if len(rows) < _FEWEST_OF_A_CLASS and not data.multi:
            raise DataError(
                f"{data.source}: only one text is labelled {data.labels[target[0]]!r}; "
                "two are needed, one to learn from and one to validate on"
            )
        picked = rng.sample(rows, min(len(rows) - 1, max(1, round(share * len(rows)))))
        held.update([row for row in picked if len(twins[bare[row]]) <= _MOST_TWINS] or picked)
    for row in sorted(held):
        if len(twins[bare[row]]) <= _MOST_TWINS:
            held.update(twins[bare[row]])
    for rows in classes.values():
        if held.issuperset(rows) and len(rows) > 1:
            held.discard(rows[0])
    splits = dict(data.splits)
    splits[TRAIN] = train.taken([row for row in range(len(train)) if row not in held])
    splits[VALID] = train.taken(sorted(held))
    return LabelSet(data.name, data.labels, data.multi, data.role, splits, data.source)


def read_to_train(paths: Sequence[Path], rows: int, held_out: float, seed: int) -> list[LabelSet]:
    """The sets, with a share of their training texts as `valid`; their own valid and test splits are unseen.

    `rows` limits the training texts of each (0: all). Raises DataError, and SettingsError for no sets, or
    two of one name.
    """
    if not paths:
        raise SettingsError("DATA is missing: name the label sets to learn")
    found = []
    for path in paths:
        data = read_labelled(path)
        train = data.split(TRAIN)
        if rows:
            train = train.taken(range(min(rows, len(train))))
        data.splits = {TRAIN: train}
        data.check()
        found.append(with_validation(data, held_out, seed))
    names = [data.name for data in found]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"two of the data sets are called {name}; give each once")
    return found
