"""The parts that a file divides itself into: training, validation, test."""

from __future__ import annotations

from typing import Final

from convai.core.dialog import Dialog
from convai.core.errors import DataError

SPLITS: Final = ("train", "valid", "test")
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


def split_of(dialog: Dialog) -> str:
    """The split that a dialogue's file puts it in, or an empty text."""
    return split_named(dialog.labels.get("split"))


def check_split(name: str) -> str:
    """The split of that name. Raises DataError for one that there is not."""
    found = split_named(name)
    if not found and name != "all":
        raise DataError(f"--split={name}: use one of all, {', '.join(SPLITS)}")
    return found or "all"
