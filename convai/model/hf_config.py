"""What transformers' config.json says of a model: its names and defaults, family by family.

Two functions, each other's inverse, between a config's dictionary and the fields of `shape.Shape`. What a
config may ask for and this package does not compute is refused, never passed over.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

from convai.core.errors import CheckpointError

Family = Literal["gpt2", "openai-gpt", "llama", "qwen3", "gemma3_text"]

ROTARY: Final = ("llama", "qwen3", "gemma3_text")
"""Families of today's kind: RMS norms, rotary positions, a gated MLP, grouped key-value heads."""

SLIDING: Final = "sliding_attention"
FULL: Final = "full_attention"
"""Kinds of layers in Gemma: a token sees the last `sliding_window` tokens, or all before it."""

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
_SAME_NAMES: Final = ("vocab_size", "initializer_range", "attention_bias", "match_size")
_OWN_NAMES: Final[dict[str, dict[str, str]]] = {
    "llama": {"mlp_bias": "mlp_bias"},
    "qwen3": {},
    "gemma3_text": {"query_scale": "query_pre_attn_scalar", "sliding_window": "sliding_window"},
}
"""Of one family alone."""

_ROTARY_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "llama": {
        "attention_dropout": 0.0,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
    },
    "qwen3": {
        "attention_dropout": 0.0,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "head_dim": 128,
    },
    "gemma3_text": {
        "attention_dropout": 0.0,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
    },
}
"""What transformers assumes where a config is silent."""

_ARCHITECTURES: Final = {
    "llama": "LlamaForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
}
_SILU: Final = {"hidden_act": "silu", "pretraining_tp": 1, "use_sliding_window": False}
_ROTARY_ONLY: Final[dict[str, dict[str, Any]]] = {
    "llama": _SILU,
    "qwen3": _SILU,
    "gemma3_text": {
        "hidden_activation": "gelu_pytorch_tanh",
        "use_bidirectional_attention": False,
        "final_logit_softcapping": None,  # Gemma 2's; its successor norms queries and keys instead
        "attn_logit_softcapping": None,
    },
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
        if not all(is_number(v) and v > 0 for v in numbers) or self.high_freq_factor <= self.low_freq_factor:
            raise CheckpointError(f"rope scaling {dataclasses.asdict(self)}: not the settings of Llama 3")


def every_sixth_full(layers: int, pattern: int = 6) -> tuple[str, ...]:
    """Kinds of Gemma's layers where a config does not list them: after `pattern` - 1 windowed, a full one."""
    return tuple(SLIDING if (i + 1) % pattern else FULL for i in range(layers))


def family_of(values: Mapping[str, Any]) -> Family:
    """The family that a config is of. Raises CheckpointError for another kind of model."""
    family = values.get("model_type")
    if not isinstance(family, str) or family not in get_args(Family):
        known = ", ".join(get_args(Family))
        raise CheckpointError(f"model_type {family!r} is not supported; use one of {known}")
    return cast(Family, family)


def fields_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of Shape from a config's `values`. Raises CheckpointError for what is not computed here."""
    family = family_of(values)
    fields = _rotary_fields(family, values) if family in ROTARY else _gpt_fields(family, values)
    return {"family": family, **fields}


def values_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json says of `fields`, Shape's, those that may be None filled in for a rotary family.

    The control ids are None, since a shape does not know them: left out, GPT-2's own would be assumed.
    """
    return _rotary_values(fields) if fields["family"] in ROTARY else _gpt_values(fields)


_GPT_FIELDS: Final = (
    *("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "embd_pdrop", "resid_pdrop"),
    *("attn_pdrop", "summary_first_dropout", "layer_norm_epsilon", "initializer_range", "match_size"),
)
_NO_IDS: Final = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}


def _gpt_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: fields[name] for name in _GPT_FIELDS}
    if not values["match_size"]:
        values.pop("match_size")
    gpt2 = fields["family"] == "gpt2"
    if gpt2:
        values["activation_function"] = "gelu_new"
    else:
        values["afn"] = "gelu"  # transformers' name for the tanh approximation in this family
        values.pop("n_inner")
    return {
        "architectures": ["GPT2DoubleHeadsModel" if gpt2 else "OpenAIGPTDoubleHeadsModel"],
        "model_type": fields["family"],
        **values,
        **_NO_IDS,
        "num_labels": 1,
        **(_ONLY if gpt2 else {k: v for k, v in _ONLY.items() if k.startswith(("summary", "tie"))}),
    }


def _gpt_fields(family: Family, values: Mapping[str, Any]) -> dict[str, Any]:
    activation = values.get("activation_function" if family == "gpt2" else "afn")
    if activation is not None and activation not in _ACTIVATIONS[family]:
        raise CheckpointError(f"activation {activation!r} is not supported; use gelu_new")
    _check_only(values, _ONLY)
    published = {"vocab_size": 40478, "n_positions": 512} if family == "openai-gpt" else {}
    return published | {k: v for k, v in values.items() if k in _GPT_FIELDS}


def _rotary_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    family = fields["family"]
    values = {theirs: fields[ours] for ours, theirs in (_ROTARY_NAMES | _OWN_NAMES[family]).items()}
    values |= {name: fields[name] for name in _SAME_NAMES}
    if not values["match_size"]:
        values.pop("match_size")
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": fields["rope_theta"]}
    if (scaling := fields["rope_scaling"]) is not None:
        rope |= {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_positions,
        }
    if family == "gemma3_text":
        local = {"rope_type": "default", "rope_theta": fields["rope_local_theta"]}
        rope = {FULL: rope, SLIDING: local}
        values["layer_types"] = list(fields["layer_types"])
    activation = "hidden_activation" if family == "gemma3_text" else "hidden_act"
    return {
        "architectures": [_ARCHITECTURES[family]],
        "model_type": family,
        activation: _ROTARY_ONLY[family][activation],
        **values,
        "rope_parameters": rope,
        **_NO_IDS,
    }


def _rotary_fields(family: Family, values: Mapping[str, Any]) -> dict[str, Any]:
    _check_only(values, _ROTARY_ONLY[family])
    given = _ROTARY_DEFAULTS[family] | {k: v for k, v in values.items() if v is not None}
    names = _ROTARY_NAMES | _OWN_NAMES[family]
    fields: dict[str, Any] = {ours: given[theirs] for ours, theirs in names.items() if theirs in given}
    fields |= {name: given[name] for name in _SAME_NAMES if name in given}
    # transformers 5 keeps all of it in rope_parameters, earlier versions in rope_theta and rope_scaling
    rope = dict(values.get("rope_parameters") or {})
    if family == "gemma3_text":
        local = dict(rope.get(SLIDING) or {})
        if local.get("rope_type", "default") != "default":
            raise CheckpointError(f"rope_type {local['rope_type']!r} of {SLIDING} is not supported")
        fields["rope_local_theta"] = local.get("rope_theta", values.get("rope_local_base_freq", 10_000.0))
        rope = dict(rope.get(FULL) or {})
        fields["layer_types"] = _layer_types(given)
    rope = rope or dict(values.get("rope_scaling") or {})
    base = 1_000_000.0 if family == "gemma3_text" else 10_000.0
    fields["rope_theta"] = rope.get("rope_theta", values.get("rope_theta", base))
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
    return {"embd_pdrop": 0.0, "resid_pdrop": 0.0, "summary_first_dropout": 0.0, **fields}


def _layer_types(values: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The kinds of the layers, listed, or by the pattern that older configs give; None: as usual."""
    kinds, pattern = values.get("layer_types"), values.get("sliding_window_pattern")
    if kinds is not None:
        return tuple(kinds) if isinstance(kinds, (list, tuple)) else (kinds,)
    layers = values.get("num_hidden_layers")
    if pattern is None or type(layers) is not int:
        return None
    if type(pattern) is not int or pattern < 1:
        raise CheckpointError(f"sliding_window_pattern={pattern!r}: use a whole number above 0")
    return every_sixth_full(layers, pattern)


def _check_only(values: Mapping[str, Any], only: Mapping[str, Any]) -> None:
    for name, needed in only.items():
        if values.get(name, needed) != needed:
            found = json.dumps(values[name])
            raise CheckpointError(f"{name} {found} is not supported; use a model with {json.dumps(needed)}")


def is_number(value: object) -> bool:
    """A number, as JSON has them: true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
