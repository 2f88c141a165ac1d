"""Sorted string tables, the file format of LevelDB, in which TensorFlow writes a checkpoint's index.

Source: LevelDB's doc/table_format.md. A file is data blocks, an index block that says where each of them
lies, and a footer of 48 bytes that says where the index is. In a block a key is stored as the number of bytes
that it shares with the key before, and the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from convai.model.openai_release.wire import DamagedError, varint

FOOTER: Final = 48
MAGIC: Final = 0xDB4775248B80FB57
TRAILER: Final = 5
"""Bytes after a block: its compression, and a checksum of both, which is left alone (see tensor_bundle)."""


def read_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values in the order of the file, which is that of the keys.

    Raises DamagedError for anything but a whole, uncompressed table.
    """
    if len(data) < FOOTER:
        raise DamagedError(f"{len(data)} bytes are too few for a table")
    footer = data[-FOOTER:]
    if int.from_bytes(footer[-8:], "little") != MAGIC:
        raise DamagedError("does not end like a table (cut short, or another kind of file)")
    _, place = _handle(footer, 0)  # the index of meta blocks, of which a checkpoint has none
    index, _ = _handle(footer, place)
    last: bytes | None = None
    for _, where in _entries(_block(data, *index)):
        handle, _ = _handle(where, 0)
        for key, value in _entries(_block(data, *handle)):
            if last is not None and key <= last:
                raise DamagedError("its keys are out of order")
            last = key
            yield key, value


def _handle(data: bytes, place: int) -> tuple[tuple[int, int], int]:
    offset, place = varint(data, place)
    size, place = varint(data, place)
    return (offset, size), place


def _block(data: bytes, offset: int, size: int) -> bytes:
    end = offset + size
    if end + TRAILER > len(data) - FOOTER:
        raise DamagedError("a block lies outside the file")
    if data[end]:
        kind = "with snappy" if data[end] == 1 else f"as type {data[end]}"
        raise DamagedError(f"a block is compressed {kind}, which TensorFlow's Saver does not do")
    return data[offset:end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(block) < 4:
        raise DamagedError("a block is too short")
    # at the end: where keys are stored whole, for a search that is not needed here
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")
    if end < 0:
        raise DamagedError("a block has more restart points than bytes")
    key, place = b"", 0
    while place < end:
        shared, place = varint(block, place)
        rest, place = varint(block, place)
        size, place = varint(block, place)
        if shared > len(key) or rest + size > end - place:
            raise DamagedError("an entry reaches beyond its block")
        key = key[:shared] + block[place : place + rest]
        place += rest
        yield key, block[place : place + size]
        place += size
