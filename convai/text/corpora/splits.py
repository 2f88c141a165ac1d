"""The parts that a file divides itself into: training, validation, test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from convai.core.dialog import Dialog
from convai.core.errors import DataError

SPLITS: Final = ("train", "valid", "test")
SPLIT_KEYS: Final = ("split", "set", "subset", "partition", "fold")
_NAMES: Final = {
    "train": "train",
    "training": "train",
    "train_set": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "eval": "valid",
    "test": "test",
    "testing": "test",
}


def split_named(name: object) -> str:
    """The split that a key or column means, or an empty text."""
    return _NAMES.get(name.strip().lower(), "") if isinstance(name, str) else ""


def own_split(entry: Mapping[str, Any]) -> str:
    """The split that a dialogue's JSON, or its row, names under some key for it, or an empty text."""
    return next(filter(None, (split_named(entry.get(key)) for key in SPLIT_KEYS)), "")


def split_of(dialog: Dialog) -> str:
    """The split that a dialogue's file puts it in, or an empty text."""
    return split_named(dialog.labels.get("split"))


def check_split(name: str) -> str:
    """The split of that name. Raises DataError for one that there is not."""
    found = split_named(name)
    if not found and name != "all":
        raise DataError(f"--split={name}: use one of all, {', '.join(SPLITS)}")
    return found or "all"
