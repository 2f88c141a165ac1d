"""The container: metadata and named tensors of a GGUF file (version 2 or 3), checked as they are read.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The header is read here rather than with
`gguf.GGUFReader`, which makes two numpy arrays of every string of the vocabulary (2.7 s for 49,152 tokens and
their merges; this takes 0.1 s) and reports a file that was cut short as a reshape error. What the blocks of
a quantised tensor mean: `blocks`.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType
from numpy.typing import NDArray

from convai.core.errors import CheckpointError
from convai.model.gguf.blocks import to_floats

_Kind = TypeVar("_Kind", GGUFValueType, GGMLQuantizationType)

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)

_SCALARS: Final = {
    GGUFValueType.UINT8: "<u1",
    GGUFValueType.INT8: "<i1",
    GGUFValueType.UINT16: "<u2",
    GGUFValueType.INT16: "<i2",
    GGUFValueType.UINT32: "<u4",
    GGUFValueType.INT32: "<i4",
    GGUFValueType.FLOAT32: "<f4",
    GGUFValueType.BOOL: "?",
    GGUFValueType.UINT64: "<u8",
    GGUFValueType.INT64: "<i8",
    GGUFValueType.FLOAT64: "<f8",
}
_DEEPEST: Final = 4
"""Arrays of arrays that are followed; real files have none."""


class _EndsEarly(Exception):
    """A read past the end of the file."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What the header says of a tensor. `shape` is row-major, as numpy and torch have it."""

    name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    start: int
    """First byte, from the beginning of the file."""
    size: int
    """Bytes in the file."""


@dataclass(frozen=True, slots=True)
class GGUF:
    """An open GGUF file. Tensors are read from the disk when asked for."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, TensorInfo]
    _buffer: mmap.mmap = field(repr=False)

    @property
    def architecture(self) -> str:
        """llama.cpp's name for the kind of model. Raises CheckpointError where the file has none."""
        name = self.metadata.get("general.architecture")
        if not isinstance(name, str):
            raise CheckpointError(f"{self.path}: names no general.architecture; take a GGUF file of a model")
        return name

    def tensor(self, name: str) -> NDArray[np.float32]:
        """The tensor called `name` as float32, dequantised; a copy that may be changed.

        Raises CheckpointError for a tensor that is missing or in a type that cannot be read.
        """
        info = self.tensors.get(name)
        if info is None:
            raise CheckpointError(f"{self.path}: has no tensor {name}; take a complete GGUF file")
        raw = np.frombuffer(self._buffer, np.uint8, info.size, info.start)
        if info.kind == GGMLQuantizationType.F32:
            return raw.view("<f4").reshape(info.shape).astype(np.float32)
        try:
            values = to_floats(raw, info.kind)
        except NotImplementedError:
            raise CheckpointError(
                f"{self.path}: {name} is of type {info.kind.name}, which cannot be read; "
                "take a file in F16, Q8_0 or Q4_1"
            ) from None
        return values.reshape(info.shape)


def open_gguf(path: Path) -> GGUF:
    """Read the header of the GGUF file at `path` and check that the file holds all that it names.

    Raises CheckpointError for a file that cannot be read, is of another format or version, or cut short.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            if size < 24:
                raise _not_gguf(path, size)
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; give the path of a GGUF file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}; make it a readable file") from None
    if buffer[:4] != MAGIC:
        raise _not_gguf(path, size)
    header = _Header(path, buffer)
    try:
        metadata, tensors = header.read()
    except _EndsEarly:
        raise CheckpointError(
            f"{path}: cut short: its {size:,} bytes end inside the header; copy or download it again"
        ) from None
    end = max((info.start + info.size for info in tensors.values()), default=0)
    if end > size:
        raise CheckpointError(
            f"{path}: cut short: {size:,} bytes of at least {end:,}; copy or download it again"
        )
    return GGUF(path, metadata, tensors, buffer)


def _not_gguf(path: Path, size: int) -> CheckpointError:
    return CheckpointError(
        f"{path}: not a GGUF file ({size:,} bytes that do not begin with 'GGUF'); "
        "give a .gguf file, or a model folder"
    )


class _Header:
    """A cursor over the header. Every read is checked against the end of the file."""

    def __init__(self, path: Path, buffer: mmap.mmap) -> None:
        self.path = path
        self.buffer = buffer
        self.at = len(MAGIC)

    def read(self) -> tuple[dict[str, Any], dict[str, TensorInfo]]:
        version = self._number("<I")
        if version not in VERSIONS:
            swapped = version >> 24 in VERSIONS and not version & 0xFFFFFF
            problem = "big-endian" if swapped else f"version {version}"
            raise CheckpointError(
                f"{self.path}: a {problem} GGUF file; convert it to version 3, little-endian"
            )
        tensor_count, key_count = self._number("<Q"), self._number("<Q")
        metadata: dict[str, Any] = {}
        for _ in range(key_count):
            key = self._string()
            metadata[key] = self._value(self._kind(GGUFValueType), 0)
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise self._damaged(f"general.alignment is {alignment!r}")
        entries = [self._entry() for _ in range(tensor_count)]
        data = -(-self.at // alignment) * alignment
        tensors: dict[str, TensorInfo] = {}
        for name, shape, kind, offset, size in entries:
            if name in tensors:
                raise self._damaged(f"two tensors are called {name}")
            tensors[name] = TensorInfo(name, shape, kind, data + offset, size)
        return metadata, tensors

    def _entry(self) -> tuple[str, tuple[int, ...], GGMLQuantizationType, int, int]:
        name = self._string()
        dimensions = self._number("<I")
        if dimensions > 4:
            raise self._damaged(f"{name} has {dimensions} dimensions")
        shape = tuple(self._number("<Q") for _ in range(dimensions))[::-1]
        kind = self._kind(GGMLQuantizationType)
        offset = self._number("<Q")
        count = 1
        for length in shape:
            count *= length
        block, block_size = GGML_QUANT_SIZES[kind]
        if (shape[-1] if shape else 1) % block:
            raise self._damaged(f"{name} has rows of {shape[-1]}, no whole blocks of {kind.name}")
        return name, shape, kind, offset, count // block * block_size

    def _value(self, kind: GGUFValueType, depth: int) -> Any:
        if kind == GGUFValueType.STRING:
            return self._string()
        if kind != GGUFValueType.ARRAY:
            return self._numbers(kind, 1)[0].item()
        item = self._kind(GGUFValueType)
        count = self._number("<Q")
        if item in _SCALARS:
            return self._numbers(item, count).tolist()
        if item == GGUFValueType.STRING:
            return self._strings(count)
        if depth == _DEEPEST:
            raise self._damaged("arrays nested too deep")
        return [self._value(item, depth + 1) for _ in range(count)]

    def _kind(self, kinds: Callable[[int], _Kind]) -> _Kind:
        number = self._number("<I")
        try:
            return kinds(number)
        except ValueError:
            raise self._damaged(f"an unknown type ({number})") from None

    def _number(self, form: str) -> int:
        start = self._take(struct.calcsize(form))
        value: int = struct.unpack_from(form, self.buffer, start)[0]
        return value

    def _numbers(self, kind: GGUFValueType, count: int) -> NDArray[Any]:
        dtype = np.dtype(_SCALARS[kind])
        start = self._take(dtype.itemsize * count)
        return np.frombuffer(self.buffer, dtype, count, start)

    def _string(self) -> str:
        return self._strings(1)[0]

    def _strings(self, count: int) -> list[str]:
        """In one loop: a vocabulary and its merges are a hundred thousand."""
        buffer, at, end = self.buffer, self.at, len(self.buffer)
        length, size = struct.Struct("<Q").unpack_from, struct.calcsize("<Q")
        texts = []
        try:
            for _ in range(count):
                if end - at < size:
                    raise _EndsEarly
                start = at + size
                at = start + length(buffer, at)[0]
                if at > end:
                    raise _EndsEarly
                texts.append(buffer[start:at].decode())
        except UnicodeDecodeError:
            raise self._damaged(f"text at byte {start:,} that is not UTF-8") from None
        self.at = at
        return texts

    def _take(self, size: int) -> int:
        """Move on by `size` bytes; where they began."""
        start = self.at
        if size > len(self.buffer) - start:
            raise _EndsEarly
        self.at = start + size
        return start

    def _damaged(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: a damaged GGUF file: {what}; copy or download it again")
