"""What a family of models calls its parts: weights on disk, layers for LoRA, depth.

A new family is an entry in FAMILIES, its settings in `hf_config`, and blocks that compute it (`gpt`, `llama`,
`gemma`).
Inside the one model class the names are GPT-2's for what all have (`transformer.wte`, `transformer.h.N.ln_1`,
...), so that everything above knows one set of names; files on disk carry those of transformers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from torch import Tensor

_BLOCK: Final = re.compile(r"(?:^|\.)h\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class FamilyParts:
    """One family.

    `outer`, `inner`: our names of weights outside and inside the blocks (the block's prefix left out) and
    transformers' names for them, the same where they are missing; `block`: transformers' prefix of a block.
    `segments`: whether segment embeddings are part of the pretrained sum ("added"), or join it through a gate
    that starts at 0 ("gated"). `lora`: name of a choice -> the linear layers in a block that it adapts.
    """

    segments: Literal["added", "gated"]
    block: str
    outer: Mapping[str, str]
    inner: Mapping[str, str]
    lora: Mapping[str, tuple[str, ...]]

    def to_disk(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights under transformers' names."""
        return {self._renamed(name, self.outer, self.inner): p for name, p in state.items()}

    def from_disk(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights under our names; what is unknown keeps its own."""
        outer = {theirs: ours for ours, theirs in self.outer.items()}
        inner = {theirs: ours for ours, theirs in self.inner.items()}
        place = re.compile(re.escape(self.block) + r"\.(\d+)\.(.+)")
        named = {}
        for name, p in state.items():
            if found := place.fullmatch(name):
                part, _, kind = found[2].rpartition(".")
                named[f"transformer.h.{found[1]}.{inner.get(part, part)}.{kind}"] = p
            else:
                named[outer.get(name, name)] = p
        return named

    def _renamed(self, name: str, outer: Mapping[str, str], inner: Mapping[str, str]) -> str:
        if found := re.fullmatch(r"transformer\.h\.(\d+)\.(.+)\.(\w+)", name):
            return f"{self.block}.{found[1]}.{inner.get(found[2], found[2])}.{found[3]}"
        return outer.get(name, name)


_GPT_LORA: Final = {
    "all": ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
    "attention": ("attn.c_attn", "attn.c_proj"),
}
_ROTARY_ATTENTION: Final = ("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.o_proj")
_ROTARY_LORA: Final = {
    "all": (*_ROTARY_ATTENTION, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
    "attention": _ROTARY_ATTENTION,
}
_ROTARY_OUTER: Final = {
    "transformer.wte.weight": "model.embed_tokens.weight",
    "transformer.ln_f.weight": "model.norm.weight",
}
_ROTARY_INNER: Final = {
    "ln_1": "input_layernorm",
    "ln_2": "post_attention_layernorm",
    **{name: f"self_{name}" for name in (*_ROTARY_ATTENTION, "attn.q_norm", "attn.k_norm")},
}
_GEMMA_INNER: Final = _ROTARY_INNER | {
    "ln_1_after": "post_attention_layernorm",
    "ln_2": "pre_feedforward_layernorm",
    "ln_2_after": "post_feedforward_layernorm",
}

FAMILIES: Final[dict[str, FamilyParts]] = {
    "gpt2": FamilyParts("added", "transformer.h", {}, {}, _GPT_LORA),
    "openai-gpt": FamilyParts(
        "added",
        "transformer.h",
        {
            "transformer.wte.weight": "transformer.tokens_embed.weight",
            "transformer.wpe.weight": "transformer.positions_embed.weight",
        },
        {},
        _GPT_LORA,
    ),
    "llama": FamilyParts("gated", "model.layers", _ROTARY_OUTER, _ROTARY_INNER, _ROTARY_LORA),
    "qwen3": FamilyParts("gated", "model.layers", _ROTARY_OUTER, _ROTARY_INNER, _ROTARY_LORA),
    "gemma3_text": FamilyParts("gated", "model.layers", _ROTARY_OUTER, _GEMMA_INNER, _ROTARY_LORA),
}


def block_number(name: str) -> int | None:
    """The block that the parameter called `name` belongs to; None for what lies outside of them."""
    found = _BLOCK.search(name)
    return int(found[1]) if found else None
