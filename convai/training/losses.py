"""Both objectives of the blog post: language modelling and next-sentence classification."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from convai.model.double_heads import DoubleHeadsModel
from convai.training.batches import Batch
from convai.training.cross_entropy import linear_cross_entropy


@dataclass(slots=True)
class Losses:
    """Sums over a batch, so that batches of different sizes add up exactly.

    `lm`: summed cross-entropy (nats) of `n_labels` words; `mc`: of `n_choices` next-sentence choices;
    `hits`: choices where the gold reply scored highest. Where there is a teacher (see `distillation`):
    `soft_lm` and `soft_mc`, the divergence from it over words and choices; `states`, the distance of hidden
    states over tokens.
    """

    lm: Tensor
    mc: Tensor
    n_labels: int
    n_choices: int
    hits: int
    soft_lm: Tensor | float = 0.0
    soft_mc: Tensor | float = 0.0
    states: Tensor | float = 0.0


def choice_scores(model: DoubleHeadsModel, hidden: Tensor, batch: Batch) -> Tensor:
    """Next-sentence scores `[M, C]` of a batch whose hidden states are `[B, T, D]`; -inf where a reply has
    fewer candidates. A match head, where the model has one, adds its own.
    """
    places = batch.mc_places
    states = hidden.reshape(-1, hidden.shape[-1])[places.clamp(min=0)]
    scores = model.mc_logits(states).float()
    if model.match_head is not None:
        scores = scores + model.match_scores(batch, places.numel()).view_as(scores)
    return scores.masked_fill(places < 0, -torch.inf)


def compute_losses(model: DoubleHeadsModel, batch: Batch) -> Losses:
    """Run the model on `batch` and sum both losses (equations: Wolf et al. 2019, §3).

    The vocabulary's logits are computed only for the hidden states that have a label.
    """
    return losses_of(model, batch, model(batch.input_ids, batch.position_ids, batch.segment_ids, batch.mask))


def losses_of(model: DoubleHeadsModel, batch: Batch, hidden: Tensor) -> Losses:
    """Both losses from the hidden states `[B, T, D]` that `model` has for `batch`."""
    flat = hidden.reshape(-1, hidden.shape[-1])
    lm = mc = flat[:0].float().sum()  # 0, and still something to go backward from
    hits = 0
    if batch.n_labels:
        weight = model.output_weight
        lm = linear_cross_entropy(flat[batch.lm_places], weight, batch.lm_labels)
    if batch.n_choices:
        scores = choice_scores(model, hidden, batch)
        gold = torch.full((scores.shape[0],), scores.shape[1] - 1, device=scores.device)
        mc = F.cross_entropy(scores, gold, reduction="sum")
        hits = int((scores.argmax(1) == gold).sum())
    return Losses(lm, mc, batch.n_labels, batch.n_choices, hits)
