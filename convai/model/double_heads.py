"""The double-heads model: one class for every family, a language-model head and a next-sentence head.

Its parts are called as GPT-2's in transformers; `families` knows what files call them, so that checkpoints
of stock transformers load here and ours load there (see `checkpoint`). Fused attention throughout, and the
language-model logits are computed only where they are asked for.

Source: Wolf et al. 2019 (arXiv 1901.08149, two heads, segment embeddings); the blocks' are in `gpt`, `llama`
and `gemma`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from convai.core.errors import CheckpointError
from convai.model import gemma, gpt, llama
from convai.model.match_head import MatchHead, MatchInput
from convai.model.shape import Shape
from convai.model.undrawn import Linear, embedding


class Transformer(nn.Module):
    """The trunk: summed embeddings and blocks.

    GPT's families learn positions (`wpe`) and add segment embeddings as they add words. The rotary families
    turn queries and keys instead, and segments join through `segment_gate`, which starts at 0: a pretrained
    model starts as itself.
    """

    inverse: Tensor
    local_inverse: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.rotary = shape.rotary
        self.gemma = shape.family == "gemma3_text"
        self.windows = shape.windows
        self.scale = math.sqrt(shape.n_embd) if self.gemma else 1.0
        self.wte = embedding(shape.vocab_size, shape.n_embd)
        self.drop = nn.Dropout(shape.embd_pdrop)
        self.h: nn.ModuleList
        self.ln_f: nn.Module
        if shape.rotary:
            self.segment_gate = nn.Parameter(torch.zeros(()))
            block = gemma.Block if self.gemma else llama.Block
            norm = gemma.OffsetNorm if self.gemma else nn.RMSNorm
            self.set_frequencies(shape)
            self.h = nn.ModuleList(block(shape) for _ in range(shape.n_layer))
            self.ln_f = norm(shape.n_embd, eps=shape.layer_norm_epsilon)
        else:
            self.wpe = embedding(shape.n_positions, shape.n_embd)
            self.h = nn.ModuleList(gpt.Block(shape) for _ in range(shape.n_layer))
            # OpenAI GPT ends with its last block's norm
            self.ln_f = (
                nn.LayerNorm(shape.n_embd, eps=shape.layer_norm_epsilon) if shape.pre_norm else nn.Identity()
            )

    def embed(self, input_ids: Tensor, position_ids: Tensor, segment_ids: Tensor | None) -> Tensor:
        """The sum `[B, T, D]` that goes into the first block."""
        x = self.wte(input_ids)
        if not self.rotary:
            x = x + self.wpe(position_ids)
        if segment_ids is not None:
            segments = self.wte(segment_ids)
            x = x + (self.segment_gate * segments if self.rotary else segments)
        if self.gemma:
            x = x * self.scale
        return self.drop(x)  # type: ignore[no-any-return]

    def set_frequencies(self, shape: Shape) -> None:
        """Make the rotary frequencies, which are no weights: a checkpoint does not have them."""
        self.register_buffer("inverse", llama.inverse_frequencies(shape), persistent=False)
        if self.gemma:
            local = llama.frequencies(shape.head, shape.rope_local_theta)
            self.register_buffer("local_inverse", local, persistent=False)

    def contexts(
        self, position_ids: Tensor, mask: Tensor | None, dtype: torch.dtype
    ) -> Sequence[tuple[object, ...]]:
        """What each block is given beside its input: a mask, and in the rotary families a rotation."""
        if not self.rotary:
            return [(mask,)] * len(self.h)
        rotation = llama.rotation_of(position_ids, self.inverse, dtype)
        if not self.gemma:
            return [(rotation, mask)] * len(self.h)
        local = llama.rotation_of(position_ids, self.local_inverse, dtype)
        return gemma.contexts(self.windows, position_ids, mask, rotation, local)


class SummaryHead(nn.Module):
    """A score from one hidden state (transformers' SequenceSummary of type `cls_index`)."""

    def __init__(self, config: Shape) -> None:
        super().__init__()
        self.first_dropout = nn.Dropout(config.summary_first_dropout)
        self.summary = Linear(config.n_embd, 1)

    def forward(self, hidden: Tensor) -> Tensor:  # (..., D) -> (...)
        return self.summary(self.first_dropout(hidden)).squeeze(-1)  # type: ignore[no-any-return]


class DoubleHeadsModel(nn.Module):
    """A language model whose last hidden states also feed a next-sentence head.

    The language-model head is tied to the word embedding, unless the shape says otherwise.
    """

    def __init__(self, config: Shape) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        if not config.tied:
            self.lm_head = Linear(config.n_embd, config.vocab_size, bias=False)
        self.multiple_choice_head = SummaryHead(config)
        self.match_head = MatchHead(config.n_embd, config.match_size) if config.match_size else None
        self.gradient_checkpointing = False
        self.init_weights()

    # -- building ---------------------------------------------------------------------------------

    def init_weights(self, positions: Literal["normal", "sinusoid"] = "normal") -> None:
        """GPT-2's initialisation: normal(0, 0.02), residual projections divided by sqrt(2 · layers).

        `positions="sinusoid"` starts the learned position embeddings as the sinusoids of Vaswani et al.
        2017 (§3.5), scaled to the standard deviation of the word embeddings: from noise they take long
        to learn that neighbours are neighbours.
        """
        if self.device.type == "meta":
            return  # a checkpoint is about to be loaded
        std = self.config.initializer_range
        for name, p in self.named_parameters():
            self.init_parameter(name, p)
        if positions == "sinusoid" and not self.config.rotary:
            table = sinusoids(self.config.n_positions, self.config.n_embd)
            with torch.no_grad():
                self.transformer.wpe.weight.copy_(table * (std * math.sqrt(2)))

    def init_parameter(self, name: str, p: Tensor) -> None:
        """Fill `p` as a fresh model has the parameter called `name`."""
        std = self.config.initializer_range
        if name.endswith("bias") or name == "transformer.segment_gate":
            nn.init.zeros_(p)
        elif p.dim() == 1:  # norms
            nn.init.constant_(p, 0.0 if self.transformer.gemma else 1.0)
        elif name.endswith(("c_proj.weight", "o_proj.weight", "down_proj.weight")):
            nn.init.normal_(p, std=std / math.sqrt(2 * self.config.n_layer))
        else:
            nn.init.normal_(p, std=std)

    def take_weights(self, state: Mapping[str, Tensor]) -> None:
        """Make the tensors of `state` the weights of a model on the meta device; none is copied."""
        self.load_state_dict(state, assign=True)
        if self.config.rotary:
            self.transformer.set_frequencies(self.config)

    def resize_vocabulary(self, vocab_size: int) -> None:
        """Grow (or cut) the tied word embedding; new rows start at the mean of the old ones.

        New rows from scratch noise would be drawn far too often at first (Hewitt 2021, "Initializing
        new word embeddings for pretrained language models").
        """
        old = self.transformer.wte.weight
        if vocab_size == old.shape[0]:
            return
        new = nn.Embedding(vocab_size, self.config.n_embd).to(old.device, old.dtype)
        with torch.no_grad():
            keep = min(vocab_size, old.shape[0])
            new.weight[:keep] = old[:keep]
            if vocab_size > keep:
                noise = torch.randn_like(new.weight[keep:]) * 0.01 * old.std()
                new.weight[keep:] = old.mean(0, keepdim=True) + noise
        self.transformer.wte = new
        if not self.config.tied:
            raise CheckpointError("an untied output embedding cannot grow; choose a model with a tied one")
        self.config = self.config.replace(vocab_size=vocab_size)

    def cut_positions(self, n_positions: int) -> None:
        """Keep the first `n_positions` position embeddings: what was never trained only misleads."""
        if not self.config.rotary:
            kept = self.transformer.wpe.weight.detach()[:n_positions].clone()
            self.transformer.wpe = nn.Embedding.from_pretrained(kept, freeze=False)
        self.config = self.config.replace(n_positions=n_positions)

    @property
    def device(self) -> torch.device:
        return self.transformer.wte.weight.device

    def num_parameters(self) -> int:
        """Parameters, the tied output embedding counted once."""
        return sum(p.numel() for p in self.parameters())

    # -- computing --------------------------------------------------------------------------------

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        segment_ids: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Hidden states `[B, T, D]` after the last norm.

        `input_ids`, `position_ids`, `segment_ids`: `[B, T]` integers; a segment id is a token id, looked
        up in the word embedding (transformers' `token_type_ids`). `mask`: boolean `[B, 1, T, T]`, True
        where attention is allowed; None means causal.
        """
        t = self.transformer
        x = t.embed(input_ids, position_ids, segment_ids)
        for block, context in zip(t.h, t.contexts(position_ids, mask, x.dtype), strict=True):
            if self.gradient_checkpointing and self.training:
                x = checkpoint(block, x, *context, use_reentrant=False)
            else:
                x = block(x, *context)
        return t.ln_f(x)  # type: ignore[no-any-return]

    def lm_logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits `[..., V]` of the given hidden states `[..., D]`."""
        return F.linear(hidden, self.output_weight)

    @property
    def output_weight(self) -> Tensor:
        """The output embedding `[V, D]`: the word embedding, unless the shape says otherwise."""
        return self.transformer.wte.weight if self.config.tied else self.lm_head.weight

    def mc_logits(self, hidden: Tensor) -> Tensor:
        """Next-sentence scores `[...]` of hidden states `[..., D]`, taken at each reply's `<eos>`.

        A model with a match head adds `match_scores` to them.
        """
        return self.multiple_choice_head(hidden)  # type: ignore[no-any-return]

    def match_scores(self, batch: MatchInput, count: int) -> Tensor:
        """What shared words add to the next-sentence scores `[count]` of a batch's candidates."""
        if self.match_head is None:
            return torch.zeros(count, device=self.device)
        words = self.transformer.wte.weight
        return self.match_head(  # type: ignore[no-any-return]
            words, batch.input_ids, batch.said, batch.answers, batch.owner, count
        )


def sinusoids(length: int, dim: int) -> Tensor:
    """`[length, dim]` sines and cosines, interleaved (Vaswani et al. 2017, §3.5)."""
    position = torch.arange(length).unsqueeze(1)
    rate = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    table = torch.zeros(length, dim)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate[: dim // 2])
    return table
