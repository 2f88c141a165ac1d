"""Word vectors that an embedding begins with: learnt from texts, and put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from convai.core.errors import DataError
from convai.core.text_files import lines
from convai.emotion import text
from convai.emotion.labelled import TRAIN
from convai.emotion.readers import read_labelled
from convai.emotion.vocabulary import UNKNOWN_ID, Vocabulary
from convai.text.corpora.reading import Reading, Taken, take
from convai.text.word_vectors import NO_WORD, WINDOW, Floats, Neighbours, read_vectors, singular_vectors

_DIALOGUES: Final = {".jsonl", ".json"}
"""Names of files, packed or not, that are read as dialogues and not by line."""
_LONGEST: Final = 2000
"""Words that are read of one text."""


def texts_in(
    source: str,
    reading: Reading | None = None,
    *,
    report: Callable[[Taken], None] = lambda taken: None,
) -> Iterator[str]:
    """The texts of `PATH` or `PATH@K` (every K-th text): a label set's training texts, the turns
    of dialogues in JSON, or the lines of a text file.

    `reading` says how dialogues are read (a format in it makes dialogues of other files too); of a file that
    divides itself the `train` part is. `report` is called with what was taken. Raises DataError.
    """
    name, at, every = source.rpartition("@")
    if not at or not every.isdecimal() or int(every) < 1:
        name, every = source, "1"
    path = Path(name)
    if path.is_dir():
        yield from read_labelled(path).split(TRAIN).texts[:: int(every)]
        return
    if not _DIALOGUES.intersection(path.suffixes) and (reading is None or reading.format is None):
        for number, line in lines(path):
            if not (number - 1) % int(every) and line.strip():
                yield line
        return
    taken = take(path, reading, "train")
    report(taken)
    for dialog in taken.dialogs[:: int(every)]:
        for turn in dialog.turns:
            yield turn.text


def beside(vocabulary: Vocabulary, own: Floats, others: Mapping[str, Floats]) -> Floats:
    """Vectors with those of `others` put before them, each part of length 1 times the root of its share.

    Words that `others` lacks have zeros there.
    """
    width = len(next(iter(others.values()))) if others else 0
    first = np.zeros((len(vocabulary), width), np.float32)
    for i, word in enumerate(vocabulary.words):
        if word in others:
            first[i] = others[word]
    total = width + own.shape[1]
    parts = [_unit(part) * np.sqrt(part.shape[1] / total) for part in (first, own) if part.shape[1]]
    return np.concatenate(parts, 1).astype(np.float32)


def _unit(rows: Floats) -> Floats:
    scaled: Floats = rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6)
    return scaled


def learn_vectors(
    vocabulary: Vocabulary,
    sources: Iterable[str],
    size: int,
    reading: Reading | None = None,
    *,
    report: Callable[[Taken], None] = lambda taken: None,
) -> Floats:
    """Vectors `[words, size]` of the vocabulary's words from the texts of all `sources` (see `texts_in`)."""
    near = Neighbours(len(vocabulary))
    for source in sources:
        for line in texts_in(source, reading, report=report):
            ids = vocabulary.ids(text.split(line, _LONGEST))
            near.add([id if id > UNKNOWN_ID else NO_WORD for id in ids] + [NO_WORD] * WINDOW)
    return singular_vectors(near.mutual_information(), size)


@torch.no_grad()
def begin_with(embedding: nn.Embedding, vocabulary: Vocabulary, path: Path, scale: float) -> int:
    """Put the vectors in `path` into the first channels of the words that have one; returns how many.

    They are scaled as a whole to a root mean square of `scale`; the other channels and words stay as they
    are. Raises DataError when the file is none, its vectors are too wide, or no word is in it.
    """
    vectors = dict(zip(*read_vectors(path), strict=True))
    rows = [(i, vectors[word]) for i, word in enumerate(vocabulary.words) if word in vectors]
    width = len(next(iter(vectors.values())))
    if width > embedding.embedding_dim:
        raise DataError(
            f"{path}: vectors of {width} numbers; use an embedding_size of {width} or more, "
            f"not {embedding.embedding_dim}"
        )
    if not rows:
        raise DataError(f"{path}: has none of the vocabulary's words; check the file")
    found = torch.from_numpy(np.stack([vector for _, vector in rows]))
    found *= scale / max(1e-12, float(found.square().mean().sqrt()))
    embedding.weight[[i for i, _ in rows], :width] = found.to(embedding.weight)
    return len(rows)
