"""The shape of a model, read from and written to a Hugging Face config.json."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from convai.core.errors import CheckpointError

Family = Literal["gpt2", "openai-gpt"]

# What a config may call the tanh approximation of GELU; "gelu" is that in OpenAI GPT alone.
_ACTIVATIONS: Final = {
    "gpt2": ("gelu_new", "gelu_pytorch_tanh"),
    "openai-gpt": ("gelu", "gelu_new", "gelu_pytorch_tanh"),
}

# Settings of transformers' models with the one value that this model computes with.
_ONLY: Final = {
    "add_cross_attention": False,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "summary_activation": None,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "tie_word_embeddings": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes and rates of a GPT; the defaults are GPT-2 small's."""

    family: Family = "gpt2"
    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    embd_pdrop: float = 0.1
    resid_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    summary_first_dropout: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    match_size: int = 0
    """Dimensions in which the next-sentence head compares words with words (`match_head`); 0: it does not.
    transformers knows no such head and passes over it."""

    def __post_init__(self) -> None:
        """Raises CheckpointError, without a file's name, for a size or rate that no model can have."""
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner"):
            value = getattr(self, name)
            if name == "n_inner" and value is None:
                continue
            if type(value) is not int or value < 1:
                raise CheckpointError(f"{name}={value!r}: use a whole number above 0")
        if self.n_inner is not None and self.family == "openai-gpt":
            raise CheckpointError("n_inner is not a setting of openai-gpt: remove it")
        if self.n_embd % self.n_head:
            raise CheckpointError(
                f"n_embd={self.n_embd} is not a multiple of n_head={self.n_head}: change one of them"
            )
        if type(self.match_size) is not int or self.match_size < 0:
            raise CheckpointError(f"match_size={self.match_size!r}: use 0 (off) or a whole number above 0")
        for name in ("embd_pdrop", "resid_pdrop", "attn_pdrop", "summary_first_dropout"):
            if not _is_number(value := getattr(self, name)) or not 0 <= value < 1:
                raise CheckpointError(f"{name}={value!r}: use 0 up to 1")
        for name in ("layer_norm_epsilon", "initializer_range"):
            if not _is_number(value := getattr(self, name)) or not 0 < value < 1:
                raise CheckpointError(f"{name}={value!r}: use a number between 0 and 1")

    @property
    def inner_size(self) -> int:
        return self.n_inner or 4 * self.n_embd

    @property
    def pre_norm(self) -> bool:
        return self.family == "gpt2"

    def replace(self, **changes: Any) -> Shape:
        return dataclasses.replace(self, **changes)

    def without_dropout(self) -> Shape:
        return self.replace(embd_pdrop=0.0, resid_pdrop=0.0, attn_pdrop=0.0, summary_first_dropout=0.0)

    def to_hf(self) -> dict[str, Any]:
        """The dictionary that transformers' GPT2Config / OpenAIGPTConfig reads.

        The control ids are None, since a shape does not know them: left out, GPT-2's own would be assumed.
        """
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "family"}
        if not self.match_size:
            values.pop("match_size")
        gpt2 = self.family == "gpt2"
        if gpt2:
            values["activation_function"] = "gelu_new"
        else:
            values["afn"] = "gelu"  # transformers' name for the tanh approximation in this family
            values.pop("n_inner")
        return {
            "architectures": ["GPT2DoubleHeadsModel" if gpt2 else "OpenAIGPTDoubleHeadsModel"],
            "model_type": self.family,
            **values,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": None,
            "num_labels": 1,
            **(_ONLY if gpt2 else {k: v for k, v in _ONLY.items() if k.startswith(("summary", "tie"))}),
        }

    @classmethod
    def from_hf(cls, values: Mapping[str, Any], where: str = "config.json") -> Shape:
        """Read a transformers config. Raises CheckpointError when it describes another kind of model."""
        family = values.get("model_type")
        if not isinstance(family, str) or family not in _ACTIVATIONS:
            raise CheckpointError(
                f"{where}: model_type {family!r} is not supported; use a gpt2 or openai-gpt checkpoint"
            )
        activation = values.get("activation_function" if family == "gpt2" else "afn")
        if activation is not None and activation not in _ACTIVATIONS[family]:
            raise CheckpointError(f"{where}: activation {activation!r} is not supported; use gelu_new")
        for name, only in _ONLY.items():
            if values.get(name, only) != only:
                found, needed = json.dumps(values[name]), json.dumps(only)
                raise CheckpointError(f"{where}: {name} {found} is not supported; use a model with {needed}")
        known = {f.name for f in dataclasses.fields(cls)} - {"family"}
        published = {"vocab_size": 40478, "n_positions": 512} if family == "openai-gpt" else {}
        try:
            return cls(
                family=cast(Family, family), **published | {k: v for k, v in values.items() if k in known}
            )
        except CheckpointError as error:
            raise CheckpointError(f"{where}: {error}") from None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
