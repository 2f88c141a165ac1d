"""How far a student's distributions are from its teacher's: the losses of distillation.

Source: Hinton, Vinyals & Dean 2015, "Distilling the knowledge in a neural network", §2: both distributions
are softened by a temperature T, and the loss is scaled by T² so that its gradient keeps its size whatever T.
The divergence is used rather than the cross-entropy: the gradient is the same, and 0 means "as the teacher".
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convai.training.cross_entropy import CHUNK


def linear_divergence(
    hidden: Tensor, weight: Tensor, teacher_hidden: Tensor, teacher_weight: Tensor, temperature: float = 1.0
) -> Tensor:
    """Summed T² · KL(teacher ‖ student) (nats) over the vocabulary, for N words.

    `hidden` `[N, D]` and `weight` `[V, D]` give the student's logits `hidden @ weight.T`, the other two
    `[N, E]` and `[V, E]` the teacher's, which gets no gradient. Logits are never held for more than CHUNK
    words: the gradient of a chunk is computed beside its loss, as in `cross_entropy`. Matrix products
    run in autocast's type where it is on, softmax and sums in float32.
    """
    return _LinearDivergence.apply(  # type: ignore[no-any-return, no-untyped-call]
        hidden, weight, teacher_hidden.detach(), teacher_weight.detach(), temperature
    )


class _LinearDivergence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, teacher_hidden: Tensor, teacher_weight: Tensor, t: float
    ) -> Tensor:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        wanted = any(ctx.needs_input_grad)
        with torch.autocast(kind, enabled=False):
            w, teacher_w = weight.to(dtype), teacher_weight.to(dtype)
            grad_hidden = torch.empty_like(hidden, dtype=dtype) if wanted else None
            # a frozen embedding asks for none
            grad_weight = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
            total = torch.zeros((), dtype=torch.float32, device=hidden.device)
            for start in range(0, hidden.shape[0], CHUNK):
                h = hidden[start : start + CHUNK].to(dtype)
                teacher_h = teacher_hidden[start : start + CHUNK].to(dtype)
                wise = (teacher_h @ teacher_w.t()).float().div_(t).log_softmax(-1)
                own = (h @ w.t()).float().div_(t).log_softmax(-1)
                target = wise.exp()
                total += torch.vdot(target.view(-1), wise.sub_(own).view(-1)) * t**2
                if grad_hidden is not None:
                    # of the logits: T² from the loss, 1 / T from the softened logits
                    grad = own.exp_().sub_(target).mul_(t).to(dtype)
                    grad_hidden[start : start + CHUNK] = grad @ w
                    if grad_weight is not None:
                        grad_weight += grad.t() @ h
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.types = hidden.dtype, weight.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        (scale,) = grads
        grad_hidden, grad_weight = ctx.saved_tensors
        if grad_hidden is None:
            return None, None, None, None, None
        for_weight = None if grad_weight is None else (grad_weight * scale).to(ctx.types[1])
        return (grad_hidden * scale).to(ctx.types[0]), for_weight, None, None, None


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
