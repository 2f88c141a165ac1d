"""What a training run learns from: parsed column files, development files or a held-out share, vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from convai.core.errors import SettingsError
from convai.coref.checkpoint import load_coref_model
from convai.coref.document import Document
from convai.coref.pairs import Floats
from convai.coref.scorer.gap import ParsedExample
from convai.coref.settings import CorefTrainSettings
from convai.coref.words import SPECIAL
from convai.text import word_vectors


class Read(Protocol):
    """Reads files to parsed documents."""

    def documents(self, path: Path) -> list[Document]:
        """Those of a column file."""

    def asked(self, path: Path) -> list[ParsedExample]:
        """The ambiguous pronouns of a table of GAP's."""


@dataclasses.dataclass(slots=True)
class Data:
    """What a run learns from and what it is judged by: name → documents."""

    train: list[Document]
    dev: dict[str, list[Document]]
    words: list[str]
    vectors: Floats
    """`[words, d]`"""
    asked: list[ParsedExample] = dataclasses.field(default_factory=list)
    """Ambiguous pronouns to learn from, beside the documents."""
    asked_dev: dict[str, list[ParsedExample]] = dataclasses.field(default_factory=dict)


def read_data(described: dict[str, Any], read: Read, settings: CorefTrainSettings) -> Data:
    """What run.json describes. Raises DataError for its files, SettingsError where there is too little."""
    if not described["train"]:
        raise SettingsError("DATA is missing: name the column files to learn from")
    words, vectors = read_vectors(described["vectors"])
    files, gap_files = _by_kind(described["train"])
    train = [document for path in files for document in read.documents(path)]
    train = [d for d in train if not any(part in d.name for part in described["skip"])]
    asked = [one for path in gap_files for one in read.asked(path)]
    files, gap_files = _by_kind(described["dev"])
    dev = {path.name.split(".")[0]: read.documents(path) for path in files}
    asked_dev = {path.name.split(".")[0]: read.asked(path) for path in gap_files}
    if not described["dev"]:
        every = max(2, round(1 / settings.held_out)) if settings.held_out else 0
        if not every or len(train) < 2:
            raise SettingsError("--dev is missing: name a column file that tells when to stop")
        dev = {"held_out": train[::every]}
        train = [d for i, d in enumerate(train) if i % every]
    if not any(len(cluster) > 1 for d in train for cluster in d.clusters):
        raise SettingsError("no training document has a chain of two mentions; there is nothing to learn")
    return Data(train, dev, words, vectors, asked, asked_dev)


def _by_kind(paths: Iterable[str]) -> tuple[list[Path], list[Path]]:
    """Column files, and GAP's tables."""
    found = [Path(path) for path in paths]
    return [p for p in found if p.suffix != ".tsv"], [p for p in found if p.suffix == ".tsv"]


def read_vectors(path: Path | str | None) -> tuple[list[str], Floats]:
    """The words and vectors `[words, d]` of an .npz file with those two arrays; None: the embedded model's.

    Raises DataError where the file is no such thing.
    """
    if path is None:
        model, ids = load_coref_model()
        return ids.words, model.vectors[SPECIAL:].numpy()
    return word_vectors.read_vectors(Path(path))
