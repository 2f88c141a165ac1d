"""A model folder: weights of its own, or an adapter beside the base that it was trained on.

A folder with an adapter holds what learnt (see `adapters`), the tokenizer and convai.json, whose `base` says
what it belongs to: {"name": ..., "path": ..., "fingerprint": ...}. The name is looked up among the bases on
this machine, the path is where the base stood when the adapter was trained.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from convai.core import resources
from convai.core.errors import BaseUnavailable, CheckpointError
from convai.core.files import read_json
from convai.model import adapters
from convai.model.base_download import ensure_base
from convai.model.bases import KNOWN_BASES, base_path
from convai.model.checkpoint import CONFIG, load_config, load_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Shape

_LOG: Final = logging.getLogger("convai")

SETTINGS: Final = "convai.json"
BASE: Final = "base"

_SAMPLE: Final = 256
"""Numbers of each weight that go into a fingerprint."""


@dataclass(frozen=True, slots=True)
class BaseReference:
    """The base that an adapter belongs to."""

    name: str
    path: str
    fingerprint: str

    @classmethod
    def of(cls, model: DoubleHeadsModel, folder: Path) -> BaseReference:
        """A reference to `model`, as loaded from `folder`."""
        return cls(folder.name, str(folder.resolve()), fingerprint(model))

    @classmethod
    def read(cls, folder: Path) -> BaseReference:
        """What the adapter in `folder` says of its base. Raises CheckpointError."""
        values = read_json(folder / SETTINGS).get(BASE)
        try:
            return cls(**values)  # type: ignore[arg-type]
        except TypeError:
            raise CheckpointError(
                f"{folder / SETTINGS}: an adapter without its base's name, path and fingerprint; copy the "
                "whole folder again"
            ) from None

    def to_json(self) -> dict[str, str]:
        """Its entry in convai.json."""
        return dataclasses.asdict(self)

    def folder(self) -> Path:
        """Where the base is here; a known one is fetched first, which is logged. Raises BaseUnavailable."""
        found = base_path(self.name)
        if found is None and Path(self.path).is_dir():
            found = Path(self.path)
        if found is None and self.name in KNOWN_BASES:
            found = ensure_base(self.name, report=_LOG.warning)
        if found is None:
            raise BaseUnavailable(
                f"the base {self.name} is not on this machine (it was at {self.path}); get it with "
                f"`convai models get {self.name}` or `convai models import DIR --name {self.name}`"
            )
        return found

    def check(self, model: DoubleHeadsModel, adapter: Path, base: Path) -> None:
        """Raise CheckpointError where `model`, loaded from `base`, is not what the adapter learnt on."""
        if fingerprint(model) != self.fingerprint:
            raise CheckpointError(
                f"{adapter}: its base is another {self.name} than the one in {base}; import the one that it "
                f"was trained on (`convai models import DIR --name {self.name}`)"
            )


def model_folder(model: str | Path | None) -> Path:
    """The folder of `model`: a path, the name of an embedded or base model, or None for the embedded default.

    A base that is known and not on this machine is fetched, which is logged. Raises CheckpointError for an
    unknown name, BaseUnavailable where a base cannot be had.
    """
    if model is None:
        return _default_folder()
    if (path := Path(model)).exists():
        return path
    if str(model) in resources.model_names():
        return resources.model_path(str(model))
    if str(model) in KNOWN_BASES or base_path(str(model)) is not None:
        return ensure_base(str(model), report=_LOG.warning)
    names = ", ".join([*resources.model_names(), *KNOWN_BASES])
    raise CheckpointError(f"{model}: no such model folder, and no model of that name ({names})")


def _default_folder() -> Path:
    """The embedded default, or, where its base cannot be had, the embedded model that needs none (logged)."""
    folder = resources.model_path(resources.DEFAULT_MODEL)
    if is_adapter(folder):
        try:
            BaseReference.read(folder).folder()
        except BaseUnavailable as error:
            _LOG.warning("%s. Going on with the smaller %s", error, resources.SMALL_MODEL)
            return resources.model_path(resources.SMALL_MODEL)
    return folder


def is_adapter(folder: Path) -> bool:
    """Whether `folder` holds an adapter and no weights of its own."""
    return (folder / adapters.CONFIG).is_file() and not (folder / CONFIG).is_file()


def shape_of(folder: Path) -> Shape:
    """The shape of the model in `folder`, its base's where it is an adapter."""
    if not is_adapter(folder):
        return load_config(folder)
    shape = load_config(BaseReference.read(folder).folder())
    rows = max(shape.vocab_size, 1 + max(adapters.new_rows(folder), default=-1))
    return shape.replace(vocab_size=rows, match_size=adapters.match_size(folder))


def load_base(folder: Path) -> DoubleHeadsModel:
    """The unchanged base of the adapter in `folder`, checked. Raises CheckpointError or BaseUnavailable."""
    reference = BaseReference.read(folder)
    base = reference.folder()
    model = load_model(base)
    reference.check(model, folder, base)
    return model


def load_folder(folder: Path) -> DoubleHeadsModel:
    """The model in `folder`, float32, in evaluation mode; an adapter is added to its base.

    Raises CheckpointError, or BaseUnavailable where an adapter's base is not on this machine.
    """
    if not is_adapter(folder):
        return load_model(folder)
    model = load_base(folder)
    adapters.add_to(model, folder)
    return model


def fingerprint(model: DoubleHeadsModel | Mapping[str, torch.Tensor]) -> str:
    """SHA-256, in hex, of evenly spaced numbers of every weight but the heads': what tells bases apart.

    It does not depend on the file's format, and takes milliseconds where a digest of all would take seconds.
    """
    state: Mapping[str, Any] = model if isinstance(model, Mapping) else model.state_dict()
    digest = hashlib.sha256()
    for name in sorted(state):
        if name.startswith("transformer.") and name != "transformer.segment_gate":
            values = state[name].detach().cpu().float().flatten()
            step = max(1, values.numel() // _SAMPLE)
            digest.update(f"{name} {tuple(state[name].shape)}".encode())
            digest.update(values[::step].contiguous().numpy().tobytes())
    return digest.hexdigest()
