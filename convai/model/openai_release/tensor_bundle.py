"""TensorFlow's checkpoints (format V2, "tensor bundles"), read without TensorFlow.

PREFIX.index is a sorted string table: the empty key holds a BundleHeaderProto, every other key is the name of
a variable with a BundleEntryProto (tensorflow/core/protobuf/tensor_bundle.proto), which says where in
PREFIX.data-XXXXX-of-YYYYY its bytes are. Nothing here runs code from the files, and no size in them is
believed before it is held against the files' own. Checksums are left alone: a conversion is compared with its
source layer by layer, and its numbers are finite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from convai.core.errors import CheckpointError
from convai.model.openai_release.sstable import read_table
from convai.model.openai_release.wire import DamagedError, content, fields, signed, whole

Array = NDArray[Any]

DTYPES: Final = {1: "f4", 2: "f8", 3: "i4", 9: "i8", 19: "f2"}
"""Fixed-width types of tensorflow/core/framework/types.proto that a checkpoint of a GPT may hold."""
MOST_INDEX_BYTES: Final = 1 << 28
_MOST_AXES: Final = 254  # TensorShape's own limit


@dataclass(frozen=True, slots=True)
class Variable:
    """Where a variable lies: bytes `offset` to `offset + size` of a shard. `dtype` as in types.proto."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    sliced: bool


class TensorBundle(Mapping[str, Array]):
    """The variables of a checkpoint by name, each read when it is asked for."""

    def __init__(self, prefix: Path) -> None:
        """Read the index. Raises CheckpointError for one that is missing, cut short, damaged or hostile."""
        self.prefix = prefix
        self.index = prefix.with_name(prefix.name + ".index")
        self.entries: dict[str, Variable] = {}
        self._little = True
        self._shards = 0
        try:
            if self.index.stat().st_size > MOST_INDEX_BYTES:
                raise DamagedError("too large for an index")
            for number, (key, value) in enumerate(read_table(self.index.read_bytes())):
                if not number:
                    self._read_header(key, value)
                    continue
                # the key of a slice of a variable is no text
                self.entries[key.decode(errors="backslashreplace")] = _entry(value)
        except OSError as error:
            raise CheckpointError(f"{self.index}: {error.strerror}; copy the whole checkpoint") from None
        except DamagedError as error:
            raise CheckpointError(
                f"{self.index}: not the index of a TensorFlow checkpoint ({error}); copy the file again"
            ) from None
        if not self._shards:
            raise CheckpointError(f"{self.index}: holds nothing; copy the file again")

    def _read_header(self, key: bytes, value: bytes) -> None:
        if key:
            raise DamagedError("it has no header")
        for number, field in fields(value):
            if number == 1:
                self._shards = signed(field)
            elif number == 2:
                self._little = whole(field) == 0
        if not 1 <= self._shards <= 99999:
            raise DamagedError(f"{self._shards} data files")

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Any:
        return iter(self.entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """A variable's shape, without reading it."""
        return self.entries[name].shape

    def __getitem__(self, name: str) -> Array:
        """A variable, read-only. Raises KeyError, CheckpointError."""
        entry = self.entries[name]
        if entry.sliced:
            raise CheckpointError(
                f"{self.index}: {name} is stored in slices; save the checkpoint without a partitioner"
            )
        if entry.dtype not in DTYPES:
            raise CheckpointError(
                f"{self.index}: {name} has the type {entry.dtype}; only plain numbers are read"
            )
        dtype = np.dtype(("<" if self._little else ">") + DTYPES[entry.dtype])
        if entry.size != math.prod(entry.shape) * dtype.itemsize:
            raise CheckpointError(
                f"{self.index}: {name} of shape {entry.shape} cannot take {entry.size} bytes; "
                "copy the file again"
            )
        if not 0 <= entry.shard < self._shards:
            raise CheckpointError(f"{self.index}: {name} is in data file {entry.shard}, of {self._shards}")
        path = self.prefix.with_name(f"{self.prefix.name}.data-{entry.shard:05d}-of-{self._shards:05d}")
        try:
            length = path.stat().st_size
            if not 0 <= entry.offset <= length - entry.size:
                raise CheckpointError(
                    f"{path}: cut short, {name} lies behind its end ({length} bytes); copy the file again"
                )
            if not entry.size:
                return np.zeros(entry.shape, dtype)
            data = np.memmap(path, np.uint8, "r", entry.offset, (entry.size,))
        except OSError as error:
            raise CheckpointError(f"{path}: {error.strerror}; copy the whole checkpoint") from None
        return data.view(dtype).reshape(entry.shape)


def _entry(message: bytes) -> Variable:
    """A BundleEntryProto."""
    dtype = shard = offset = size = 0
    shape: tuple[int, ...] = ()
    sliced = False
    for number, value in fields(message):
        if number == 1:
            dtype = whole(value)
        elif number == 2:
            shape = _shape(content(value))
        elif number == 3:
            shard = signed(value)
        elif number == 4:
            offset = signed(value)
        elif number == 5:
            size = signed(value)
        elif number == 7:
            sliced = True
    return Variable(dtype, shape, shard, offset, size, sliced)


def _shape(message: bytes) -> tuple[int, ...]:
    """A TensorShapeProto."""
    axes = []
    for number, value in fields(message):
        if number == 3 and value:
            raise DamagedError("a variable without a shape")
        if number == 2:
            length = 0
            for inner, field in fields(content(value)):
                if inner == 1:
                    length = signed(field)
            axes.append(length)
    if len(axes) > _MOST_AXES or any(length < 0 for length in axes):
        raise DamagedError("a variable of an impossible shape")
    return tuple(axes)
