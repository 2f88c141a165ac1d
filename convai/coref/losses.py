"""What training minimises: Clark & Manning 2016, §4, and the likelihood of all antecedents.

Each takes the scores of an example's pairs and of its mentions alone and gives a sum over its mentions; a
mention that is not taught counts nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from convai.coref.examples import Example

_NEVER: Final = -1e9
_SURE: Final = 1e-4
"""Nothing is more or less probable than this."""
FALSE_NEW: Final = 0.8
FALSE_LINK: Final = 0.4
WRONG_LINK: Final = 1.0
"""Costs of mistakes in ranking: no link where there is one, a link where there is none, a wrong link."""

Loss = Callable[[Tensor, Tensor, Example], Tensor]


def all_pairs(scores: Tensor, alone: Tensor, example: Example) -> Tensor:
    """Every pair and every mention alone decided by itself."""
    taught = example.taught.float()
    pairs = functional.binary_cross_entropy_with_logits(scores, example.same.float(), reduction="none")
    return (pairs * taught[example.later]).sum() / 4 + _alone(alone, example)


def top_pairs(scores: Tensor, alone: Tensor, example: Example) -> Tensor:
    """Of each mention the best true and the best false antecedent only."""
    right, wrong = _best(scores, example)
    taught = example.taught.float()
    found = functional.softplus(-right) * (example.linked * taught)
    false = functional.softplus(wrong) * ((wrong > _NEVER / 2) * taught)
    return (found + false).sum() + _alone(alone, example)


def ranking(scores: Tensor, alone: Tensor, example: Example) -> Tensor:
    """Slack-rescaled margin between the best true antecedent (or none) and every mistake, by its cost."""
    right, wrong = _best(scores, example)
    linked = example.linked
    truth = torch.where(linked, right, alone)
    cost = torch.where(linked, WRONG_LINK, FALSE_LINK)
    by_link = cost * (1 + wrong - truth)
    by_none = torch.where(linked, FALSE_NEW * (1 + alone - truth), torch.zeros_like(alone))
    loss = torch.maximum(torch.maximum(by_link, by_none), torch.zeros_like(alone))
    return (loss * example.taught).sum()


def likelihood(scores: Tensor, alone: Tensor, example: Example) -> Tensor:
    """Negative log-likelihood of all true antecedents together (Lee et al. 2017, §3)."""
    every = torch.logaddexp(_log_sum(scores, example), alone)
    true = _log_sum(scores.masked_fill(~example.same, _NEVER), example)
    return ((every - torch.where(example.linked, true, alone)) * example.taught).sum()


def answers(scores: Tensor, alone: Tensor, example: Example) -> Tensor:
    """Cross-entropy of the answers to an example's question: is the pronoun this name?

    The probability that two mentions are in one cluster is summed over all ways through the mentions between:
    of a later one, over its antecedents, that of the antecedent being in one with the earlier.
    """
    question = example.question
    assert question is not None
    log_all = torch.logaddexp(_log_sum(scores, example), alone)
    n = 1 + max(question.pronoun, *(max(name) for name in question.names))
    own = torch.zeros(example.mentions, example.mentions)
    own = own.index_put((example.later, example.earlier), torch.exp(scores - log_all[example.later]))
    together: Tensor = Together.apply(own[:n, :n])  # type: ignore[no-untyped-call]
    found = [together[question.pronoun, name].sum() for name in question.names]
    return functional.binary_cross_entropy(
        torch.stack(found).clamp(_SURE, 1 - _SURE),
        torch.tensor(question.same, dtype=torch.float32),
        reduction="sum",
    )


LOSSES: Final[dict[str, Loss]] = {
    "all-pairs": all_pairs,
    "top-pairs": top_pairs,
    "ranking": ranking,
    "likelihood": likelihood,
}


class Together(torch.autograd.Function):
    """`[n, n]`: how probable it is that two mentions are in one cluster.

    Of `[n, n]` probabilities that the earlier is the later's antecedent. A row is made of the rows before it,
    so that torch would note several small operations a mention; in numpy it takes a quarter of the time.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        given = own.detach().numpy()
        found = np.eye(len(given), dtype=given.dtype)
        for i in range(1, len(given)):
            found[i, :i] = found[:i, i] = given[i, :i] @ found[:i, :i]
        ctx.given, ctx.found = given, found
        return torch.from_numpy(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        left = gradients[0].numpy().copy()
        result = np.zeros_like(ctx.given)
        for i in range(len(left) - 1, 0, -1):
            row = left[i, :i] + left[:i, i]
            result[i, :i] = ctx.found[:i, :i] @ row
            left[:i, :i] += np.outer(ctx.given[i, :i], row)
        return torch.from_numpy(result)


def _alone(alone: Tensor, example: Example) -> Tensor:
    loss = functional.binary_cross_entropy_with_logits(alone, (~example.linked).float(), reduction="none")
    return (loss * example.taught).sum()


def _best(scores: Tensor, example: Example) -> tuple[Tensor, Tensor]:
    """`[mentions]`: the best score of a true and of a false antecedent."""
    return (
        _maximum(scores.masked_fill(~example.same, _NEVER), example),
        _maximum(scores.masked_fill(example.same, _NEVER), example),
    )


def _maximum(scores: Tensor, example: Example) -> Tensor:
    start = torch.full((example.mentions,), _NEVER)
    return start.scatter_reduce(0, example.later, scores, "amax")


def _log_sum(scores: Tensor, example: Example) -> Tensor:
    top = _maximum(scores, example).detach()
    sums = torch.zeros(example.mentions).index_add(0, example.later, torch.exp(scores - top[example.later]))
    return top + torch.log(sums + 1e-30)
