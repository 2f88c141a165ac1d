"""The card in a picture that is no PNG: in the EXIF comment of a JPEG or WebP, or a ZIP behind a JPEG.

Sources: EXIF 2.32 (`UserComment`: a code of 8 bytes, then the text), TIFF 6.0 (directories), the WebP
container (RIFF chunks). TavernAI wrote the JSON of a card there, or its bytes as numbers between commas;
RisuAI puts a .charx behind a JPEG. Pixels are never decoded.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

_EXIF: Final = 0x8769
"""The tag of the directory with the comment, and the comment's own."""
_COMMENT: Final = 0x9286
_SHORTS: Final = {b"II": "<", b"MM": ">"}
_MOST: Final = 1_000
"""Chunks of a picture, or entries of a directory, that are looked at."""
_NUMBERS: Final = re.compile(rb"\s*\[?\s*\d{1,3}(?:\s*,\s*\d{1,3}){20,}\s*\]?\s*")


def picture_of(data: bytes) -> str:
    """What kind of picture begins so, other than PNG: JPEG, WebP, GIF; or an empty text."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    return "GIF" if data.startswith((b"GIF87a", b"GIF89a")) else ""


def comment_in(data: bytes) -> bytes:
    """The text in the EXIF comment of a JPEG or WebP, or nothing; numbers between commas as their bytes."""
    blocks = _of_jpeg(data) if picture_of(data) == "JPEG" else _of_webp(data)
    for block in blocks:
        text = _comment(block.removeprefix(b"Exif\0\0"))
        if _NUMBERS.fullmatch(text):
            values = [int(number) for number in re.findall(rb"\d+", text)]
            text = bytes(values) if max(values) < 256 else b""
        if text.strip():
            return text
    return b""


def zip_behind(data: bytes) -> bool:
    """Whether a ZIP stands behind a JPEG."""
    return picture_of(data) == "JPEG" and b"PK\x03\x04" in data and b"PK\x05\x06" in data[-70_000:]


def _of_jpeg(data: bytes) -> Iterator[bytes]:
    """The EXIF blocks of a JPEG, which stand before its pixels."""
    at = 2
    for _ in range(_MOST):
        if data[at : at + 1] != b"\xff" or len(data) < at + 4:
            return
        kind, (length,) = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])
        if kind in (0xD9, 0xDA):
            return
        if kind == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            yield data[at + 4 : at + 2 + length]
        at += 2 + length


def _of_webp(data: bytes) -> Iterator[bytes]:
    at = 12
    for _ in range(_MOST):
        if len(data) < at + 8:
            return
        kind, length = struct.unpack("<4sI", data[at : at + 8])
        if kind == b"EXIF":
            yield data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _comment(tiff: bytes) -> bytes:
    """The comment of an EXIF block without its code, UTF-16 as UTF-8; nothing where there is none."""
    order = _SHORTS.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return b""
    (first,) = struct.unpack(order + "I", tiff[4:8])
    for directory in (first, _entry(tiff, order, first, _EXIF)[1]):
        count, offset = _entry(tiff, order, directory, _COMMENT)
        if count:
            held = tiff[offset : offset + count]
            code, text = held[:8], held[8:]
            if code == b"UNICODE\0":
                wide = "utf-16-le" if text[1:2] == b"\0" else "utf-16-be"
                return text.decode(wide, "replace").encode()
            return text.strip(b"\0") if code in (b"ASCII\0\0\0", bytes(8)) else held.strip(b"\0")
    return b""


def _entry(tiff: bytes, order: str, directory: int, tag: int) -> tuple[int, int]:
    """Count and value (or offset) of an entry of a directory; zeros where there is none."""
    if not 0 < directory <= len(tiff) - 2:
        return 0, 0
    (entries,) = struct.unpack(order + "H", tiff[directory : directory + 2])
    for at in range(directory + 2, min(directory + 2 + 12 * min(entries, _MOST), len(tiff) - 11), 12):
        found, _, count, value = struct.unpack(order + "HHII", tiff[at : at + 12])
        if found == tag:
            return count, value
    return 0, 0
