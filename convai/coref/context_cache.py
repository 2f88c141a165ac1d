"""States of a training's documents, read once and kept in a file that is mapped into memory.

Two files: rows of float16 one after the other, and a line a document that says whose they are. A line is
written behind its rows, so that whatever a killed run left without a line is cut off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from convai.core.errors import CheckpointError
from convai.coref.contexts import Contexts, GrowingText
from convai.coref.document import Document, Sentence
from convai.coref.pairs import Floats

ROWS: Final = "contexts.f16"
INDEX: Final = "contexts.jsonl"
_BEGIN: Final = b""


class CachedContexts:
    """The states of documents that were given to `fill`."""

    def __init__(self, folder: Path, width: int, make: Callable[[], Contexts]) -> None:
        """`make` is called where something has to be read. Raises CheckpointError for a damaged cache."""
        self._rows, self._index, self._width, self._make = folder / ROWS, folder / INDEX, width, make
        self.where: dict[bytes, int] = {}
        """A text's sentences up to one of them → the row of that one's first word."""
        self._known: dict[str, int] = {}
        self._size = 0
        self._states: Floats = np.zeros((0, width), np.float16)
        if self._index.is_file():
            self._take_up()

    def _take_up(self) -> None:
        for line in self._index.read_text(encoding="utf-8").splitlines():
            try:
                one = json.loads(line)
                self._known[one["text"]] = one["row"]
                self._size = one["row"] + one["words"]
            except (ValueError, KeyError, TypeError):
                raise CheckpointError(
                    f"{self._index}: damaged; delete it and {ROWS}, they are made anew"
                ) from None
        bytes_ = self._size * self._width * 2
        if not self._rows.is_file() or self._rows.stat().st_size < bytes_:
            raise CheckpointError(f"{self._rows}: too short; delete it and {INDEX}, they are made anew")
        with open(self._rows, "r+b") as file:
            file.truncate(bytes_)

    def fill(self, documents: Iterable[Document]) -> None:
        """Read the documents that are not there yet."""
        reader: Contexts | None = None
        with open(self._rows, "ab") as rows, open(self._index, "a", encoding="utf-8") as index:
            for document in tqdm(list(documents), desc="reading contexts", leave=False, dynamic_ncols=True):
                keys = _keys(document.sentences, _BEGIN)
                if not keys:
                    continue
                name = keys[-1].hex()
                if name not in self._known:
                    reader = reader or self._make()
                    states = reader.begin().add(document.sentences).astype(np.float16)
                    rows.write(states.tobytes())
                    rows.flush()
                    line = {"text": name, "row": self._size, "words": len(states)}
                    index.write(json.dumps(line) + "\n")
                    index.flush()
                    self._known[name] = self._size
                    self._size += len(states)
                row = self._known[name]
                for key, sentence in zip(keys, document.sentences, strict=True):
                    self.where[key] = row
                    row += len(sentence.words)
        if self._size:
            self._states = np.memmap(self._rows, np.float16, "r", shape=(self._size, self._width))

    def begin(self) -> GrowingText:
        """A text without a word, which will be one of those given to `fill`."""
        return _Known(self)

    def rows(self, begin: int, end: int) -> Floats:
        """States `[end - begin, width]`."""
        return self._states[begin:end]


class _Known:
    def __init__(self, cache: CachedContexts) -> None:
        self._cache = cache
        self._key = _BEGIN

    def add(self, sentences: Sequence[Sentence]) -> Floats:
        keys = _keys(sentences, self._key)
        if not keys:
            return self._cache.rows(0, 0)
        self._key = keys[-1]
        # from the last one back: texts that begin alike share their first sentences' keys
        end = self._cache.where[keys[-1]] + len(sentences[-1].words)
        return self._cache.rows(end - sum(len(sentence.words) for sentence in sentences), end)


def _keys(sentences: Sequence[Sentence], before: bytes) -> list[bytes]:
    """For each sentence a digest of the text up to its end; `before`: that of what precedes them."""
    keys = []
    for sentence in sentences:
        text = json.dumps([sentence.speaker, sentence.words])
        before = hashlib.blake2b(before + text.encode(), digest_size=16).digest()
        keys.append(before)
    return keys
