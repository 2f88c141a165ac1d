"""Encoded corpora as flat arrays, and their cache on disk.

Ten million Python integers take 400 MB; as arrays they take 20, load at once, and a dialogue is sliced
out when it is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from convai.core.dialog import AGENT
from convai.core.errors import DataError
from convai.core.files import atomic_write
from convai.text.segments import EncodedDialog, EncodedTurn

_NO_TARGET: Final = 2
"""Added to the speaker of a turn that is not to be learnt."""
_ADDED: Final = 253
_PERSONA: Final = 254
_DISTRACTOR: Final = 255

Arrays = dict[str, NDArray[Any]]


class EncodedCorpus:
    """A sequence of EncodedDialog over flat arrays.

    A unit is one text: a persona sentence, a line added before the turn behind it, a turn, or a distractor of
    the turn before it. `tokens` holds
    the ids of all units, `starts` [U + 1] where each begins, `kinds` [U] the speaker of a turn (2 more where
    it is no target, or one of three marks), `dialogs` [N + 1] the first unit of each dialogue.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self._tokens = arrays["tokens"]
        self._starts = arrays["starts"]
        self._kinds = arrays["kinds"]
        self._dialogs = arrays["dialogs"]
        self.origins: NDArray[np.int64] = arrays.get("origins", np.zeros(len(self), np.int64))

    @classmethod
    def pack(cls, dialogs: Iterable[EncodedDialog]) -> EncodedCorpus:
        """Flatten `dialogs`."""
        tokens: list[NDArray[np.int32]] = []
        lengths: list[int] = []
        kinds: list[int] = []
        firsts = [0]

        def add(ids: Sequence[int], kind: int) -> None:
            tokens.append(np.asarray(ids, dtype=np.int32))
            lengths.append(len(ids))
            kinds.append(kind)

        for dialog in dialogs:
            for sentence in dialog.persona:
                add(sentence, _PERSONA)
            for turn in dialog.turns:
                for line in turn.added:
                    add(line, _ADDED)
                add(turn.ids, turn.speaker if turn.target else turn.speaker + _NO_TARGET)
                for words in turn.distractors:
                    add(words, _DISTRACTOR)
            firsts.append(len(lengths))
        return cls(
            {
                "tokens": np.concatenate(tokens) if tokens else np.zeros(0, np.int32),
                "starts": np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
                "kinds": np.array(kinds, dtype=np.uint8),
                "dialogs": np.array(firsts, dtype=np.int64),
            }
        )

    @classmethod
    def concatenate(cls, corpora: Sequence[EncodedCorpus]) -> EncodedCorpus:
        """All dialogues of several corpora, in order."""
        if not corpora:
            return cls.pack(())
        tokens = np.concatenate([c._tokens for c in corpora])
        kinds = np.concatenate([c._kinds for c in corpora])
        starts, firsts = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
        origins = np.repeat(np.arange(len(corpora), dtype=np.int64), [len(c) for c in corpora])
        n_tokens = n_units = 0
        for corpus in corpora:
            starts.append(corpus._starts[1:] + n_tokens)
            firsts.append(corpus._dialogs[1:] + n_units)
            n_tokens += len(corpus._tokens)
            n_units += len(corpus._kinds)
        return cls(
            {
                "tokens": tokens,
                "starts": np.concatenate(starts),
                "kinds": kinds,
                "dialogs": np.concatenate(firsts),
                "origins": origins,
            }
        )

    def __len__(self) -> int:
        return len(self._dialogs) - 1

    def __iter__(self) -> Iterator[EncodedDialog]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> EncodedDialog:
        if not 0 <= index < len(self):
            raise IndexError(index)
        persona: list[list[int]] = []
        turns: list[tuple[int, list[int], list[list[int]], list[list[int]]]] = []
        added: list[list[int]] = []
        for unit in range(self._dialogs[index], self._dialogs[index + 1]):
            ids = self.unit(unit)
            kind = int(self._kinds[unit])
            if kind == _PERSONA:
                persona.append(ids)
            elif kind == _DISTRACTOR:
                turns[-1][2].append(ids)
            elif kind == _ADDED:
                added.append(ids)
            else:
                turns.append((kind, ids, [], added))
                added = []
        encoded = [EncodedTurn(k % _NO_TARGET, ids, d, k < _NO_TARGET, a) for k, ids, d, a in turns]
        return EncodedDialog(persona, encoded)

    def replies(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Dialogue and unit number `[R]` of every agent turn that answers something: targets, not empty."""
        is_turn = self._kinds < _ADDED
        turns_before = np.concatenate([[0], np.cumsum(is_turn)])
        dialog = np.repeat(np.arange(len(self)), np.diff(self._dialogs))
        follows = turns_before[:-1] > turns_before[self._dialogs[dialog]]
        units = np.nonzero((self._kinds == AGENT) & follows & (np.diff(self._starts) > 0))[0]
        return dialog[units], units

    def unit(self, number: int) -> list[int]:
        """Ids of one unit."""
        ids: list[int] = self._tokens[self._starts[number] : self._starts[number + 1]].tolist()
        return ids

    @property
    def n_tokens(self) -> int:
        return len(self._tokens)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cached_arrays(cache: Path | None, key: Sequence[str], make: Callable[[], Arrays]) -> Arrays:
    """The arrays that `make` returns, kept in folder `cache` under a hash of `key`.

    `key` must name all that the arrays depend on: digests of the files, the tokenizer's fingerprint, the
    settings. A damaged cache file is made again. `cache=None` keeps nothing. Raises DataError when the
    arrays cannot be written.
    """
    if cache is None:
        return make()
    path = cache / f"{hashlib.sha256(chr(0).join(key).encode()).hexdigest()[:32]}.safetensors"
    if path.exists():
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError):
            path.unlink(missing_ok=True)
    arrays = make()
    try:
        atomic_write(path, lambda part: save_file(arrays, part))
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{cache}: the encoded data cannot be kept there ({error}); free some space"
        ) from error
    return arrays
