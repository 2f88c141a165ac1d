"""Varints and the wire format of protocol buffers: as much of it as a checkpoint's index uses."""

from __future__ import annotations

from collections.abc import Iterator


class DamagedError(ValueError):
    """Bytes that are not what they claim to be; the text says what is wrong, the caller adds the file."""


def varint(data: bytes, place: int) -> tuple[int, int]:
    """The unsigned number of at most 64 bits at `place`, and the place after it. Raises DamagedError."""
    value = 0
    for i in range(10):
        if place + i >= len(data):
            raise DamagedError("a number is cut short")
        byte = data[place + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, place + i + 1
    raise DamagedError("a number has more than 64 bits")


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a message: varints and fixed numbers unsigned, the rest as bytes.

    Raises DamagedError where the message does not parse.
    """
    place = 0
    while place < len(message):
        tag, place = varint(message, place)
        kind = tag & 7
        if kind == 0:
            value, place = varint(message, place)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, place = varint(message, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise DamagedError(f"a field has the unknown wire type {kind}")
        if size > len(message) - place:
            raise DamagedError("a field is cut short")
        content = message[place : place + size]
        place += size
        yield tag >> 3, content if kind == 2 else int.from_bytes(content, "little")


def whole(value: int | bytes) -> int:
    """`value` as the number that its field must be. Raises DamagedError."""
    if not isinstance(value, int):
        raise DamagedError("a field that is a number holds bytes")
    return value


def signed(value: int | bytes) -> int:
    """The same, as an int32 or int64."""
    number = whole(value)
    return number - (1 << 64) if number >= 1 << 63 else number


def content(value: int | bytes) -> bytes:
    """`value` as the bytes that its field must be. Raises DamagedError."""
    if not isinstance(value, bytes):
        raise DamagedError("a field that is a message holds a number")
    return value
