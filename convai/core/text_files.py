"""Text files as bounded, decoded lines: plain, gzip or xz."""

from __future__ import annotations

import codecs
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, TypeVar, cast

from convai.core.encodings import UTF8, WESTERN, encoding_of, ends_lines_with_cr, marked_utf16
from convai.core.errors import DataError

MAX_LINE_BYTES: Final = 32 * 2**20
"""Bytes in one line; far above any dialogue, far below what would fill the memory."""
MAX_WHOLE_BYTES: Final = 2**30
"""Bytes (unpacked) of a file that has to be held as a whole; the published PERSONA-CHAT has 0.2 GiB."""
COMPRESSED: Final = (".gz", ".xz")

_GZIP_MAGIC: Final = b"\x1f\x8b"
_XZ_MAGIC: Final = b"\xfd7zXZ\x00"
_DAMAGED = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile)
_START: Final = 65536
"""Bytes that line ends and UTF-16 are told from."""
_NAMED: ContextVar[str | None] = ContextVar("encoding", default=None)
"""The encoding that files are in, where somebody has said so."""
_SURROGATES = re.compile("[\udc80-\udcff]")
_KEPT: ContextVar[bool] = ContextVar("damaged_kept", default=False)
_END: Final = "\x1a"
"""What DOS, and `copy` on Windows, put behind the last line."""
_LITTLE: Final = 200
"""One byte in so many may be damaged in a file whose other lines are read."""
_T = TypeVar("_T")


@contextmanager
def encoded_in(encoding: str | None) -> Iterator[None]:
    """Within the block every file is in this encoding, and nothing is told from its bytes; None: it is.

    Raises DataError for the name of none.
    """
    if encoding is not None:
        try:
            b"some".decode(encoding, "replace")
        except (LookupError, UnicodeError):
            raise DataError(
                f"there is no encoding {encoding!r}; names are such as utf-8, windows-1251, iso-8859-2, "
                "koi8-r, shift-jis, gb18030"
            ) from None
    token = _NAMED.set(encoding)
    try:
        yield
    finally:
        _NAMED.reset(token)


@contextmanager
def damaged_kept(kept: bool = True) -> Iterator[None]:
    """Within the block a file of which little is damaged can be read: its bytes that are no UTF-8 become
    surrogates, which no text may hold (`check_text`), so that a dialogue with some is refused by itself.
    """
    token = _KEPT.set(kept)
    try:
        yield
    finally:
        _KEPT.reset(token)


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

    UTF-16, with a mark or without, becomes UTF-8, and line ends that are `\\r` alone become `\\n`. Raises
    DataError when the file is missing, or is named `.gz` or `.xz` and holds something else.
    """
    require_file(path)
    with path.open("rb") as raw:
        head = raw.read(6)
    if head.startswith(_GZIP_MAGIC):
        return _in_utf8(path, cast(BinaryIO, gzip.open(path, "rb")))
    if head.startswith(_XZ_MAGIC):
        return _in_utf8(path, cast(BinaryIO, lzma.open(path, "rb")))
    if head and path.suffix.lower() in COMPRESSED:
        raise DataError(f"{path}: named {path.suffix} but not compressed so; rename or compress it")
    return _in_utf8(path, path.open("rb"))


def _in_utf8(path: Path, stream: BinaryIO) -> BinaryIO:
    """The stream from its beginning, or what it holds with the encoding and the line ends of this project."""
    try:
        start = _guarded(path, 1, lambda: stream.read(_START))
        named = _NAMED.get()
        encoding, old_ends = named or marked_utf16(start), ends_lines_with_cr(start)
        stream.seek(0)
        if not encoding and not old_ends:
            return stream
        data = _guarded(path, 1, lambda: stream.read(MAX_WHOLE_BYTES + 1))
    except BaseException:
        stream.close()
        raise
    stream.close()
    if len(data) > MAX_WHOLE_BYTES:
        what = named or ("UTF-16" if encoding else "text without line feeds")
        raise DataError(f"{path}:1: over {MAX_WHOLE_BYTES // 2**20:,} MiB of {what}; save the file as UTF-8")
    if not encoding:
        return BytesIO(data.replace(b"\r", b"\n"))
    try:
        text = data.decode(encoding)
    except UnicodeError as error:
        if named:
            at = error.start if isinstance(error, UnicodeDecodeError) else 0
            raise DataError(
                f"{path}:{data.count(10, 0, at) + 1}: not {named} ({getattr(error, 'reason', error)}); name "
                "another encoding, or none to have it told from the file"
            ) from None
        raise DataError(f"{path}:1: damaged UTF-16 text; save the file as UTF-8") from None
    if ends_lines_with_cr(text.encode(UTF8, "replace")):
        text = text.replace("\r", "\n")
    return BytesIO(text.encode(UTF8, "replace"))


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


def decode(
    raw: bytes,
    where: Callable[[int], str],
    western: Callable[[], bool] = lambda: False,
    kept: Callable[[], bool] = lambda: False,
) -> str:
    """UTF-8 text, or Windows-1252 where it is none and `western` says so of its file.

    `where(offset)` names the place of a byte. Raises DataError for anything else, unless `kept` says that
    damaged bytes are to become surrogates.
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{where(0)}: UTF-16 text; save the file as UTF-8")
    if (nul := raw.find(b"\0")) >= 0 and not kept():
        raise DataError(f"{where(nul)}: a NUL byte, so binary data; give a text file in UTF-8")
    try:
        return raw.decode(UTF8)
    except UnicodeDecodeError as error:
        if western():
            return raw.decode(WESTERN)
        if kept():
            return raw.decode(UTF8, "surrogateescape")
        raise DataError(
            f"{where(error.start)}: not UTF-8 (byte 0x{raw[error.start]:02x}); save the file as UTF-8 "
            "(iconv -f ENCODING -t UTF-8 OLD > NEW), or name its encoding where a command has --encoding"
        ) from None


def is_western(path: Path) -> bool:
    """Whether a file is no UTF-8 and is read as Windows-1252 (see `convai.core.encodings`).

    Raises DataError as `lines` does for files that cannot be opened or unpacked.
    """
    return encoding_of(_pieces(path)) == WESTERN


def _pieces(path: Path) -> Iterator[bytes]:
    with open_binary(path) as stream:
        while raw := _guarded(path, 1, lambda: stream.readline(MAX_LINE_BYTES)):
            yield raw


def _is_kept(path: Path) -> bool:
    """Whether damaged bytes are to be kept, and there are few."""
    if not _KEPT.get():
        return False
    size = damaged = 0
    for raw in _pieces(path):
        size += len(raw)
        damaged += raw.count(b"\0")
        if not raw.isascii():
            damaged += len(_SURROGATES.findall(raw.decode(UTF8, "surrogateescape")))
    return damaged * _LITTLE <= size


def first_damage(path: Path) -> DataError | None:
    """What `lines` would raise for bytes that cannot be decoded, had they not been kept (`damaged_kept`)."""
    if not _KEPT.get() or is_western(path):
        return None
    decoder = codecs.getincrementaldecoder(UTF8)()
    for number, raw in enumerate(_pieces(path), 1):
        try:
            decoder.decode(raw)
            damaged = b"\0" in raw
        except UnicodeDecodeError:
            damaged = True
        if damaged:
            try:
                decode(raw, lambda _offset, number=number: f"{path}:{number}")  # type: ignore[misc]
            except DataError as error:
                return error
    return None


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers (from 1) and lines, without line ends and without a byte order mark.

    `\\n` and `\\r\\n` end a line, and `\\r` where nothing else does. Raises DataError on damaged compression,
    on text in an encoding that cannot be told and on a line over MAX_LINE_BYTES, which is never held.
    """
    western = lru_cache(1)(lambda: is_western(path))
    kept = lru_cache(1)(lambda: _is_kept(path))
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
            text = decode(raw, lambda _offset, where=where: where, western, kept)  # type: ignore[misc]
            if number == 1:
                text = text.removeprefix("\ufeff")
            if text.endswith(_END):
                text = text.removesuffix(_END)
                if not text:
                    return
            yield number, text.removesuffix("\n").removesuffix("\r")


def whole_text(path: Path) -> str:
    """The whole file as text. Raises DataError as `lines` does, and for over MAX_WHOLE_BYTES."""
    raw = first_bytes(path, MAX_WHOLE_BYTES + 1)
    if len(raw) > MAX_WHOLE_BYTES:
        raise DataError(f"{path}: over {MAX_WHOLE_BYTES // 2**20:,} MiB; split it, or use the jsonl format")
    return _decoded(path, raw)


def head(path: Path, size: int = 65536) -> str:
    """The first `size` bytes as text, less a character cut at the end. Raises DataError as `lines` does."""
    raw = first_bytes(path, size)
    if len(raw) == size:
        while raw and raw[-1] & 0xC0 == 0x80 and len(raw) > size - 4:
            raw = raw[:-1]
        raw = raw[:-1] if raw[-1] >= 0xC0 else raw
    return _decoded(path, raw)


def _decoded(path: Path, raw: bytes) -> str:
    def where(offset: int) -> str:
        return f"{path}:{raw.count(10, 0, offset) + 1}"

    return (
        decode(raw, where, lambda: is_western(path), lambda: _is_kept(path))
        .removeprefix("\ufeff")
        .removesuffix(_END)
    )
