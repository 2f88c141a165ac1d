"""Putting a base model into the user's cache: whole or not at all, one process at a time."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

from convai.core.errors import BaseUnavailable, CheckpointError, SettingsError
from convai.core.files import read_json
from convai.model.bases import (
    ABOUT,
    BASE_NAME,
    GGUF_WEIGHTS,
    KNOWN_BASES,
    SAFETENSORS,
    base_path,
    bases_dir,
    file_sha256,
    weights_sha256,
)
from convai.model.gguf.architectures import read_config, tensor_names
from convai.model.gguf.container import open_gguf
from convai.model.gguf.tokenizer import tokenizer_files
from convai.model.shape import Shape
from convai.text.tokenizer_files import read_backend

# What of a Hugging Face folder is taken over beside the weights.
_SMALL_FILES: Final = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
)


_KEPT: Final = {"wheel": 1, "hub": 1 << 20}
"""Folders of the scratch folder with what was fetched, kept where the rest is interrupted, if one of their
files has so many bytes."""


@contextmanager
def placed(name: str, report: Callable[[str], None]) -> Iterator[Path]:
    """A scratch folder for the base `name`; what lies in its `base/` at the end becomes the base's folder.

    One process at a time has it; others wait. What an interrupted run had fetched (`wheel/`, `hub/`) is still
    there. Raises BaseUnavailable where the cache cannot be written.
    """
    place = bases_dir()
    scratch = place / f".{name}.part"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _alone(place / f".{name}.lock", name, report):
            _tidy(scratch)
            (scratch / "base").mkdir(parents=True)
            try:
                yield scratch
                if any((scratch / "base").iterdir()):
                    _settle(scratch / "base", place / name)
                shutil.rmtree(scratch)
            finally:
                _tidy(scratch)
    except OSError as error:
        where = os.fsdecode(error.filename or place)
        raise BaseUnavailable(
            f"{where}: {error.strerror or error}; make room there and make it writable, or set "
            "XDG_CACHE_HOME to another folder"
        ) from None


@contextmanager
def _alone(path: Path, name: str, report: Callable[[str], None]) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        report(f"{name}: another process is fetching it; waiting")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _tidy(scratch: Path) -> None:
    """Remove what is not worth keeping, and the folder if nothing is."""
    if not scratch.is_dir():
        return
    for path in scratch.iterdir():
        least = _KEPT.get(path.name)
        if least is None or not any(p.is_file() and p.stat().st_size >= least for p in path.rglob("*")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not any(scratch.iterdir()):
        scratch.rmdir()


def _settle(folder: Path, place: Path) -> None:
    """Move a finished folder to its place, its files on the disk before its name is."""
    for path in folder.iterdir():
        with open(path, "rb") as written:
            os.fsync(written.fileno())
    os.replace(folder, place)


def fill_from_gguf(path: Path, folder: Path, *, source: str, licence: str, move: bool) -> None:
    """Make `folder` a base from the GGUF file at `path`, which is copied there, or moved.

    Raises CheckpointError for a file that is damaged, or of an unsupported architecture or tokenizer.
    """
    file = open_gguf(path)
    tensor_names(file)
    config = read_config(file)
    Shape.from_hf(config, str(path))
    for name, text in (tokenizer_files(file) | {"config.json": _json(config)}).items():
        (folder / name).write_text(text, encoding="utf-8")
    (os.replace if move else shutil.copyfile)(path, folder / GGUF_WEIGHTS)
    _describe(folder, source, licence)


def fill_from_folder(path: Path, folder: Path, *, source: str) -> None:
    """Make `folder` a base from a copy of the model folder at `path` (Hugging Face's layout).

    Raises CheckpointError for a folder that lacks a file, and for an unsupported kind of model.
    """
    config = read_json(path / "config.json")
    Shape.from_hf(config, str(path / "config.json"))
    read_backend(path)
    if (path / SAFETENSORS).is_file():
        weights = SAFETENSORS
        try:
            with safe_open(path / weights, "numpy"):
                pass
        except SafetensorError as error:
            raise CheckpointError(
                f"{path / weights}: damaged or cut short ({error}); copy it again"
            ) from None
    elif (path / GGUF_WEIGHTS).is_file():
        weights = GGUF_WEIGHTS
        tensor_names(open_gguf(path / weights))
    else:
        shards = (path / f"{SAFETENSORS}.index.json").is_file()
        problem = "its weights are in several files" if shards else f"{SAFETENSORS} is missing"
        raise CheckpointError(f"{path}: {problem}; save the model with its weights in one {SAFETENSORS}")
    for name in (*_SMALL_FILES, weights):
        if (path / name).is_file():
            shutil.copyfile(path / name, folder / name)
    _describe(folder, source, "unknown")


def import_base(source: Path, name: str | None, report: Callable[[str], None]) -> Path:
    """Copy a GGUF file, or a model folder in Hugging Face's layout, to the bases. Returns its folder there.

    `name` defaults to that of the file or folder (for a file that is a known base: to that base's). Raises
    CheckpointError for what cannot be read and SettingsError for a name that cannot be or is taken.
    """
    if not source.exists():
        raise CheckpointError(f"{source}: no such file or folder; give a .gguf file or a model folder")
    digest = "" if source.is_dir() else file_sha256(source)
    known = next((base for base in KNOWN_BASES.values() if base.gguf_sha256 == digest), None)
    if name is None:
        name = known.name if known else _name_of(source)
    elif not BASE_NAME.fullmatch(name):
        raise SettingsError(f"--name={name}: use small letters, digits, '-', '_' and '.', at most 64")
    if name in KNOWN_BASES and (known is None or known.name != name):
        raise SettingsError(f"--name={name}: is another model's name; use another one")
    if base_path(name) is not None:
        raise SettingsError(
            f"{bases_dir() / name}: there is a base of that name; use another --name, or remove that folder"
        )
    where = str(source.resolve())
    with placed(name, report) as scratch:
        if source.is_dir():
            fill_from_folder(source, scratch / "base", source=where)
        else:
            licence = known.licence if known else "unknown"
            fill_from_gguf(source, scratch / "base", source=where, licence=licence, move=False)
    return bases_dir() / name


def _name_of(source: Path) -> str:
    stem = source.resolve().name.removesuffix(".gguf").lower()
    name = re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-._")[:64]
    if not BASE_NAME.fullmatch(name):
        raise SettingsError(f"{source}: gives no name for the base; add --name NAME")
    return name


def _describe(folder: Path, source: str, licence: str) -> None:
    about = {"source": source, "licence": licence, "sha256": weights_sha256(folder)}
    (folder / ABOUT).write_text(_json(about), encoding="utf-8")


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
