"""The shape of a model, read from and written to a Hugging Face config.json."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

from convai.core.errors import CheckpointError

Family = Literal["gpt2", "openai-gpt", "llama", "qwen3"]

ROTARY: Final = ("llama", "qwen3")
"""Families of today's kind: RMS norms, rotary positions, a gated MLP, grouped key-value heads."""

# What a config may call the tanh approximation of GELU; "gelu" is that in OpenAI GPT alone.
_ACTIVATIONS: Final = {
    "gpt2": ("gelu_new", "gelu_pytorch_tanh"),
    "openai-gpt": ("gelu", "gelu_new", "gelu_pytorch_tanh"),
}

# Settings of transformers' GPT models with the one value that this model computes with.
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

# transformers' names in the rotary families for what GPT-2's config calls otherwise.
_ROTARY_NAMES: Final = {
    "n_positions": "max_position_embeddings",
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "n_kv_head": "num_key_value_heads",
    "head_size": "head_dim",
    "layer_norm_epsilon": "rms_norm_eps",
    "attn_pdrop": "attention_dropout",
    "tied": "tie_word_embeddings",
}
_SAME_NAMES: Final = ("vocab_size", "initializer_range", "attention_bias", "mlp_bias", "match_size")
_ROTARY_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "llama": {"max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "tie_word_embeddings": False},
    "qwen3": {
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "head_dim": 128,
    },
}
"""What transformers assumes where a config is silent."""

_ROTARY_ONLY: Final = {
    "hidden_act": "silu",
    "pretraining_tp": 1,
    "use_sliding_window": False,
}


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Llama 3's stretching of the rotary frequencies to longer texts (transformers' rope_type "llama3").

    Wave lengths above `original_positions / low_freq_factor` are divided by `factor`, those below
    `original_positions / high_freq_factor` stay, and those between are blended.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_positions: int

    def __post_init__(self) -> None:
        """Raises CheckpointError, without a file's name, for values that no model can have."""
        numbers = (self.factor, self.low_freq_factor, self.high_freq_factor, self.original_positions)
        if not all(_is_number(v) and v > 0 for v in numbers) or (
            self.high_freq_factor <= self.low_freq_factor
        ):
            raise CheckpointError(f"rope scaling {dataclasses.asdict(self)}: not the settings of Llama 3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes and rates of a model; the defaults are GPT-2 small's.

    The last fields are those of the rotary families; the GPT families have no use for them.
    """

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
    n_kv_head: int | None = None
    """Key-value heads, each shared by as many query heads; None: one for every query head."""
    head_size: int | None = None
    """Dimensions of a head; None: n_embd / n_head."""
    rope_theta: float = 10_000.0
    """Base of the rotary frequencies (Su et al. 2021, arXiv 2104.09864, §3.2.2)."""
    rope_scaling: RopeScaling | None = None
    tied: bool = True
    """Whether the output embedding is the word embedding."""
    attention_bias: bool = False
    mlp_bias: bool = False

    def __post_init__(self) -> None:
        """Raises CheckpointError, without a file's name, for a size or rate that no model can have."""
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
            _check_size(name, getattr(self, name))
        for name in ("n_inner", "n_kv_head", "head_size"):
            if getattr(self, name) is not None:
                _check_size(name, getattr(self, name))
        if self.n_inner is not None and self.family == "openai-gpt":
            raise CheckpointError("n_inner is not a setting of openai-gpt: remove it")
        if self.head_size is None and self.n_embd % self.n_head:
            raise CheckpointError(
                f"n_embd={self.n_embd} is not a multiple of n_head={self.n_head}: change one of them"
            )
        if self.rotary:
            if self.n_head % self.kv_heads:
                raise CheckpointError(
                    f"n_head={self.n_head} is not a multiple of n_kv_head={self.kv_heads}: change one of them"
                )
            if self.head % 2:
                raise CheckpointError(f"head_size={self.head}: rotary positions need an even number")
            if not _is_number(self.rope_theta) or self.rope_theta <= 1:
                raise CheckpointError(f"rope_theta={self.rope_theta!r}: use a number above 1")
        elif not self.tied or self.head_size is not None or self.n_kv_head is not None:
            raise CheckpointError(
                f"n_kv_head, head_size and an untied output are not settings of {self.family}"
            )
        if type(self.match_size) is not int or self.match_size < 0:
            raise CheckpointError(f"match_size={self.match_size!r}: use 0 (off) or a whole number above 0")
        for name in ("embd_pdrop", "resid_pdrop", "attn_pdrop", "summary_first_dropout"):
            if not _is_number(value := getattr(self, name)) or not 0 <= value < 1:
                raise CheckpointError(f"{name}={value!r}: use 0 up to 1")
        for name in ("layer_norm_epsilon", "initializer_range"):
            if not _is_number(value := getattr(self, name)) or not 0 < value < 1:
                raise CheckpointError(f"{name}={value!r}: use a number between 0 and 1")
        for name in ("tied", "attention_bias", "mlp_bias"):
            if type(value := getattr(self, name)) is not bool:
                raise CheckpointError(f"{name}={value!r}: use true or false")

    @property
    def inner_size(self) -> int:
        return self.n_inner or 4 * self.n_embd

    @property
    def kv_heads(self) -> int:
        return self.n_kv_head or self.n_head

    @property
    def head(self) -> int:
        """Dimensions of a head."""
        return self.head_size or self.n_embd // self.n_head

    @property
    def rotary(self) -> bool:
        """Whether this is a rotary family (see ROTARY); else it is one of OpenAI's GPTs."""
        return self.family in ROTARY

    @property
    def pre_norm(self) -> bool:
        return self.family != "openai-gpt"

    def replace(self, **changes: Any) -> Shape:
        return dataclasses.replace(self, **changes)

    def without_dropout(self) -> Shape:
        return self.replace(embd_pdrop=0.0, resid_pdrop=0.0, attn_pdrop=0.0, summary_first_dropout=0.0)

    def to_hf(self) -> dict[str, Any]:
        """The dictionary that transformers' configuration of this family reads.

        The control ids are None, since a shape does not know them: left out, GPT-2's own would be assumed.
        """
        return _rotary_to_hf(self) if self.rotary else _gpt_to_hf(self)

    @classmethod
    def from_hf(cls, values: Mapping[str, Any], where: str = "config.json") -> Shape:
        """Read a transformers config. Raises CheckpointError when it describes another kind of model."""
        family = values.get("model_type")
        if not isinstance(family, str) or family not in get_args(Family):
            known = ", ".join(get_args(Family))
            raise CheckpointError(f"{where}: model_type {family!r} is not supported; use one of {known}")
        try:
            if family in ROTARY:
                return _rotary_from_hf(cast(Family, family), values)
            return _gpt_from_hf(cast(Family, family), values)
        except CheckpointError as error:
            raise CheckpointError(f"{where}: {error}") from None


_GPT_FIELDS: Final = (
    *("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "embd_pdrop", "resid_pdrop"),
    *("attn_pdrop", "summary_first_dropout", "layer_norm_epsilon", "initializer_range", "match_size"),
)
_NO_IDS: Final = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}


def _gpt_to_hf(shape: Shape) -> dict[str, Any]:
    values = {name: getattr(shape, name) for name in _GPT_FIELDS}
    if not shape.match_size:
        values.pop("match_size")
    gpt2 = shape.family == "gpt2"
    if gpt2:
        values["activation_function"] = "gelu_new"
    else:
        values["afn"] = "gelu"  # transformers' name for the tanh approximation in this family
        values.pop("n_inner")
    return {
        "architectures": ["GPT2DoubleHeadsModel" if gpt2 else "OpenAIGPTDoubleHeadsModel"],
        "model_type": shape.family,
        **values,
        **_NO_IDS,
        "num_labels": 1,
        **(_ONLY if gpt2 else {k: v for k, v in _ONLY.items() if k.startswith(("summary", "tie"))}),
    }


def _gpt_from_hf(family: Family, values: Mapping[str, Any]) -> Shape:
    activation = values.get("activation_function" if family == "gpt2" else "afn")
    if activation is not None and activation not in _ACTIVATIONS[family]:
        raise CheckpointError(f"activation {activation!r} is not supported; use gelu_new")
    _check_only(values, _ONLY)
    published = {"vocab_size": 40478, "n_positions": 512} if family == "openai-gpt" else {}
    return Shape(family=family, **published | {k: v for k, v in values.items() if k in _GPT_FIELDS})


def _rotary_to_hf(shape: Shape) -> dict[str, Any]:
    values = {theirs: getattr(shape, ours) for ours, theirs in _ROTARY_NAMES.items()}
    values |= {name: getattr(shape, name) for name in _SAME_NAMES}
    values |= {"intermediate_size": shape.inner_size, "num_key_value_heads": shape.kv_heads}
    values |= {"head_dim": shape.head}
    if not shape.match_size:
        values.pop("match_size")
    if shape.family != "llama":
        values.pop("mlp_bias")
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": shape.rope_theta}
    if shape.rope_scaling is not None:
        rope = {
            "rope_type": "llama3",
            "rope_theta": shape.rope_theta,
            "factor": shape.rope_scaling.factor,
            "low_freq_factor": shape.rope_scaling.low_freq_factor,
            "high_freq_factor": shape.rope_scaling.high_freq_factor,
            "original_max_position_embeddings": shape.rope_scaling.original_positions,
        }
    architecture = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}[shape.family]
    return {
        "architectures": [architecture],
        "model_type": shape.family,
        "hidden_act": "silu",
        **values,
        "rope_parameters": rope,
        **_NO_IDS,
    }


def _rotary_from_hf(family: Family, values: Mapping[str, Any]) -> Shape:
    _check_only(values, _ROTARY_ONLY)
    given = _ROTARY_DEFAULTS[family] | {k: v for k, v in values.items() if v is not None}
    fields: dict[str, Any] = {o: given[t] for o, t in _ROTARY_NAMES.items() if t in given}
    fields |= {name: given[name] for name in _SAME_NAMES if name in given}
    if family != "llama":
        fields.pop("mlp_bias", None)
    # transformers 5 keeps all of it in rope_parameters, earlier versions in rope_theta and rope_scaling
    rope = dict(values.get("rope_parameters") or values.get("rope_scaling") or {})
    fields["rope_theta"] = rope.get("rope_theta", values.get("rope_theta", 10_000.0))
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "llama3":
        try:
            fields["rope_scaling"] = RopeScaling(
                rope["factor"],
                rope["low_freq_factor"],
                rope["high_freq_factor"],
                rope["original_max_position_embeddings"],
            )
        except KeyError as error:
            raise CheckpointError(f"rope scaling lacks {error}; copy config.json again") from None
    elif kind != "default":
        raise CheckpointError(f"rope_type {kind!r} is not supported; use a model with default or llama3")
    return Shape(family=family, embd_pdrop=0.0, resid_pdrop=0.0, summary_first_dropout=0.0, **fields)


def _check_only(values: Mapping[str, Any], only: Mapping[str, Any]) -> None:
    for name, needed in only.items():
        if values.get(name, needed) != needed:
            found = json.dumps(values[name])
            raise CheckpointError(f"{name} {found} is not supported; use a model with {json.dumps(needed)}")


def _check_size(name: str, value: object) -> None:
    if type(value) is not int or value < 1:
        raise CheckpointError(f"{name}={value!r}: use a whole number above 0")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
