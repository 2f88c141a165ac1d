"""The shape of an emotion model, and what its heads tell apart: written once, saved as emotion.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from convai.core.errors import CheckpointError, SettingsError
from convai.core.settings_values import laid_over

Role = Literal["emoji", "emotions", "labels"]
ROLES: Final = get_args(Role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One set of labels: a linear layer on the features."""

    name: str
    """Letters, digits and underscores: a part of its weights' names."""
    labels: tuple[str, ...]
    """In the order of the outputs."""
    multi: bool = False
    """Labels that are independent of each other (sigmoid), not one of them (softmax)."""
    role: Role = "labels"
    """Where a prediction shows it: the first emoji head as `emoji`, the first emotions head as `emotions`."""
    thresholds: tuple[float, ...] = ()
    """Probability from which each label counts as present (multi); empty: 0.5."""

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or not self.name.isascii():
            raise SettingsError(f"name={self.name!r}: use letters, digits and underscores")
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise SettingsError(f"labels={self.labels!r}: use one or more, each once")
        if len(self.labels) < 2 and not self.multi:
            raise SettingsError(f"labels={self.labels!r}: there is nothing to choose; use two or more")
        if self.thresholds and len(self.thresholds) != len(self.labels):
            raise SettingsError(f"thresholds={self.thresholds!r}: use one a label, or none")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionConfig:
    """The defaults are torchMoji's (Felbo et al. 2017, §3.2)."""

    vocab_size: int = 50000
    """Words, the special ones included."""
    embedding_size: int = 256
    """Width of the embedding."""
    hidden_size: int = 512
    """Width of each direction of each LSTM."""
    gates: Literal["hard_sigmoid", "sigmoid"] = "hard_sigmoid"
    """Keras' old default, or the plain one, with which torch's own (cuDNN's) LSTM computes."""
    embed_dropout: float = 0.0
    """Share of embedding channels dropped of a text, in training."""
    final_dropout: float = 0.0
    """Share of features dropped before the heads, in training."""
    max_words: int = 256
    """Words that are read of a text."""
    split_hashtags: bool = False
    """Read a hashtag that is no word of the vocabulary as the words it is made of (torchMoji does not)."""
    heads: tuple[Head, ...] = field(default=())
    """What it tells apart."""

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "embedding_size", "hidden_size", "max_words")
        for name in sizes:
            value = getattr(self, name)
            if not 1 <= value <= 10_000_000:
                raise SettingsError(f"{name}={value}: use a number above 0")
        for name in ("embed_dropout", "final_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(f"{name}={getattr(self, name)}: use 0 up to 1")
        names = [head.name for head in self.heads]
        if len(set(names)) != len(names):
            raise SettingsError(f"heads={names}: use every name once")

    @property
    def feature_size(self) -> int:
        """Width of the feature vector: both LSTMs' outputs and the embedding (2,304 at the defaults)."""
        return 4 * self.hidden_size + self.embedding_size

    def head(self, role: Role) -> Head | None:
        """The first head of `role`, if there is one."""
        return next((head for head in self.heads if head.role == role), None)

    def replace(self, **changes: Any) -> EmotionConfig:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """As emotion.json holds it."""
        return {"model_type": MODEL_TYPE, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], source: str) -> EmotionConfig:
        """Read what `to_json` wrote. Raises CheckpointError beginning with `source`."""
        if values.get("model_type") != MODEL_TYPE:
            raise CheckpointError(f"{source}: not an emotion model; convert others with 'emotion convert'")
        rest = {name: value for name, value in values.items() if name not in ("model_type", "heads")}
        try:
            heads = tuple(_head(item) for item in values.get("heads", ()))
            return laid_over(cls(), rest).replace(heads=heads)
        except (SettingsError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{source}: {error}; copy the file again") from None


MODEL_TYPE: Final = "convai-emotion"


def _head(item: Mapping[str, Any]) -> Head:
    known = {f.name for f in dataclasses.fields(Head)}
    if set(item) - known or not {"name", "labels"} <= set(item):
        raise SettingsError(f"heads: expected objects of {', '.join(sorted(known))}")
    if not isinstance(item["name"], str) or item.get("role", "labels") not in ROLES:
        raise SettingsError(f"heads: name and role (one of {', '.join(ROLES)}) are texts")
    labels, thresholds = item["labels"], item.get("thresholds", ())
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise SettingsError("heads: labels is a list of texts")
    return Head(
        name=item["name"],
        labels=tuple(labels),
        multi=bool(item.get("multi", False)),
        role=item.get("role", "labels"),
        thresholds=tuple(float(value) for value in thresholds),
    )
