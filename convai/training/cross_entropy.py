"""Cross-entropy over a vocabulary without ever holding all the logits.

The usual way writes logits, log-probabilities and their gradients for every token, 4 V bytes each. Here the
hidden states go through in chunks that stay in the processor's cache, and the gradient of a chunk is
computed beside its loss: one pass, and memory that does not grow with the number of tokens. (The idea:
Wijmans et al. 2024, "Cut Your Losses in Large-Vocabulary Language Models", §4.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 256
"""Hidden states at a time; 256 rows of an 8k vocabulary are 8 MB in float32."""


def linear_cross_entropy(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """Summed cross-entropy (nats) of `labels` `[N]` under the logits `hidden @ weight.T`, `[N, V]`.

    `hidden`: `[N, D]`, `weight`: `[V, D]`. Matrix products run in autocast's type where it is on; softmax
    and sums in float32.
    """
    return _LinearCrossEntropy.apply(hidden, weight, labels)  # type: ignore[no-any-return, no-untyped-call]


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        wanted = any(ctx.needs_input_grad)
        with torch.autocast(kind, enabled=False):
            w = weight.to(dtype)
            grad_hidden = torch.empty_like(hidden, dtype=dtype) if wanted else None
            # a frozen embedding asks for none: half of the backward work here
            grad_weight = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
            total = torch.zeros((), dtype=torch.float32, device=hidden.device)
            for start in range(0, hidden.shape[0], CHUNK):
                h = hidden[start : start + CHUNK].to(dtype)
                y = labels[start : start + CHUNK, None]
                logits = (h @ w.t()).float()
                lse = logits.logsumexp(-1, keepdim=True)
                total += (lse - logits.gather(1, y)).sum()
                if grad_hidden is not None:
                    probs = logits.sub_(lse).exp_()
                    probs.scatter_add_(1, y, probs.new_full((), -1.0).expand_as(y))
                    grad = probs.to(dtype)
                    grad_hidden[start : start + CHUNK] = grad @ w
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
