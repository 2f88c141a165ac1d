"""Text files as bounded, decoded lines: plain, gzip or xz."""

from __future__ import annotations

import codecs
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, TypeVar, cast

from convai.core.errors import DataError

MAX_LINE_BYTES: Final = 32 * 2**20
"""Bytes in one line; far above any dialogue, far below what would fill the memory."""
MAX_WHOLE_BYTES: Final = 2**30
"""Bytes (unpacked) of a file that has to be held as a whole; the published PERSONA-CHAT has 0.2 GiB."""
COMPRESSED: Final = (".gz", ".xz")

_GZIP_MAGIC: Final = b"\x1f\x8b"
_XZ_MAGIC: Final = b"\xfd7zXZ\x00"
_DAMAGED = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile)
_T = TypeVar("_T")


def bare_name(path: Path) -> str:
    """The file name without `.gz` or `.xz`: `a.jsonl` for `dir/a.jsonl.xz`."""
    return path.name[: -len(path.suffix)] if path.suffix.lower() in COMPRESSED else path.name


def require_file(path: Path) -> None:
    """Raise DataError unless `path` is a regular file that can be opened."""
    if path.is_dir():
        raise DataError(f"{path}: a folder, not a file; name a file in it")
    if not path.exists():
        raise DataError(f"{path}: no such file; check the name")
    if not path.is_file():
        raise DataError(f"{path}: not a regular file (a pipe or device); save it to a file first")
    try:
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); check its permissions") from None


def open_binary(path: Path) -> BinaryIO:
    """The unpacked bytes of a file; gzip and xz are known by their first bytes, not by their name.

    Raises DataError when the file is missing, or is named `.gz` or `.xz` and holds something else.
    """
    require_file(path)
    with path.open("rb") as raw:
        head = raw.read(6)
    if head.startswith(_GZIP_MAGIC):
        return cast(BinaryIO, gzip.open(path, "rb"))
    if head.startswith(_XZ_MAGIC):
        return cast(BinaryIO, lzma.open(path, "rb"))
    if head and path.suffix.lower() in COMPRESSED:
        raise DataError(f"{path}: named {path.suffix} but not compressed so; rename or compress it")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _from_utf16(path)
    return path.open("rb")


def _from_utf16(path: Path) -> BinaryIO:
    """A file as spreadsheets save "Unicode text", in UTF-8. Raises DataError for one that is no UTF-16."""
    with path.open("rb") as raw:
        data = raw.read(MAX_WHOLE_BYTES + 1)
    if len(data) > MAX_WHOLE_BYTES:
        raise DataError(f"{path}:1: over {MAX_WHOLE_BYTES // 2**20:,} MiB of UTF-16; save the file as UTF-8")
    try:
        return BytesIO(data.decode("utf-16").encode("utf-8"))
    except UnicodeError:
        raise DataError(f"{path}:1: damaged UTF-16 text; save the file as UTF-8") from None


def first_bytes(path: Path, count: int) -> bytes:
    """The first `count` unpacked bytes of a file. Raises DataError as `open_binary` does, or for damage."""
    with open_binary(path) as stream:
        return _guarded(path, 1, lambda: stream.read(count))


def _guarded(path: Path, line: int, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except _DAMAGED:
        raise DataError(
            f"{path}:{line}: the compressed data are damaged or cut short; download or compress it again"
        ) from None
    except OSError as error:
        raise DataError(f"{path}:{line}: cannot be read ({error.strerror or error})") from None


def decode(raw: bytes, where: Callable[[int], str]) -> str:
    """UTF-8 text; `where(offset)` names the place of a byte. Raises DataError for anything else."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{where(0)}: UTF-16 text; save the file as UTF-8")
    if (nul := raw.find(b"\0")) >= 0:
        raise DataError(f"{where(nul)}: a NUL byte, so binary data; give a text file in UTF-8")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where(error.start)}: not UTF-8 (byte 0x{raw[error.start]:02x}); save the file as UTF-8"
        ) from None


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers (from 1) and lines, without line ends and without a byte order mark.

    Only `\\n` and `\\r\\n` end a line. Raises DataError on damaged compression, on anything that is not
    UTF-8 and on a line over MAX_LINE_BYTES, which is never held in memory.
    """
    with open_binary(path) as stream:
        number = 0
        while raw := _guarded(path, number + 1, lambda: stream.readline(MAX_LINE_BYTES + 1)):
            number += 1
            if len(raw) > MAX_LINE_BYTES:
                raise DataError(
                    f"{path}:{number}: a line of over {MAX_LINE_BYTES // 2**20} MiB; "
                    "is this a text file with a turn or a dialogue a line?"
                )
            where = f"{path}:{number}"
            text = decode(raw, lambda _offset, where=where: where)  # type: ignore[misc]
            if number == 1:
                text = text.removeprefix("\ufeff")
            yield number, text.removesuffix("\n").removesuffix("\r")


def whole_text(path: Path) -> str:
    """The whole file as text. Raises DataError as `lines` does, and for over MAX_WHOLE_BYTES."""
    raw = first_bytes(path, MAX_WHOLE_BYTES + 1)
    if len(raw) > MAX_WHOLE_BYTES:
        raise DataError(f"{path}: over {MAX_WHOLE_BYTES // 2**20:,} MiB; split it, or use the jsonl format")
    text = decode(raw, lambda offset: f"{path}:{raw.count(10, 0, offset) + 1}")
    return text.removeprefix("\ufeff")


def head(path: Path, size: int = 65536) -> str:
    """The first `size` bytes as text, less a character cut at the end. Raises DataError as `lines` does."""
    raw = first_bytes(path, size)
    if len(raw) == size:
        while raw and raw[-1] & 0xC0 == 0x80 and len(raw) > size - 4:
            raw = raw[:-1]
        raw = raw[:-1] if raw[-1] >= 0xC0 else raw
    return decode(raw, lambda offset: f"{path}:{raw.count(10, 0, offset) + 1}").removeprefix("\ufeff")
