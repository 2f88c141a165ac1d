"""The objectives of training: language modelling, next-sentence classification, and what a teacher adds.

Cross-entropy over a vocabulary never holds all the logits. The usual way writes logits, log-probabilities and
their gradients for every token, 4 V bytes each. Here the hidden states go through in chunks that stay in the
processor's cache, and the gradient of a chunk is computed beside its loss: one pass, and memory that does not
grow with the number of tokens. (The idea: Wijmans et al. 2024, "Cut Your Losses in Large-Vocabulary Language
Models", §4.)

The divergence from a teacher goes the same way (Hinton, Vinyals & Dean 2015, "Distilling the knowledge in a
neural network", §2): both distributions are softened by a temperature T, and the loss is scaled by T² so that
its gradient keeps its size whatever T. The divergence is used rather than the cross-entropy: the gradient is
the same, and 0 means "as the teacher".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from convai.model.double_heads import DoubleHeadsModel
from convai.training.batches import Batch
from convai.training.preferences import RatedReplies, slopes

CHUNK: Final = 256
"""Hidden states at a time; 256 rows of an 8k vocabulary are 8 MB in float32."""

LossOfLogits = Callable[[Tensor, slice, bool], tuple[Tensor, Tensor | None]]
"""From the logits `[n, V]` of some rows, which it may overwrite: their summed loss and, where it is wanted,
the gradient of that for the logits.
"""


@dataclass(slots=True)
class Losses:
    """Sums over a batch, so that batches of different sizes add up exactly.

    `lm`: summed cross-entropy (nats) of `n_labels` words; `mc`: of `n_choices` next-sentence choices;
    `hits`: choices where the gold reply scored highest. Where there is a teacher (see `distillation`):
    `soft_lm` and `soft_mc`, the divergence from it over words and choices; `states`, the distance of hidden
    states over tokens. Where replies are preferred to others (see `preferences`): `preference`, over pairs.
    """

    lm: Tensor
    mc: Tensor
    n_labels: int
    n_choices: int
    hits: int
    soft_lm: Tensor | float = 0.0
    soft_mc: Tensor | float = 0.0
    states: Tensor | float = 0.0
    preference: Tensor | float = 0.0


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
    losses = Losses(lm, mc, batch.n_labels, batch.n_choices, hits)
    if batch.rated is not None:
        losses.preference = preference_loss(flat, model.output_weight, batch.rated)
    return losses


def preference_loss(hidden: Tensor, weight: Tensor, rated: RatedReplies) -> Tensor:
    """Summed loss of pairs of replies (`preferences.odds_ratio_loss`), from hidden states `[N, D]`.

    Two passes over the vocabulary: what a token's log-probability counts for is known once those of all
    tokens are, and then it is the weight of its cross-entropy.
    """
    states = hidden[rated.places]
    value, slope = slopes(-cross_entropies(states, weight, rated.labels), rated)
    loss = linear_cross_entropy(states, weight, rated.labels, -slope)
    return loss + (value - loss.detach())


# -- over a vocabulary, in chunks ----------------------------------------------------------------------


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, counts: Tensor | None = None
) -> Tensor:
    """Summed cross-entropy (nats) of `labels` `[N]` under the logits `hidden @ weight.T`, `[N, V]`.

    `hidden`: `[N, D]`, `weight`: `[V, D]`; `counts` `[N]`: how many times each label counts, once by default.
    Matrix products run in autocast's type where it is on; softmax and sums in float32.
    """

    def loss(logits: Tensor, rows: slice, wanted: bool) -> tuple[Tensor, Tensor | None]:
        y = labels[rows, None]
        lse = logits.logsumexp(-1, keepdim=True)
        each = lse - logits.gather(1, y)
        total = (each if counts is None else each * counts[rows, None]).sum()
        if not wanted:
            return total, None
        probs = logits.sub_(lse).exp_()
        slope = probs.scatter_add_(1, y, probs.new_full((), -1.0).expand_as(y))
        return total, slope if counts is None else slope.mul_(counts[rows, None])

    return _ChunkedLoss.apply(hidden, weight, loss)  # type: ignore[no-any-return, no-untyped-call]


def cross_entropies(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """Each label's own cross-entropy `[N]`, without a gradient; otherwise as `linear_cross_entropy`."""
    each: list[Tensor] = []

    def keep(logits: Tensor, rows: slice, wanted: bool) -> tuple[Tensor, Tensor | None]:
        each.append(F.cross_entropy(logits, labels[rows], reduction="none"))
        return logits.new_zeros(()), None

    # a frozen weight stays itself: `_in_type` knows it in another type already
    weight = weight.detach() if weight.requires_grad else weight
    _ChunkedLoss.apply(hidden.detach(), weight, keep)  # type: ignore[no-untyped-call]
    return torch.cat(each)


def linear_divergence(
    hidden: Tensor, weight: Tensor, teacher_hidden: Tensor, teacher_weight: Tensor, temperature: float = 1.0
) -> Tensor:
    """Summed T² · KL(teacher ‖ student) (nats) over the vocabulary, for N words.

    `hidden` `[N, D]` and `weight` `[V, D]` give the student's logits `hidden @ weight.T`, the other two
    `[N, E]` and `[V, E]` the teacher's, which gets no gradient. Types as in `linear_cross_entropy`.
    """
    t, dtype = temperature, _product_type(hidden, weight)
    wise_hidden, wise_weight = teacher_hidden.detach(), teacher_weight.detach().to(dtype)

    def loss(logits: Tensor, rows: slice, wanted: bool) -> tuple[Tensor, Tensor | None]:
        wise = (wise_hidden[rows].to(dtype) @ wise_weight.t()).float().div_(t).log_softmax(-1)
        own = logits.div_(t).log_softmax(-1)
        target = wise.exp()
        total = torch.vdot(target.view(-1), wise.sub_(own).view(-1)) * t**2
        # of the logits: T² from the loss, 1 / T from the softened logits
        return total, own.exp_().sub_(target).mul_(t) if wanted else None

    return _ChunkedLoss.apply(hidden, weight, loss)  # type: ignore[no-any-return, no-untyped-call]


def _product_type(hidden: Tensor, weight: Tensor) -> torch.dtype:
    """What matrix products are computed in."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


_shorter: WeakIdKeyDictionary = WeakIdKeyDictionary()
"""Frozen weight -> its version and what it is in another type: the same in every pass."""


def _in_type(weight: Tensor, dtype: torch.dtype) -> Tensor:
    if weight.requires_grad or weight.dtype == dtype:
        return weight.to(dtype)
    known: tuple[int, Tensor] | None = _shorter.get(weight)
    if known is None or known[0] != weight._version or known[1].dtype != dtype:
        known = _shorter[weight] = weight._version, weight.to(dtype)
    return known[1]


class _ChunkedLoss(torch.autograd.Function):
    """A summed loss of the logits `hidden @ weight.T`, which are never held for more than CHUNK rows."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, loss: LossOfLogits) -> Tensor:
        dtype, wanted = _product_type(hidden, weight), any(ctx.needs_input_grad)
        with torch.autocast(hidden.device.type, enabled=False):
            w = _in_type(weight, dtype)
            grad_hidden = torch.empty_like(hidden, dtype=dtype) if wanted else None
            # a frozen embedding asks for none: half of the backward work here
            grad_weight = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
            total = torch.zeros((), dtype=torch.float32, device=hidden.device)
            for start in range(0, hidden.shape[0], CHUNK):
                rows = slice(start, start + CHUNK)
                h = hidden[rows].to(dtype)
                value, of_logits = loss((h @ w.t()).float(), rows, wanted)
                total += value
                if grad_hidden is not None and of_logits is not None:
                    grad = of_logits.to(dtype)
                    grad_hidden[rows] = grad @ w
                    if grad_weight is not None:
                        grad_weight += grad.t() @ h
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.types = hidden.dtype, weight.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, Tensor | None, None]:
        (scale,) = grads
        grad_hidden, grad_weight = ctx.saved_tensors
        if grad_hidden is None:
            return None, None, None
        for_weight = None if grad_weight is None else (grad_weight * scale).to(ctx.types[1])
        return (grad_hidden * scale).to(ctx.types[0]), for_weight, None


# -- as a teacher has it -------------------------------------------------------------------------------


def choice_divergence(scores: Tensor, teacher_scores: Tensor, temperature: float = 1.0) -> Tensor:
    """Summed T² · KL(teacher ‖ student) over the candidates of M replies, scores `[M, C]`.

    Listwise, as a ranking is distilled: what counts is how the candidates compare. A candidate that is not
    there (-inf in both) has no part in it.
    """
    absent = teacher_scores == -torch.inf
    own = (scores / temperature).log_softmax(-1).masked_fill(absent, 0.0)
    wise = (teacher_scores / temperature).log_softmax(-1).masked_fill(absent, 0.0)
    target = wise.exp().masked_fill(absent, 0.0)
    return (target * (wise - own)).sum() * temperature**2


def state_distance(states: Tensor, teacher_states: Tensor) -> Tensor:
    """Summed 1 - cos of the angles between hidden states `[N, D]`, in float32 (DistilBERT's L_cos)."""
    return (1 - F.cosine_similarity(states.float(), teacher_states.float(), dim=-1)).sum()
