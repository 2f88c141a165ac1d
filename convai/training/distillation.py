"""A large double-heads model teaches a small one: soft targets, next-sentence scores, hidden states.

- Words: at every label, the divergence from the teacher's distribution at a temperature (Hinton et al. 2015;
  Sanh et al. 2019, DistilBERT, arXiv 1910.01108, §3).
- Next sentence: the divergence from the teacher's distribution over the candidates of a reply.
- Hidden states: one minus the cosine between the states of a student's block and of the teacher's block that
  stands as deep (DistilBERT's L_cos), at every token that is no padding. Where the widths differ, a learned
  projection comes before (Jiao et al. 2020, TinyBERT, arXiv 1909.10351, §3.1). It is trained with the student
  and belongs to the run: it is saved in the run's checkpoints and never with the model. The cosine, not
  TinyBERT's squared error, because the states of GPT-2's blocks grow with depth, and only their direction
  goes through the next norm. (MiniLM, Wang et al. 2020, arXiv 2002.10957, needs no projection since it
  compares attention maps; the fused attention here never has them.)

Block i of a student with n learns from block round(i · N / n) of a teacher with N, 1 being the first: evenly
spread, the last from the last (TinyBERT's uniform mapping).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from convai.core.settings import TrainConfig
from convai.model.double_heads import DoubleHeadsModel
from convai.model.hidden_states import recorded
from convai.training.batches import Batch
from convai.training.losses import (
    Losses,
    choice_divergence,
    choice_scores,
    linear_divergence,
    losses_of,
    state_distance,
)


def layer_pairs(student: int, teacher: int) -> list[tuple[int, int]]:
    """The student's and the teacher's block, counted from 0, of each pair that is compared."""
    return [(i - 1, max(1, round(i * teacher / student)) - 1) for i in range(1, student + 1)]


class Distiller(nn.Module):
    """The objective of a student: the usual losses, and its distance to a teacher that stays as it is.

    Its parameters are the projections, empty where the widths are equal or hidden states do not count.
    """

    def __init__(
        self, teacher: DoubleHeadsModel, student: DoubleHeadsModel, config: TrainConfig, pad_id: int
    ) -> None:
        """`pad_id` is the word of padding."""
        super().__init__()
        self.config, self.pad_id = config, pad_id
        frozen = teacher.requires_grad_(False).eval().to(student.device)
        self._teacher = (frozen,)  # in a tuple: no part of what is trained, saved or sent to other processes
        self.words = min(teacher.config.vocab_size, student.config.vocab_size)
        """Rows of both embeddings that are words; padding of a vocabulary comes after them."""
        self.pairs = layer_pairs(student.config.n_layer, teacher.config.n_layer)
        self.projections = nn.ModuleList()
        if config.hidden_coef and teacher.config.n_embd != student.config.n_embd:
            self.projections.extend(
                nn.Linear(student.config.n_embd, teacher.config.n_embd, bias=False) for _ in self.pairs
            )
            self.projections.to(student.device)

    @property
    def teacher(self) -> DoubleHeadsModel:
        return self._teacher[0]

    def n_tokens(self, batch: Batch) -> int:
        """Tokens of `batch` that are no padding: what the distance of hidden states is divided by."""
        return int(self._real(batch).sum())

    def forward(self, model: DoubleHeadsModel, batch: Batch) -> Losses:
        """All losses of `model` on `batch`, summed. Those that count nothing are not computed."""
        config, teacher = self.config, self.teacher
        inputs = (batch.input_ids, batch.position_ids, batch.segment_ids, batch.mask)
        with self._states(model) as states:
            hidden = model(*inputs)
        with torch.no_grad(), self._states(teacher) as wise_states:
            wise = teacher(*inputs)
        losses = losses_of(model, batch, hidden)
        if config.soft_lm_coef and batch.n_labels:
            losses.soft_lm = linear_divergence(
                hidden.reshape(-1, hidden.shape[-1])[batch.lm_places],
                model.output_weight[: self.words],
                wise.reshape(-1, wise.shape[-1])[batch.lm_places],
                teacher.output_weight[: self.words],
                config.temperature,
            )
        if config.soft_mc_coef and batch.n_choices:
            with torch.no_grad():
                wise_scores = choice_scores(teacher, wise, batch)
            scores = choice_scores(model, hidden, batch)
            losses.soft_mc = choice_divergence(scores, wise_scores, config.temperature)
        if config.hidden_coef:
            losses.states = self._distance(states, wise_states, self._real(batch))
        return losses

    def _distance(self, states: list[Tensor], wise: list[Tensor], real: Tensor) -> Tensor:
        """The distance of the paired states, a mean over pairs and a sum over tokens."""
        total = torch.zeros((), device=real.device)
        for n, (own, theirs) in enumerate(self.pairs):
            state = states[own][real]
            if len(self.projections):
                state = self.projections[n](state)
            total = total + state_distance(state, wise[theirs][real])
        return total / len(self.pairs)

    def _real(self, batch: Batch) -> Tensor:
        # a token's segment is its speaker; only padding's is the padding word
        return batch.segment_ids != self.pad_id

    @contextlib.contextmanager
    def _states(self, model: DoubleHeadsModel) -> Iterator[list[Tensor]]:
        if not self.config.hidden_coef:
            yield []
            return
        with recorded(model.transformer, ends=False) as states:
            yield states
