"""The word vectors of coreference from plain text: its own words, and `convai.text.word_vectors` of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from convai.core.errors import DataError, SettingsError
from convai.core.text_files import lines
from convai.coref.words import normal
from convai.text.corpora.reading import Reading, Taken, take
from convai.text.word_vectors import NO_WORD, Floats, Neighbours, singular_vectors

_WORD: Final = re.compile(r"n't|'(?:s|m|re|ve|ll|d)\b|[^\W\d_]+(?=n't)|[^\W\d_]+|\d+|[^\s\w]")
"""Roughly as treebanks cut words."""
FEWEST: Final = 0.9
"""Weighted count up to which a pair of words is left out."""
_SPARE: Final = 16
"""Words that there must be beyond the size of a vector."""
_CHUNK: Final = 2_000_000
_TEXT: Final = (".txt", ".txt.xz", ".txt.gz")


def read_texts(
    paths: Iterable[Path],
    reading: Reading | None = None,
    *,
    report: Callable[[Taken], None] = lambda taken: None,
) -> Iterator[str]:
    """The lines of text files, and the turns of dialogues in any readable format.

    `reading` says how dialogues are read; a format in it makes dialogues of text files too. Of a file that
    divides itself the `train` part is read. `report` is called with what was taken of each.
    """
    reading = reading or Reading()
    for path in paths:
        if path.name.endswith(_TEXT) and reading.format is None:
            for _, line in lines(path):
                yield line
        else:
            taken = take(path, reading, "train")
            report(taken)
            for dialog in taken.dialogs:
                for turn in dialog.turns:
                    yield turn.text


def train_vectors(
    texts: Iterable[str], words: int, size: int, seed: int = 0, progress: bool = False
) -> tuple[list[str], Floats]:
    """The commonest words of the texts, commonest first, and their vectors `[words, size]`, of mean square 1.

    Raises SettingsError for sizes below 1, DataError for texts with fewer words than `size`.
    """
    for name, value in (("words", words), ("size", size)):
        if value < 1:
            raise SettingsError(f"{name}={value}: use 1 or more")
    ids, known = _encoded(tqdm(texts, desc="reading", unit=" texts", disable=not progress))
    counts = np.bincount(ids[ids >= 0], minlength=len(known))
    order = np.argsort(-counts, kind="stable")[:words]
    if len(order) <= size + _SPARE:
        raise DataError(f"{len(order)} different words; {size} numbers a word need more text")
    rows = np.full(len(known) + 1, NO_WORD, np.int64)
    rows[order] = np.arange(len(order))
    near = Neighbours(len(order))
    for start in tqdm(range(0, len(ids), _CHUNK), desc="counting", disable=not progress):
        near.add(rows[ids[start : start + _CHUNK]])
    vectors = singular_vectors(near.mutual_information(FEWEST), size, seed)
    return [known[i] for i in order], vectors / max(float(np.sqrt(np.square(vectors).mean())), 1e-12)


def _encoded(texts: Iterable[str]) -> tuple[NDArray[np.int64], list[str]]:
    """The texts as numbers of words with an end after each, and the words."""
    known: dict[str, int] = {}
    chunks: list[NDArray[np.int64]] = []
    buffer: list[int] = []
    for text in texts:
        for word in _WORD.findall(text.lower().replace("’", "'")):
            buffer.append(known.setdefault(normal(word), len(known)))
        buffer.append(NO_WORD)
        if len(buffer) > _CHUNK:
            chunks.append(np.array(buffer, np.int64))
            buffer = []
    chunks.append(np.array(buffer, np.int64))
    return np.concatenate(chunks), list(known)
