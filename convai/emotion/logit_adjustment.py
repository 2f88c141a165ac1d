"""Logit adjustment: rare labels of single-label sets made as likely to be named as macro-F1 wants it.

A network that learnt the labels as often as they occur names the frequent ones too often for macro-F1, which
counts all alike. Subtracting tau log p(label) from the logits mends that after training (Menon et al. 2021,
arXiv 2007.07314, §4.1); it goes into the bias of the head. The one number tau is chosen on held-out texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from convai.emotion import scores
from convai.emotion.model import EmotionModel

_STRENGTHS: Final = tuple(step / 10 for step in range(11))


def log_shares(counts: Sequence[int]) -> Tensor:
    """The logarithm of each label's share of `counts`, one added to each so that none is infinite."""
    smoothed = torch.tensor(counts, dtype=torch.float64) + 1
    return (smoothed / smoothed.sum()).log()


def best_strength(chances: scores.Chances, targets: scores.Targets, counts: Sequence[int]) -> float:
    """The tau of 0, 0.1 … 1 with the highest macro-F1 on these texts; of equals the smallest.

    `chances`: the probabilities that the unshifted network gives; `counts`: training texts of each label.
    """
    logits = torch.tensor(chances, dtype=torch.float64).clamp_min(1e-12).log()
    shares = log_shares(counts)

    def reached(strength: float) -> float:
        predicted = [(label,) for label in (logits - strength * shares).argmax(1).tolist()]
        return scores.macro(scores.f1_per_class(predicted, targets, len(counts)))

    return max(_STRENGTHS, key=lambda strength: (reached(strength), -strength))


@torch.no_grad()
def adjust(model: EmotionModel, name: str, counts: Sequence[int], strength: float) -> None:
    """Shift the bias of head `name` by -tau log p(label)."""
    bias = model.heads[name].bias
    assert isinstance(bias, Tensor)
    bias.sub_((strength * log_shares(counts)).to(bias))
