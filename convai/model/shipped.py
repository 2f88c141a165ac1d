"""A model as it is shipped: weights, tokenizer, and convai.json, the settings that suit it. No engine."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import torch

from convai.core.errors import CheckpointError, SettingsError
from convai.core.files import read_json, write_json
from convai.core.settings import DecodingConfig, TrainConfig
from convai.core.settings_values import laid_over
from convai.model.checkpoint import save_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.folder import BASE, SETTINGS, BaseReference, load_folder, model_folder, shape_of
from convai.model.shape import Shape
from convai.text.history import LONG, default_context
from convai.text.tokenizer import Tokenizer

CONTEXT: Final = "context"
"""The setting's name in a model's folder."""
DEFAULT_HISTORY: Final = 8
"""Exchanges of history in a chat, for a model that does not say and has no long context."""
LEAST_CONTEXT: Final = 64
"""Positions that a prompt and its reply take at least."""


@dataclass(slots=True)
class ShippedModel:
    """A model, loaded: `decoding`, `max_history` and `context` as shipped."""

    model: DoubleHeadsModel
    tokenizer: Tokenizer
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    max_history: int | None = DEFAULT_HISTORY
    name: str = ""
    context: int | None = None
    """Positions that a prompt and its reply take; None: the default for a model of this size."""
    training: dict[str, Any] = field(default_factory=dict)
    """TrainConfig fields that suit tuning this model: `convai train --model` begins with them."""

    @classmethod
    def load(cls, model: str | Path | None = None, *, context: int | None = None) -> Self:
        """Load a model folder (see `model_folder`), weights as float32.

        `context`: positions that a prompt and its reply take, in the place of what the model ships with.

        Raises CheckpointError when a file is missing, damaged or of another kind of model, or when the model
        was never tuned for dialogue (its vocabulary lacks the five special tokens).
        """
        found = read_shipped(model, context=context)
        return cls(
            load_folder(found.folder),
            found.tokenizer,
            found.decoding,
            found.max_history,
            found.folder.name,
            found.context,
            found.training,
        )

    @property
    def has_long_context(self) -> bool:
        """Whether history is what fits, and not a number of exchanges."""
        return self.model.config.n_positions >= LONG

    @property
    def positions(self) -> int:
        """Positions that a prompt and its reply take."""
        return self.context or default_context(self.model.config.n_positions)

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


class Shipped(NamedTuple):
    """What a model's folder says, but for the weights. `context` is None for the default of such a model."""

    folder: Path
    shape: Shape
    tokenizer: Tokenizer
    decoding: DecodingConfig
    max_history: int | None
    context: int | None
    training: dict[str, Any]


def read_shipped(model: str | Path | None = None, *, context: int | None = None) -> Shipped:
    """What `ShippedModel.load` reads beside the weights; it raises the same."""
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
    return Shipped(folder, config, tokenizer, decoding, history, context, training)


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
