"""The double-heads GPT: one class for training and inference, OpenAI GPT and GPT-2 blocks.

Parameter names are those of transformers, so that their checkpoints load here and ours load there
(see convai.model.checkpoint). Two things differ from transformers' own modules: every family has a key-value
cache and fused attention, and the language-model logits are computed only where they are asked for.

Sources: Radford et al. 2018 ("Improving language understanding by generative pre-training", blocks with
the norm after the addition), Radford et al. 2019 (GPT-2, the norm before), Wolf et al. 2019
(arXiv 1901.08149, two heads, segment embeddings).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from convai.model.attention import attend
from convai.model.kv_cache import KVCache
from convai.model.match_head import MatchHead, MatchInput
from convai.model.shape import Shape


class Conv1D(nn.Module):
    """A linear layer with its weight stored `[in, out]`, as in OpenAI's releases and transformers."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:  # (..., n_in) -> (..., n_out)
        return F.linear(x, self.weight.t(), self.bias)


class Attention(nn.Module):
    """Multi-head self-attention over `[B, T, D]`, through torch's fused kernels."""

    def __init__(self, config: Shape) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.dropout = config.attn_pdrop
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor, mask: Tensor | None, cache: KVCache | None, layer: int) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.c_attn(x).view(b, t, 3, self.n_head, d // self.n_head).permute(2, 0, 3, 1, 4)
        if cache is not None:
            k, v = cache.append(layer, k, v)
        out = attend(q, k, v, mask, self.dropout if self.training else 0.0)
        out = self.c_proj(out.transpose(1, 2).reshape(b, t, d))
        return self.resid_dropout(out)  # type: ignore[no-any-return]


class MLP(nn.Module):
    """The feed-forward part, with the tanh approximation of GELU that both families use."""

    def __init__(self, config: Shape) -> None:
        super().__init__()
        self.c_fc = Conv1D(config.n_embd, config.inner_size)
        self.c_proj = Conv1D(config.inner_size, config.n_embd)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One transformer block; `pre_norm` tells GPT-2 (norm before) from OpenAI GPT (norm after)."""

    def __init__(self, config: Shape, layer: int) -> None:
        super().__init__()
        self.pre_norm = config.pre_norm
        self.layer = layer
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, mask: Tensor | None, cache: KVCache | None = None) -> Tensor:
        if self.pre_norm:
            x = x + self.attn(self.ln_1(x), mask, cache, self.layer)
            return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]
        x = self.ln_1(x + self.attn(x, mask, cache, self.layer))
        return self.ln_2(x + self.mlp(x))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """The trunk: summed embeddings and blocks."""

    def __init__(self, config: Shape) -> None:
        super().__init__()
        self.wte = _embedding(config.vocab_size, config.n_embd)
        self.wpe = _embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(Block(config, i) for i in range(config.n_layer))
        # OpenAI GPT ends with its last block's norm
        self.ln_f = (
            nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon) if config.pre_norm else nn.Identity()
        )


def _embedding(rows: int, dim: int) -> nn.Embedding:
    """An embedding that `init_weights` fills, without nn.Embedding's own draw.

    On the meta device, where a checkpoint's model is built, such a draw imports torch's compiler: a second
    of every start.
    """
    return nn.Embedding.from_pretrained(torch.empty(rows, dim), freeze=False)  # type: ignore[no-any-return]


class SummaryHead(nn.Module):
    """A score from one hidden state (transformers' SequenceSummary of type `cls_index`)."""

    def __init__(self, config: Shape) -> None:
        super().__init__()
        self.first_dropout = nn.Dropout(config.summary_first_dropout)
        self.summary = nn.Linear(config.n_embd, 1)

    def forward(self, hidden: Tensor) -> Tensor:  # (..., D) -> (...)
        return self.summary(self.first_dropout(hidden)).squeeze(-1)  # type: ignore[no-any-return]


class DoubleHeadsModel(nn.Module):
    """A GPT with a language-model head (tied to the word embedding) and a next-sentence head."""

    def __init__(self, config: Shape) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
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
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif p.dim() == 1:
                nn.init.ones_(p)
            elif name.endswith("c_proj.weight"):
                nn.init.normal_(p, std=std / math.sqrt(2 * self.config.n_layer))
            else:
                nn.init.normal_(p, std=std)
        if positions == "sinusoid":
            table = sinusoids(self.config.n_positions, self.config.n_embd)
            with torch.no_grad():
                self.transformer.wpe.weight.copy_(table * (std * math.sqrt(2)))

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
        self.config = self.config.replace(vocab_size=vocab_size)

    def cut_positions(self, n_positions: int) -> None:
        """Keep the first `n_positions` position embeddings: what was never trained only misleads."""
        kept = self.transformer.wpe.weight.detach()[:n_positions].clone()
        self.transformer.wpe = nn.Embedding.from_pretrained(kept, freeze=False)
        self.config = self.config.replace(n_positions=n_positions)

    @property
    def device(self) -> torch.device:
        return self.transformer.wpe.weight.device

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
        cache: KVCache | None = None,
    ) -> Tensor:
        """Hidden states `[B, T, D]` after the last norm.

        `input_ids`, `position_ids`, `segment_ids`: `[B, T]` integers; a segment id is a token id, looked
        up in the word embedding (transformers' `token_type_ids`). `mask`: boolean `[B, 1, T, S]`, True
        where attention is allowed; None means causal. With a `cache` the keys of the new tokens are
        appended to it and S counts the cached ones too.
        """
        t = self.transformer
        x = t.wte(input_ids) + t.wpe(position_ids)
        if segment_ids is not None:
            x = x + t.wte(segment_ids)
        x = t.drop(x)
        if cache is not None and mask is None and input_ids.shape[1] > 1:
            mask = cache.causal_mask(input_ids.shape[1], x.device)
        for block in t.h:
            # what a cache keeps must not be appended to it a second time
            if self.gradient_checkpointing and self.training and cache is None:
                x = checkpoint(block, x, mask, use_reentrant=False)
            else:
                x = block(x, mask, cache)
        return t.ln_f(x)  # type: ignore[no-any-return]

    def lm_logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits `[..., V]` of the given hidden states `[..., D]`."""
        return F.linear(hidden, self.transformer.wte.weight)

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
