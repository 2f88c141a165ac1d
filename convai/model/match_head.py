"""Word overlap, seen directly: the part of the next-sentence score that compares words with words.

Which reply answers a history is largely told by the words they share: TF-IDF alone ranks the right one of
20 first in half of PERSONA-CHAT's cases. A small transformer takes long to learn to look for equal words, so
this head is given that look: every word of a reply is compared with the words of the persona, of the last
turn and of the earlier turns, and the best match of each counts as much as the word is telling. It is late
interaction (Khattab & Zaharia 2020, "ColBERT", §3.3: the sum over one side's words of their best match on
the other) on word embeddings instead of hidden states, with word weights that are learnt, as inverse
document frequencies would be chosen, and TF-IDF's division by the reply's own length.
"""

from __future__ import annotations

from typing import Final, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convai.model.undrawn import Linear

SOURCES: Final = 3
"""Where a word can be found again: the persona, the turn that is answered, the turns before it."""

_HIDDEN: Final = 32
_SHARPNESS: Final = 8.0
"""A similarity s (a cosine) counts as exp(8 (s - 1)): an equal word 1, an unrelated one next to nothing."""


class MatchInput(Protocol):
    """What a batch tells of its words, `[B, T]` each (see `MatchHead.forward`)."""

    @property
    def input_ids(self) -> Tensor: ...
    @property
    def said(self) -> Tensor: ...
    @property
    def answers(self) -> Tensor: ...
    @property
    def owner(self) -> Tensor: ...


class MatchHead(nn.Module):
    """Scores replies by the words that they share with what came before.

    The word embeddings are read, never changed: their gradients belong to the language model.
    """

    def __init__(self, n_embd: int, size: int) -> None:
        """`size`: dimensions that words are compared in."""
        super().__init__()
        self.projection = Linear(n_embd, size, bias=False)
        self.inner = Linear(n_embd, _HIDDEN)
        self.weights = Linear(_HIDDEN, SOURCES)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(
        self, embeddings: Tensor, words: Tensor, said: Tensor, answers: Tensor, owner: Tensor, count: int
    ) -> Tensor:
        """Scores `[count]` of the candidates whose words are in `words` `[B, T]`.

        `said` `[B, T]`: the turn in which a word was said before (0: the persona), -1 for what nobody said
        (control tokens, padding, wrong replies). `answers`: of a candidate's words the number of their
        turn, so that turn - 1 is what it answers; -1 elsewhere. `owner`: the candidate that a word belongs
        to, -1 for none. `embeddings` `[V, D]`.
        """
        with torch.autocast(words.device.type, enabled=False):
            states = F.embedding(words, embeddings.detach().float())
            directions = F.normalize(self.projection(states), dim=-1)
            similarity = directions @ directions.transpose(1, 2)  # [B, T (reply), T (before)]
            turn, reply = said.unsqueeze(1), answers.unsqueeze(2)
            places = (turn == 0, (turn > 0) & (turn == reply - 1), (turn > 0) & (turn < reply - 1))
            best = torch.stack([similarity.masked_fill(~p, -torch.inf).amax(-1) for p in places], -1)
            found = torch.exp(_SHARPNESS * (best - 1))  # [B, T, SOURCES]; 0 where there is nothing
            # every embedding brought to one length: how telling a word is is then its direction's to say
            telling = F.softplus(
                self.weights(torch.tanh(self.inner(F.layer_norm(states, states.shape[-1:]))))
            )
            mine = owner >= 0
            candidate = owner[mine]
            zeros = torch.zeros(count, device=words.device)
            matched = zeros.index_add(0, candidate, (telling * found).sum(-1)[mine])
            length = zeros.index_add(0, candidate, telling.square().sum(-1)[mine])
            return self.scale * matched * (length + 1).rsqrt() * _GAIN


_GAIN: Final = 8.0
"""Brings a fresh head's scores to the size of logits that matter."""
