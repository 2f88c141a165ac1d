"""The shape of a model, read from and written to a Hugging Face config.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from convai.errors import CheckpointError

Family = Literal["gpt2", "openai-gpt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
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

    def __post_init__(self) -> None:
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise CheckpointError(f"config.json: {name}={value!r}; it must be a whole number above 0")
        if self.n_embd % self.n_head:
            raise CheckpointError(
                f"config.json: n_embd={self.n_embd} is not a multiple of n_head={self.n_head}; change one"
            )

    @property
    def inner_size(self) -> int:
        return self.n_inner or 4 * self.n_embd

    @property
    def pre_norm(self) -> bool:
        return self.family == "gpt2"

    def replace(self, **changes: Any) -> ModelConfig:
        return dataclasses.replace(self, **changes)

    def without_dropout(self) -> ModelConfig:
        return self.replace(embd_pdrop=0.0, resid_pdrop=0.0, attn_pdrop=0.0, summary_first_dropout=0.0)

    def to_hf(self) -> dict[str, Any]:
        """The dictionary that transformers' GPT2Config / OpenAIGPTConfig reads."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "family"}
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
            "num_labels": 1,
            "summary_activation": None,
            "summary_proj_to_labels": True,
            "summary_type": "cls_index",
            "summary_use_proj": True,
            "tie_word_embeddings": True,
        }

    @classmethod
    def from_hf(cls, values: Mapping[str, Any], where: str = "config.json") -> ModelConfig:
        """Read a transformers config. Raises CheckpointError when it describes another kind of model."""
        family = values.get("model_type")
        if family not in ("gpt2", "openai-gpt"):
            raise CheckpointError(
                f"{where}: model_type {family!r} is not supported; use a gpt2 or openai-gpt checkpoint"
            )
        activation = values.get("activation_function" if family == "gpt2" else "afn")
        if activation not in (None, "gelu_new", "gelu_pytorch_tanh") and not (
            family == "openai-gpt" and activation == "gelu"
        ):
            raise CheckpointError(f"{where}: activation {activation!r} is not supported; use gelu_new")
        if family == "openai-gpt" and values.get("n_inner"):
            raise CheckpointError(f"{where}: n_inner is not a setting of openai-gpt; remove it")
        known = {f.name for f in dataclasses.fields(cls)} - {"family"}
        return cls(family=family, **{k: v for k, v in values.items() if k in known})
