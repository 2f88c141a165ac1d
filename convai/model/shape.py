"""The shape of a model: sizes, rates and what its blocks are made of, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convai.core.errors import CheckpointError
from convai.model import hf_config
from convai.model.hf_config import FULL, ROTARY, SLIDING, is_number
from convai.model.hf_config import Family as Family
from convai.model.hf_config import RopeScaling as RopeScaling


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
    query_scale: float | None = None
    """Gemma: scores of queries and keys are divided by its root; None: the head's size, as elsewhere."""
    sliding_window: int = 4096
    """Gemma: tokens, itself included, that a token sees in a windowed layer."""
    rope_local_theta: float = 10_000.0
    """Gemma: `rope_theta` of the windowed layers."""
    layer_types: tuple[str, ...] | None = None
    """Gemma: SLIDING or FULL for every layer; None: every sixth is full."""

    def __post_init__(self) -> None:
        """Raises CheckpointError, without a file's name, for a size or rate that no model can have."""
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "sliding_window"):
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
            self._check_rotary()
        elif not self.tied or self.head_size is not None or self.n_kv_head is not None:
            raise CheckpointError(
                f"n_kv_head, head_size and an untied output are not settings of {self.family}"
            )
        if type(self.match_size) is not int or self.match_size < 0:
            raise CheckpointError(f"match_size={self.match_size!r}: use 0 (off) or a whole number above 0")
        for name in ("embd_pdrop", "resid_pdrop", "attn_pdrop", "summary_first_dropout"):
            if not is_number(value := getattr(self, name)) or not 0 <= value < 1:
                raise CheckpointError(f"{name}={value!r}: use 0 up to 1")
        for name in ("layer_norm_epsilon", "initializer_range"):
            if not is_number(value := getattr(self, name)) or not 0 < value < 1:
                raise CheckpointError(f"{name}={value!r}: use a number between 0 and 1")
        for name in ("tied", "attention_bias", "mlp_bias"):
            if type(value := getattr(self, name)) is not bool:
                raise CheckpointError(f"{name}={value!r}: use true or false")

    def _check_rotary(self) -> None:
        if self.n_head % self.kv_heads:
            raise CheckpointError(
                f"n_head={self.n_head} is not a multiple of n_kv_head={self.kv_heads}: change one of them"
            )
        if self.head % 2:
            raise CheckpointError(f"head_size={self.head}: rotary positions need an even number")
        for name in ("rope_theta", "rope_local_theta"):
            if not is_number(value := getattr(self, name)) or value <= 1:
                raise CheckpointError(f"{name}={value!r}: use a number above 1")
        if self.query_scale is not None and (not is_number(self.query_scale) or self.query_scale <= 0):
            raise CheckpointError(f"query_pre_attn_scalar={self.query_scale!r}: use a number above 0")
        if self.layer_types is not None and len(self.layer_types) != self.n_layer:
            raise CheckpointError(
                f"layer_types names {len(self.layer_types)} layers, there are {self.n_layer}: name each"
            )
        for kind in self.layer_types or ():
            if kind not in (SLIDING, FULL):
                raise CheckpointError(f"layer_types: {kind!r} is not supported; use {SLIDING} or {FULL}")

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
    def windows(self) -> tuple[int | None, ...]:
        """For every layer how many tokens a token sees, itself included; None: all before it."""
        if self.family != "gemma3_text":
            return (None,) * self.n_layer
        kinds = self.layer_types or hf_config.every_sixth_full(self.n_layer)
        return tuple(self.sliding_window if kind == SLIDING else None for kind in kinds)

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
        """The dictionary that transformers' configuration of this family reads, without control ids."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.rotary:
            fields |= {"n_inner": self.inner_size, "n_kv_head": self.kv_heads, "head_size": self.head}
            fields["query_scale"] = self.query_scale or self.head
            fields["layer_types"] = self.layer_types or hf_config.every_sixth_full(self.n_layer)
        return hf_config.values_of(fields)

    @classmethod
    def from_hf(cls, values: Mapping[str, Any], where: str = "config.json") -> Shape:
        """Read a transformers config. Raises CheckpointError when it describes another kind of model."""
        try:
            return cls(**hf_config.fields_of(values))
        except CheckpointError as error:
            raise CheckpointError(f"{where}: {error}") from None


def _check_size(name: str, value: object) -> None:
    if type(value) is not int or value < 1:
        raise CheckpointError(f"{name}={value!r}: use a whole number above 0")
