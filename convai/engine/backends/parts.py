"""A model's weights as a forward pass uses them, the same for every family.

Norms, the matrices of a block as `[out, in]`, with what is computed together stacked (queries, keys and
values; gates and what they gate), and the embeddings. Backends convert them; only what is stacked is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from convai.model import gemma, gpt, llama
from convai.model.double_heads import DoubleHeadsModel


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer norm, or without a bias an RMS norm."""

    gain: Tensor
    bias: Tensor | None


@dataclass(frozen=True, slots=True)
class Matrix:
    """A linear layer, or several of one input: their `weights` are `[out, in]` each, `bias` is of all."""

    weights: tuple[Tensor, ...]
    bias: Tensor | None

    @property
    def weight(self) -> Tensor:
        """`[out, in]`, the layers' outputs one after another; a copy where there are several."""
        return self.weights[0] if len(self.weights) == 1 else torch.cat(self.weights)


@dataclass(frozen=True, slots=True)
class Layer:
    """A block. `query` and `key` are norms of each head's queries and keys, where there are any; `mixed_norm`
    and `mlp_norm` are of what attention and MLP add to the sum.
    """

    first: Norm
    second: Norm
    query: Norm | None
    key: Norm | None
    qkv: Matrix
    projection: Matrix
    expand: Matrix
    """`[inner, D]`; in a gated MLP `[2 inner, D]`, all gates first."""
    contract: Matrix
    mixed_norm: Norm | None = None
    mlp_norm: Norm | None = None


@dataclass(frozen=True, slots=True)
class Outside:
    """What lies outside of the blocks."""

    words: Tensor
    scale: float
    """What word and segment embeddings are multiplied with before they go in."""
    places: Tensor | None
    """Position embeddings, where positions are learned."""
    segment_gate: float
    """What a segment's embedding is multiplied with before it joins the sum."""
    last: Norm | None
    output: Tensor
    """`[V, D]`; `words` itself where it is tied."""


def layers(model: DoubleHeadsModel) -> Iterator[Layer]:
    """The blocks in their order, one at a time."""
    for block in model.transformer.h:
        if isinstance(block, llama.Block | gemma.Block):
            yield _rotary_layer(block)
        else:
            yield _gpt_layer(cast(gpt.Block, block))


def outside(model: DoubleHeadsModel) -> Outside:
    """Embeddings, the last norm, the output."""
    trunk = model.transformer
    rotary = model.config.rotary
    return Outside(
        trunk.wte.weight.detach(),
        trunk.scale,
        None if rotary else trunk.wpe.weight.detach(),
        float(trunk.segment_gate.detach()) if rotary else 1.0,
        None if isinstance(trunk.ln_f, nn.Identity) else _norm(trunk.ln_f),
        model.output_weight.detach(),
    )


def turns(model: DoubleHeadsModel) -> Tensor | None:
    """Rotary positions `[positions, head size]`, float32, half cosines, half sines; None where positions are
    learned.
    """
    return _turns(model, model.transformer.inverse) if model.config.rotary else None


def local_turns(model: DoubleHeadsModel) -> Tensor | None:
    """`turns` of the layers that see a window; None where there are none."""
    return _turns(model, model.transformer.local_inverse) if any(model.config.windows) else None


def _turns(model: DoubleHeadsModel, inverse: Tensor) -> Tensor:
    places = torch.arange(model.config.n_positions, device=inverse.device)[None]
    cos, sin = (part[0, 0].chunk(2, -1)[0] for part in llama.rotation_of(places, inverse, torch.float32))
    return torch.cat((cos, sin), -1)


def _gpt_layer(block: gpt.Block) -> Layer:
    attn, mlp = block.attn, block.mlp
    return Layer(
        first=_norm(block.ln_1),
        second=_norm(block.ln_2),
        query=None,
        key=None,
        qkv=_transposed(attn.c_attn),
        projection=_transposed(attn.c_proj),
        expand=_transposed(mlp.c_fc),
        contract=_transposed(mlp.c_proj),
    )


def _rotary_layer(block: llama.Block | gemma.Block) -> Layer:
    attn, mlp = block.attn, block.mlp
    return Layer(
        first=_norm(block.ln_1),
        second=_norm(block.ln_2),
        query=None if attn.q_norm is None else _norm(attn.q_norm),
        key=None if attn.k_norm is None else _norm(attn.k_norm),
        qkv=_stacked(attn.q_proj, attn.k_proj, attn.v_proj),
        projection=_stacked(attn.o_proj),
        expand=_stacked(mlp.gate_proj, mlp.up_proj),
        contract=_stacked(mlp.down_proj),
        mixed_norm=_norm(block.ln_1_after) if isinstance(block, gemma.Block) else None,
        mlp_norm=_norm(block.ln_2_after) if isinstance(block, gemma.Block) else None,
    )


def _norm(module: nn.Module) -> Norm:
    if isinstance(module, gemma.OffsetNorm):
        return Norm(module.gain.detach(), None)
    bias = getattr(module, "bias", None)
    return Norm(cast(Tensor, module.weight).detach(), None if bias is None else bias.detach())


def _transposed(module: gpt.Conv1D) -> Matrix:
    return Matrix((module.weight.detach().t(),), module.bias.detach())


def _stacked(*modules: nn.Linear) -> Matrix:
    """The layers' outputs one after another."""
    biases = [bias.detach() for module in modules if (bias := cast(Tensor | None, module.bias)) is not None]
    weights = tuple(module.weight.detach() for module in modules)
    return Matrix(weights, torch.cat(biases) if biases else None)
