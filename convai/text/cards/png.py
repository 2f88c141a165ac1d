"""PNG as a row of chunks: reading text chunks within bounds, and putting text chunks into an image.

Source: PNG specification (third edition), sections 5 (datastream) and 11.3.3 (textual information). Pixels
are never decoded.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from convai.core.errors import DataError

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
MAX_TEXT: Final = 16 * 2**20
"""Bytes of one text chunk, unpacked."""
MAX_CHUNKS: Final = 100_000
_TEXT_KINDS: Final = (b"tEXt", b"zTXt", b"iTXt")


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk: `kind` is its four letters, `sound` whether its check sum is right."""

    kind: bytes
    data: bytes
    sound: bool = True

    def encoded(self) -> bytes:
        """The chunk as it stands in a file."""
        check = zlib.crc32(self.data, zlib.crc32(self.kind))
        return struct.pack(">I", len(self.data)) + self.kind + self.data + struct.pack(">I", check)


@dataclass(frozen=True, slots=True)
class Text:
    """A text chunk: its keyword in lower case, and its bytes, unpacked."""

    keyword: str
    data: bytes
    sound: bool


def is_png(data: bytes) -> bool:
    """Whether these bytes begin as a PNG does."""
    return data.startswith(SIGNATURE)


def chunks(data: bytes, where: str) -> Iterator[Chunk]:
    """The chunks of an image, up to IEND; what follows that is ignored.

    Raises DataError, beginning with `where`, where the data are no PNG or end too early, after the chunks
    before that.
    """
    if not is_png(data):
        raise DataError(f"{where}: no PNG image")
    position = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        head = data[position : position + 8]
        if len(head) < 8:
            raise DataError(f"{where}: the image is cut short at byte {position:,}; download it again")
        length, kind = struct.unpack(">I4s", head)
        end = position + 8 + length
        if not kind.isalpha() or not kind.isascii():
            raise DataError(f"{where}: the image is damaged at byte {position:,}; download it again")
        if end + 4 > len(data):
            raise DataError(f"{where}: the image is cut short at byte {len(data):,}; download it again")
        body = data[position + 8 : end]
        (check,) = struct.unpack(">I", data[end : end + 4])
        yield Chunk(kind, body, check == zlib.crc32(body, zlib.crc32(kind)))
        if kind == b"IEND":
            return
        position = end + 4
    raise DataError(f"{where}: over {MAX_CHUNKS:,} chunks in the image; it is damaged")


def text_of(chunk: Chunk, where: str) -> Text | None:
    """The keyword and text of a tEXt, zTXt or iTXt chunk; None for another, or one that makes no sense.

    Raises DataError for a text of over MAX_TEXT bytes; packed ones are never unpacked any further.
    """
    if chunk.kind not in _TEXT_KINDS:
        return None
    keyword, separator, rest = chunk.data.partition(b"\0")
    if not separator or len(keyword) > 79:
        return None
    packed = chunk.kind == b"zTXt"
    if packed:
        rest = rest[1:]  # the method, of which there is one
    if chunk.kind == b"iTXt":
        packed, parts = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
        if len(parts) < 3:
            return None
        rest = parts[2]
    if packed:
        unpacked = _unpacked(rest, where)
        if unpacked is None:
            return None
        rest = unpacked
    if len(rest) > MAX_TEXT:
        raise DataError(f"{where}: a text of over {MAX_TEXT // 2**20} MiB in the image; is this a card?")
    return Text(keyword.decode("latin-1").lower(), rest, chunk.sound)


def _unpacked(data: bytes, where: str) -> bytes | None:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, MAX_TEXT + 1)
    except zlib.error:
        return None
    if len(text) > MAX_TEXT:
        raise DataError(f"{where}: a text of over {MAX_TEXT // 2**20} MiB in the image; is this a card?")
    return text if unpacker.eof else None


def with_texts(data: bytes, texts: Mapping[str, bytes], without: tuple[str, ...], where: str) -> bytes:
    """The image with tEXt chunks of these keywords and Latin-1 texts, before its end.

    Text chunks whose keyword (in lower case) is in `texts` or `without` are left out. Raises DataError for
    an image that is not whole.
    """
    leave = {*texts, *without}
    out = [SIGNATURE]
    for chunk in chunks(data, where):
        if not chunk.sound:
            raise DataError(f"{where}: the image is damaged (a check sum is wrong); choose another")
        if chunk.kind == b"IEND":
            out += [
                Chunk(b"tEXt", key.encode("latin-1") + b"\0" + text).encoded() for key, text in texts.items()
            ]
        elif chunk.kind in _TEXT_KINDS:
            if chunk.data.partition(b"\0")[0].decode("latin-1").lower() in leave:
                continue
        out.append(chunk.encoded())
    return b"".join(out)


def plain_image(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """An image of one colour (red, green, blue: 0 to 255), for a card that brings none."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    row = b"\0" + bytes(colour) * width
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(row * height, 9)), (b"IEND", b"")]
    return SIGNATURE + b"".join(Chunk(kind, body).encoded() for kind, body in parts)
