"""torchMoji's network: embedding → two bidirectional LSTMs → attention over all three → a head a label set.

Source: Felbo et al. 2017 (arXiv 1708.00524), §3.2 and figure 2; weights have torchMoji's names. Shapes: B
texts, T words of the longest, N words in all, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from convai.core.errors import SettingsError
from convai.emotion.config import EmotionConfig, Head
from convai.emotion.lstm import HardSigmoidLSTM
from convai.emotion.recurrence import Steps


class Encoded(NamedTuple):
    """What the network makes of texts."""

    features: Tensor
    """`[B, F]`"""
    attention: Tensor
    """`[B, T]`: the weight of each word; rows sum to 1, padding has 0."""


class Network(Protocol):
    """What training and evaluation ask of a network: an `EmotionModel`, or a `Teacher`."""

    config: EmotionConfig

    @property
    def device(self) -> torch.device:
        """Where its weights are."""

    def __call__(self, ids: Tensor, lengths: Tensor) -> Encoded:
        """Texts `[B, T]` with their `lengths` `[B]` as features."""

    def logits(self, features: Tensor, head: Head) -> Tensor:
        """`[B, F]` → `[B, labels]`."""

    def train(self, mode: bool = True) -> object:
        """Dropout on, or off."""

    def eval(self) -> object:
        """Dropout off."""


class Packing:
    """Padded ids `[B, T]` as packed rows, longest text first, and the way back."""

    def __init__(self, ids: Tensor, lengths: Tensor) -> None:
        """`lengths` `[B]`, on the processor, each 1 to T."""
        ordered, self.order = torch.sort(lengths, descending=True, stable=True)
        self.longest = int(ordered[0])
        present = torch.arange(self.longest)[:, None] < ordered  # [T, B]
        self.steps = Steps(present.sum(1), device=ids.device)
        self.present = present.to(ids.device)
        self.width = ids.shape[1]
        self.order = self.order.to(ids.device)
        self.rows = ids[self.order, : self.longest].t()[self.present]  # [N]

    def pad(self, rows: Tensor, fill: float) -> Tensor:
        """Packed `[N, ...]` → `[B, T, ...]`, texts still in packed order."""
        padded = rows.new_full((*self.present.shape, *rows.shape[1:]), fill)
        padded[self.present] = rows
        return padded.transpose(0, 1)

    def sum(self, rows: Tensor) -> Tensor:
        """Packed `[N, C]` → the sum of each text `[B, C]`, in packed order."""
        return rows.new_zeros(self.steps.batch, rows.shape[1]).index_add(0, self.steps.sequences, rows)

    def unsort(self, texts: Tensor) -> Tensor:
        """`[B, ...]` in the order of the ids that were given."""
        result = torch.empty_like(texts)
        result[self.order] = texts
        return result


class WordAttention(nn.Module):
    """A weighted mean of a text's words; the weights are a softmax of one learnt projection (§3.2)."""

    def __init__(self, attention_size: int) -> None:
        super().__init__()
        self.attention_vector = nn.Parameter(torch.empty(attention_size))
        nn.init.uniform_(self.attention_vector, -0.05, 0.05)

    def forward(self, parts: tuple[Tensor, ...], packing: Packing) -> Encoded:
        """`parts`: packed rows `[N, *]` that side by side have the width of the vector."""
        vectors = self.attention_vector.split([part.shape[1] for part in parts])
        scores = sum((part @ vector for part, vector in zip(parts, vectors, strict=True)), torch.tensor(0.0))
        weights = packing.pad(scores, -torch.inf).softmax(1)  # [B, T]
        shares = weights.t()[packing.present][:, None]  # [N, 1]
        means = [packing.sum(part * shares) for part in parts]
        attention = nn.functional.pad(weights, (0, packing.width - packing.longest))
        return Encoded(packing.unsort(torch.cat(means, 1)), packing.unsort(attention))


class EmotionModel(nn.Module):
    """The network; `forward` encodes, `logits` classifies what was encoded."""

    def __init__(self, config: EmotionConfig) -> None:
        super().__init__()
        self.config = config
        kind = HardSigmoidLSTM if config.gates == "hard_sigmoid" else nn.LSTM
        hidden = config.hidden_size
        self.embed = nn.Embedding(config.vocab_size, config.embedding_size)
        self.lstm_0 = kind(config.embedding_size, hidden, batch_first=True, bidirectional=True)
        self.lstm_1 = kind(2 * hidden, hidden, batch_first=True, bidirectional=True)
        self.attention_layer = WordAttention(config.feature_size)
        self.final_dropout = nn.Dropout(config.final_dropout)
        self.heads = nn.ModuleDict(
            {head.name: nn.Linear(config.feature_size, len(head.labels)) for head in config.heads}
        )
        for module in (self.embed, self.lstm_0, self.lstm_1, *self.heads.values()):
            initialise(module)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embed.weight.device

    def embedded(self, packing: Packing) -> Tensor:
        """Bounded embeddings `[N, E]`; in training whole channels of a text are dropped (as in Keras)."""
        x = torch.tanh(self.embed(packing.rows))
        if self.training and self.config.embed_dropout:
            keep = 1 - self.config.embed_dropout
            mask = torch.bernoulli(x.new_full((packing.steps.batch, x.shape[1]), keep)) / keep
            x = x * mask[packing.steps.sequences]
        return x

    def forward(self, ids: Tensor, lengths: Tensor) -> Encoded:
        """Word ids `[B, T]`, padded behind; `lengths` `[B]` on the processor, each at least 1."""
        packing = Packing(ids, lengths)
        x = self.embedded(packing)
        sizes = torch.tensor(packing.steps.sizes)
        first = self.lstm_0(PackedSequence(x, sizes))[0].data
        second = self.lstm_1(PackedSequence(first, sizes))[0].data
        # the order of the pretrained weights
        encoded: Encoded = self.attention_layer((second, first, x), packing)
        return encoded

    def logits(self, features: Tensor, head: Head) -> Tensor:
        """`[B, F]` → `[B, labels]`."""
        scores: Tensor = self.heads[head.name](self.final_dropout(features))
        return scores

    def num_parameters(self) -> int:
        """All weights, counted."""
        return sum(p.numel() for p in self.parameters())


def with_heads(model: EmotionModel, names: Sequence[str]) -> EmotionModel:
    """A model of the same weights with the heads of `names` only, in that order. Raises SettingsError."""
    there = {head.name: head for head in model.config.heads}
    for name in names:
        if name not in there:
            raise SettingsError(f"heads: {name!r} is none of the model's ({', '.join(there) or 'none'})")
    kept = EmotionModel(model.config.replace(heads=tuple(there[name] for name in names)))
    state = model.state_dict()
    kept.load_state_dict({name: state[name] for name in kept.state_dict()})
    return kept.train(model.training)


def probabilities(logits: Tensor, head: Head) -> Tensor:
    """Logits of a head as probabilities of its labels."""
    return logits.sigmoid() if head.multi else logits.softmax(-1)


def initialise(module: nn.Module) -> None:
    """Keras' defaults: Glorot for inputs, orthogonal for recurrences, forget gates open by 1, zeros else.

    Keras 2's `LSTM(unit_forget_bias=True)`, `Dense`, and DeepMoji's `Embedding` in (-0.5, 0.5). torchMoji
    starts the forget gates at 0.
    """
    if isinstance(module, nn.Embedding):
        nn.init.uniform_(module.weight, -0.5, 0.5)
        return
    for name, p in module.named_parameters():
        if "weight_hh" in name:
            nn.init.orthogonal_(p)
        elif "weight" in name:
            nn.init.xavier_uniform_(p)
        else:
            nn.init.zeros_(p)
            if "bias_ih" in name:
                p.data.chunk(4)[1].fill_(1.0)
