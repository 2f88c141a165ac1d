"""The two networks: how well a pair fits together, and how well a mention stands alone.

After Clark & Manning 2016, "Deep Reinforcement Learning for Mention-Ranking Coreference Models", §3: words as
vectors, a hidden layer for the pair, a score for the pair and one for having no antecedent. What a mention
contributes to a pair's first layer is computed once a mention, not once a pair.

A model with a context also takes the state of a mention's head word in a pretrained language model
(`contexts`) or in an encoder of its own (`encoder`): as one more part of the mention, and, as in Lee et al.
2018 (arXiv 1804.05392, §3), in products of what two mentions say, several small ones a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from convai.coref.encoder import EncoderShape, WordEncoder
from convai.coref.features import CATEGORIES, WORDS, MentionTable
from convai.coref.pairs import CROSSES, FEATURES, SUMMARY, Window
from convai.model.folder import BaseReference


@dataclass(frozen=True)
class Context:
    """The language model whose states a model takes, and how."""

    base: BaseReference | None
    """None: the model has an encoder of its own."""
    layer: int
    """After how many blocks."""
    width: int
    """Length of a state."""
    products: int = 16
    """Products a pair."""
    product_size: int = 16
    """Numbers that each is a sum of."""
    encoder: EncoderShape | None = None


@dataclass(frozen=True)
class CorefConfig:
    """Sizes of the model and how far it looks back."""

    words: int = 0
    """Rows of the table of word vectors."""
    vector: int = 64
    """Length of a word vector."""
    learnt: int = 3000
    """The first rows, which have a learnt part as well."""
    learnt_size: int = 24
    mention: int = 192
    pair: int = 160
    second: int = 64
    window: Window = field(default_factory=Window)
    context: Context | None = None

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        values = asdict(self)
        if self.context is None:
            del values["context"]
        return values


class CorefModel(nn.Module):
    """Scores pairs of mentions and mentions alone."""

    vectors: Tensor
    category_offsets: Tensor
    state_mean: Tensor
    state_scale: Tensor

    def __init__(
        self, config: CorefConfig, vectors: Tensor, dropout: float = 0.0, pieces: Sequence[str] = ()
    ) -> None:
        """`pieces`: those of the encoder, where the configuration has one."""
        super().__init__()
        self.config = c = config
        self.register_buffer("vectors", vectors)  # [words, vector], fixed
        self.learnt = nn.Embedding(c.learnt, c.learnt_size)
        size = c.vector + c.learnt_size
        self.of_words = nn.Linear(WORDS * size, c.mention)
        self.of_averages = nn.Linear(2 * size, c.mention, bias=False)
        self.of_categories = nn.EmbeddingBag(sum(CATEGORIES.values()), c.mention, mode="sum")
        self.mention = nn.Linear(c.mention, c.mention)
        self.as_later = nn.Linear(c.mention, c.pair)
        self.as_earlier = nn.Linear(c.mention, c.pair, bias=False)
        self.of_pair = nn.Linear(len(FEATURES), c.pair, bias=False)
        self.of_cross = nn.Embedding(CROSSES, c.pair)
        if c.context is not None:
            inputs, size = c.context.width, c.context.products * c.context.product_size
            self.register_buffer("state_mean", torch.zeros(inputs))
            self.register_buffer("state_scale", torch.ones(inputs))
            self.of_state = nn.Linear(inputs, c.mention, bias=False)
            self.product_later = nn.Linear(inputs + c.mention, size)
            self.product_earlier = nn.Linear(inputs + c.mention, size)
            self.of_products = nn.Linear(c.context.products, c.pair, bias=False)
        shape = None if c.context is None else c.context.encoder
        self.encoder = None if shape is None else WordEncoder(shape, pieces)
        self.second = nn.Linear(c.pair, c.second)
        self.score = nn.Linear(c.second, 1)
        self.alone = nn.Linear(c.mention + len(SUMMARY) + 1, c.pair)
        self.alone_second = nn.Linear(c.pair, c.second)
        self.alone_score = nn.Linear(c.second, 1)
        self.drop = nn.Dropout(dropout)
        offsets = np.cumsum([0, *list(CATEGORIES.values())[:-1]])
        self.register_buffer("category_offsets", torch.from_numpy(offsets), persistent=False)
        nn.init.normal_(self.learnt.weight, std=0.1)
        nn.init.normal_(self.of_categories.weight, std=0.1)
        nn.init.normal_(self.of_cross.weight, std=0.05)
        if c.context is not None:  # a model that goes on from one without states starts as that one
            nn.init.zeros_(self.of_state.weight)
            nn.init.zeros_(self.of_products.weight)

    def word_vectors(self, rows: Tensor) -> Tensor:
        """`[...]` rows → `[..., vector + learnt_size]`."""
        frequent = torch.where(rows < self.config.learnt, rows, 1)
        return torch.cat((functional.embedding(rows, self.vectors), self.learnt(frequent)), dim=-1)

    def encode(
        self,
        words: Tensor,
        spans: Tensor,
        categories: Tensor,
        tokens: Tensor,
        states: Tensor | None = None,
    ) -> Tensor:
        """Mentions `[n, mention]` from columns of MentionTable and the tokens `[t]` that spans point to.

        `states` `[n, width]`: those of the head words, where the model has a context.
        """
        n = len(words)
        sums = torch.zeros(len(tokens) + 1, self.config.vector + self.config.learnt_size)
        sums = torch.cat((sums[:1], self.word_vectors(tokens).cumsum(0)))
        lengths = (spans[:, 1::2] - spans[:, ::2]).unsqueeze(2)
        averages = (sums[spans[:, 1::2]] - sums[spans[:, ::2]]) / lengths  # [n, 2, size]
        hidden = self.of_words(self.drop(self.word_vectors(words).view(n, -1)))
        hidden = hidden + self.of_averages(self.drop(averages.reshape(n, -1)))
        hidden = hidden + self.of_categories(categories + self.category_offsets)
        if states is not None:
            hidden = hidden + self.of_state(self.drop(self._levelled(states)))
        hidden = self.drop(hidden.relu())
        out: Tensor = self.drop(self.mention(hidden).relu())
        return out

    def sides(self, mentions: Tensor, states: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What mentions `[n, mention]` bring to pairs, as the later and as the earlier one, a row each."""
        later, earlier = self.as_later(mentions), self.as_earlier(mentions)
        if states is None:
            return later, earlier
        known = torch.cat((self.drop(self._levelled(states)), mentions), dim=1)
        products = self.product_later(known), self.product_earlier(known)
        return torch.cat((later, products[0]), dim=1), torch.cat((earlier, products[1]), dim=1)

    @property
    def side_size(self) -> int:
        """Numbers in a row of `sides`."""
        c = self.config
        return c.pair + (0 if c.context is None else c.context.products * c.context.product_size)

    def level(self, states: Tensor) -> None:
        """Have states come in with the mean and variance that `states` `[n, width]` have there."""
        self.state_mean.copy_(states.mean(dim=0))
        self.state_scale.copy_(1 / states.std(dim=0, correction=0).clamp_min(1e-3))

    def _levelled(self, states: Tensor) -> Tensor:
        return ((states - self.state_mean) * self.state_scale).clamp(-_FAR, _FAR)

    def score_pairs(
        self, later: Tensor, earlier: Tensor, i: Tensor, j: Tensor, dense: Tensor, cross: Tensor
    ) -> Tensor:
        """Scores `[pairs]`; `later`, `earlier`: `sides` of the mentions."""
        size, context = self.config.pair, self.config.context
        mask, second = self._columns(size), self._columns(self.config.second)
        products = None
        if context is not None:
            shape = (len(i), context.products, context.product_size)
            a, b = later[:, size:][i].view(shape), earlier[:, size:][j].view(shape)
            products = (a * b).sum(2) * context.product_size**-0.5
            later, earlier = later[:, :size], earlier[:, :size]
        rows = torch.cat((later, earlier, self.of_cross.weight)) * mask
        crosses = len(later) + len(earlier)
        # three rows a pair, gathered and added in one go: a pass over the pairs for each costs twice as much
        hidden = functional.embedding_bag(
            torch.stack((i, j + len(later), cross + crosses), dim=1), rows, mode="sum"
        )
        hidden = torch.addmm(hidden, dense.T, self.of_pair.weight.T * mask)
        if products is not None:
            hidden = torch.addmm(hidden, products, self.of_products.weight.T * mask)
        hidden = self.second(hidden.relu_()).relu_()
        out: Tensor = hidden @ (self.score.weight[0] * second) + self.score.bias
        return out

    def _columns(self, size: int) -> Tensor:
        """Dropout of whole columns, one mask for all pairs; within the weights it costs almost nothing."""
        mask: Tensor = self.drop(torch.ones(size))
        return mask

    def score_alone(self, mentions: Tensor, summary: Tensor) -> Tensor:
        """Scores `[n]` of having no antecedent."""
        hidden = self.drop(self.alone(torch.cat((mentions, summary), dim=1)).relu())
        out: Tensor = self.alone_score(self.drop(self.alone_second(hidden).relu())).squeeze(-1)
        return out


_FAR: Final = 6.0
"""Standard deviations from the mean beyond which a number of a state says no more."""
_COLUMNS: Final = ("words", "span", "categories")


def tensors(table: MentionTable) -> tuple[Tensor, Tensor, Tensor]:
    """The columns that `encode` takes, as they come."""
    words, span, categories = (torch.from_numpy(getattr(table, name)).long() for name in _COLUMNS)
    return words, span, categories
