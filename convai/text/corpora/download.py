"""Downloading a corpus: resumed after an interruption, checked by SHA-256, in place only when whole.

Source: RFC 9110, sections 13.1.5 (If-Range) and 14 (range requests).
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import string
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import SplitResult, unquote, urlsplit

from convai.core.errors import DataError

PERSONACHAT_URL: Final = (
    "https://s3.amazonaws.com/datasets.huggingface.co/personachat/personachat_self_original.json"
)
"""PERSONA-CHAT in the form and at the address of the blog post (about 200 MB)."""
MAX_BYTES: Final = 4 * 2**30
TIMEOUT_S: Final = 30.0
"""Seconds without a byte before a server counts as gone."""

_CHUNK: Final = 2**16
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
Progress = Callable[[int, "int | None"], None]
"""Called with the bytes there are and, when the server tells, the bytes there will be."""


def file_name(url: str) -> str:
    """The name to save under: the last part of the address. Raises DataError when there is none."""
    name = unquote(_split(url).path).rpartition("/")[2]
    if not name or name in (".", "..") or "\0" in name:
        raise DataError(f"{url}: the address names no file; say where to save it with --out")
    return name


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if parts.scheme not in ("http", "https"):
        raise DataError(f"{url}: not a web address; use one that begins with https:// or http://")
    return parts


def download(
    url: str,
    target: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    max_bytes: int = MAX_BYTES,
    timeout_s: float = TIMEOUT_S,
    progress: Progress | None = None,
) -> Path:
    """Fetch `url` into `target` and return its path; a file that is there already is only checked.

    What an interrupted call got stays in `target.part` and the next call goes on from there, if the
    server still has the same file. Raises DataError, with the target untouched, for an unreachable
    server, a refusal, a body cut short, over `max_bytes` bytes, or another SHA-256 than the given one.
    """
    path = Path(target)
    _split(url)
    if sha256 is not None and (len(sha256) != 64 or not set(sha256) <= set(string.hexdigits)):
        raise DataError("sha256: not a SHA-256 digest; give its 64 hexadecimal digits")
    if path.exists():
        _check_sha256(path, path, sha256, "remove the file to download it again")
        return path
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}; create it first")
    part = _Part(path, url)
    try:
        _fetch(url, part, max_bytes, timeout_s, progress)
        try:
            _check_sha256(part.path, path, sha256, "check the digest and the address; nothing was kept")
        except DataError:
            part.discard()
            raise
        os.replace(part.path, path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
    part.discard()
    return path


def _check_sha256(file: Path, name: Path, expected: str | None, mend: str) -> None:
    if expected is None:
        return
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected.lower():
        raise DataError(f"{name}: SHA-256 is {found}, expected {expected.lower()}; {mend}")


class _Part:
    """The unfinished file, and a note beside it of which version of which address it is a part of."""

    def __init__(self, target: Path, url: str) -> None:
        self.path = target.with_name(target.name + ".part")
        self.note = target.with_name(target.name + ".part.from")
        self.url = url

    def resumable(self) -> tuple[int, str]:
        """(bytes there are, the server's validator or ''); 0 bytes when they are of something else."""
        if not self.path.exists() or not self.note.exists():
            return 0, ""
        url, _, validator = self.note.read_text("utf-8").partition("\n")
        return (self.path.stat().st_size, validator) if url == self.url else (0, "")

    def begin(self, response: Any) -> None:
        """Note what is being downloaded; a weak ETag promises too little to resume by (RFC 9110, 13.1.5)."""
        etag = response.headers.get("ETag") or ""
        validator = etag if etag.startswith('"') else response.headers.get("Last-Modified") or ""
        self.note.write_text(f"{self.url}\n{validator}", "utf-8")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _fetch(url: str, part: _Part, max_bytes: int, timeout_s: float, progress: Progress | None) -> None:
    have, validator = part.resumable()
    headers = {"User-Agent": "convai", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout_s)
    except urllib.error.HTTPError as error:
        with error:
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
                raise DataError(
                    f"{url}: the server answered {error.code} {error.reason}; check the address"
                ) from None
            if _range(error)[1] == have:
                return  # the part was whole already
        part.discard()
        _fetch(url, part, max_bytes, timeout_s, progress)
        return
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(f"{url}: cannot be reached ({reason}); check the address and the network") from None
    with response:
        start, total = _range(response)
        if response.status != http.HTTPStatus.PARTIAL_CONTENT or start != have:
            if response.status == http.HTTPStatus.PARTIAL_CONTENT:
                part.discard()
                raise DataError(f"{url}: the server sent another part than asked for; run it again")
            have = 0
            part.begin(response)
            length = response.headers.get("Content-Length") or ""
            total = int(length) if length.isdigit() else None
        with part.path.open("ab" if have else "wb") as out:
            size = _copy(url, response, out, have, total, max_bytes, progress)
    if size > max_bytes:
        part.discard()
        raise DataError(f"{url}: over {max_bytes:,} bytes; check the address, or raise the limit")
    if total is not None and size != total:
        raise DataError(
            f"{url}: the connection ended after {size:,} of {total:,} bytes; run it again to go on from there"
        )


def _range(response: Any) -> tuple[int | None, int | None]:
    """(first byte, size of the whole file) from Content-Range, None where it does not say."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range") or "")
    if not match:
        return None, None
    return (int(match[1]) if match[1] else None), (int(match[2]) if match[2] != "*" else None)


def _copy(
    url: str,
    response: Any,
    out: BinaryIO,
    size: int,
    total: int | None,
    max_bytes: int,
    progress: Progress | None,
) -> int:
    """Append the body to `out` and return the size; stops early once that, or `total`, is over max_bytes."""
    if total is not None and total > max_bytes:
        return total
    while size <= max_bytes:
        try:
            chunk = response.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise DataError(
                f"{url}: the connection broke at {size:,} bytes ({error}); run it again to go on from there"
            ) from None
        if not chunk:
            break
        out.write(chunk)
        size += len(chunk)
        if progress:
            progress(size, total)
    return size
