"""Files that are whole or not there: written aside, then renamed; and JSON objects in them."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from convai.core.errors import CheckpointError, DataError


def atomic_write(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it: all of it or nothing.

    Whatever stops `write`, an earlier file at `path` stays as it was and nothing half-written is left.
    Raises what `write` raises, and OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(Path(name))
        # on the disk before the name is: a power cut must not leave it empty
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write indented JSON atomically."""
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    atomic_write(path, lambda p: p.write_text(text, encoding="utf-8"))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises CheckpointError naming the file, and the line when it is malformed."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing; is {path.parent} a model folder?") from None
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}; make it a readable file") from None
    except UnicodeDecodeError:
        raise CheckpointError(f"{path}: not a text file; copy it again") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, a thousand brackets
        line, reason = getattr(error, "lineno", 1), getattr(error, "msg", str(error).partition(":")[0])
        raise CheckpointError(f"{path}:{line}: not JSON ({reason}); copy the file again") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object; copy the file again")
    return values


@contextmanager
def atomic_text(path: Path) -> Iterator[TextIO]:
    """Write text to a temporary file beside `path` and move it there at the end, or leave nothing.

    A name that ends in `.gz` or `.xz` is compressed; equal text gives equal bytes. Raises DataError when
    the folder is missing or the disk is full.
    """
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}; create it first")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as raw, _compressor(path, raw) as packed:
            with io.TextIOWrapper(packed, "utf-8", newline="\n") as text:
                yield text
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        temporary.unlink(missing_ok=True)


def _compressor(path: Path, raw: BinaryIO) -> BinaryIO:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast(BinaryIO, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0))
    if suffix == ".xz":
        return cast(BinaryIO, lzma.open(raw, "wb"))
    return raw
