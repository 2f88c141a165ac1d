"""A model folder, loaded and ready to talk: model, tokenizer, and the settings it was shipped with."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from convai.core import resources
from convai.core.errors import BaseUnavailable, CheckpointError, SettingsError
from convai.core.settings import DecodingConfig, EngineConfig, TrainConfig
from convai.core.settings_values import laid_over
from convai.engine import Engine
from convai.model.base_download import ensure_base
from convai.model.bases import KNOWN_BASES, base_path
from convai.model.checkpoint import read_json, save_model, write_json
from convai.model.double_heads import DoubleHeadsModel
from convai.model.folder import BASE, SETTINGS, BaseReference, is_adapter, load_folder, shape_of
from convai.text.history import LONG, default_context
from convai.text.prompt import KnownTexts
from convai.text.tokenizer import Tokenizer

_LOG: Final = logging.getLogger("convai")

CONTEXT: Final = "context"
"""The setting's name in a model's folder."""
DEFAULT_HISTORY: Final = 8
"""Exchanges of history in a chat, for a model that does not say and has no long context."""
LEAST_CONTEXT: Final = 64
"""Positions that a prompt and its reply take at least."""


@dataclass(slots=True)
class Agent:
    """What a chat needs of a model: `engine` to draw replies, `decoding` and `max_history` as shipped."""

    model: DoubleHeadsModel
    tokenizer: Tokenizer
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    max_history: int | None = DEFAULT_HISTORY
    name: str = ""
    context: int | None = None
    """Positions that a prompt and its reply take; None: the default for a model of this size."""
    training: dict[str, Any] = field(default_factory=dict)
    """TrainConfig fields that suit tuning this model: `convai train --model` begins with them."""
    texts: KnownTexts = field(init=False, repr=False, compare=False)
    """The tokenizer for what is said in chats."""

    def __post_init__(self) -> None:
        self.texts = KnownTexts(self.tokenizer)

    @property
    def has_long_context(self) -> bool:
        """Whether history is what fits, and not a number of exchanges."""
        return self.model.config.n_positions >= LONG

    @property
    def positions(self) -> int:
        """Positions that a prompt and its reply take."""
        return self.context or default_context(self.model.config.n_positions)

    def engine(self, config: EngineConfig | None = None) -> Engine:
        """An engine of this model."""
        return Engine(self.model, self.tokenizer, config, name=self.name, positions=self.positions)

    def exact_engine(self, autocast: torch.dtype | None) -> Engine:
        """One for scores that others are to find again: float32, or bfloat16 where `autocast` says so."""
        return self.engine(EngineConfig(precision="float32" if autocast is None else "bf16"))

    def save(self, folder: Path, dtype: torch.dtype | None = None) -> None:
        """Write model, tokenizer and settings; `dtype` converts the weights. Raises OSError."""
        control_ids = {
            f"{name}_token_id": getattr(self.tokenizer, f"{name}_id") for name in ("bos", "eos", "pad")
        }
        save_model(self.model, folder, dtype, control_ids=control_ids)
        self.save_beside(folder)

    def save_beside(self, folder: Path, base: BaseReference | None = None) -> None:
        """Write what stands beside the weights, or beside an adapter of `base`: tokenizer and settings."""
        self.tokenizer.save(folder)
        settings: dict[str, Any] = {
            "decoding": dataclasses.asdict(self.decoding),
            "max_history": self.max_history,
        }
        if self.context is not None:
            settings[CONTEXT] = self.context
        if base is not None:
            settings[BASE] = base.to_json()
        write_json(folder / SETTINGS, settings | ({"training": self.training} if self.training else {}))


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


def load_agent(model: str | Path | None = None, *, context: int | None = None) -> Agent:
    """Load a model folder (see `model_folder`), weights as float32, ready to talk.

    `context`: positions that a prompt and its reply take, in the place of what the model ships with.

    Raises CheckpointError when a file is missing, damaged or of another kind of model, or when the model
    was never tuned for dialogue (its vocabulary lacks the five special tokens).
    """
    folder = model_folder(model)
    config = shape_of(folder)
    tokenizer = Tokenizer.load(folder)
    if config.vocab_size < tokenizer.vocab_size:
        raise CheckpointError(
            f"{folder}: the model knows {config.vocab_size} tokens, its tokenizer gives "
            f"{tokenizer.vocab_size}, so it was not tuned for dialogue; tune it first: "
            f"convai train DATA --model {folder} --out DIR"
        )
    decoding, history = read_settings(folder, default_history(config.n_positions))
    if context is None:
        context = _settings(folder).get(CONTEXT)
        where = f"{folder / SETTINGS}: context="
    else:
        where = "--context="
    if context is not None and not (type(context) is int and LEAST_CONTEXT <= context <= config.n_positions):
        raise SettingsError(
            f"{where}{context}: use {LEAST_CONTEXT} to the model's {config.n_positions} positions"
        )
    training = dict(_settings(folder).get("training", {}))
    return Agent(load_folder(folder), tokenizer, decoding, history, folder.name, context, training)


def default_history(n_positions: int) -> int | None:
    """Exchanges of history for a model that does not say: in a long context, as many as fit."""
    return None if n_positions >= LONG else DEFAULT_HISTORY


def read_settings(folder: Path, default: int | None = DEFAULT_HISTORY) -> tuple[DecodingConfig, int | None]:
    """The decoding settings and the history that `folder` ships with, or the defaults."""
    path = folder / SETTINGS
    values = _settings(folder)
    history = values.get("max_history", default)
    if history is not None and (type(history) is not int or history < 0):
        raise CheckpointError(f"{path}: max_history={history!r}; use a number of exchanges, or null for all")
    decoding = values.get("decoding", {})
    if not isinstance(decoding, dict):
        raise CheckpointError(f"{path}: decoding={decoding!r}; use an object of settings")
    try:
        return laid_over(DecodingConfig(), decoding), history
    except SettingsError as error:
        raise CheckpointError(f"{path}: decoding: {error}") from None


def training_config(folder: Path) -> TrainConfig:
    """The training settings that suit the model in `folder`, over the defaults."""
    values = _settings(folder).get("training", {})
    if not isinstance(values, dict):
        raise CheckpointError(f"{folder / SETTINGS}: training={values!r}; use an object of settings")
    try:
        return laid_over(TrainConfig(), values)
    except SettingsError as error:
        raise CheckpointError(f"{folder / SETTINGS}: training: {error}") from None


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    return read_json(path) if path.exists() else {}
