"""Preference: of two replies to the same, the right one is to become likelier than the wrong one.

Monolithic preference optimization (Hong, Lee & Thorne 2024, "ORPO", §4.2): beside the cross-entropy of the
right reply, -log σ of the log of the odds ratio of the two, where a reply's odds are P / (1 - P) and log P is
the mean log-probability of its tokens. It needs no reference model, and its gradient fades once the right
reply is the likelier one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convai.text.segments import TRUNK, TokenSequence


@dataclass(slots=True)
class RatedReplies:
    """The tokens of right and wrong replies, K in all, of R replies and P pairs of them.

    `places` `[K]`: flat indices of the hidden states that predict them; `labels` `[K]`: the tokens, each
    reply's end among them; `owner` `[K]`: which of the R replies a token is of. `pairs` `[P, 2]`: the right
    reply and the wrong one.
    """

    places: Tensor
    labels: Tensor
    owner: Tensor
    pairs: Tensor

    def to(self, device: torch.device | str) -> RatedReplies:
        """The same on `device`; copies from pinned memory do not block."""
        return RatedReplies(
            *(t.to(device, non_blocking=True) for t in (self.places, self.labels, self.owner, self.pairs))
        )


def rated_replies(
    rows: Sequence[TokenSequence], choices: Sequence[Sequence[tuple[int, int, int]]], length: int, end_id: int
) -> RatedReplies | None:
    """Of `choices`, the candidates of each reply as (row, first place, end of its words), the right one last.

    `length`: places a row has in the batch; `end_id`: what ends a reply. None where there is no choice.
    """
    places: list[int] = []
    labels: list[int] = []
    owner: list[int] = []
    pairs: list[tuple[int, int]] = []
    count = 0
    for choice in choices:
        for number, (row, first, end) in enumerate(choice, count):
            words = rows[row]
            # a branch goes on from the last place of the trunk that it sees
            branches = first < len(words) and words.branch[first] != TRUNK
            before = words.limit[first] if branches else first - 1
            places += [row * length + place for place in (before, *range(first, end))]
            labels += [*words.ids[first:end], end_id]
            owner += [number] * (end - first + 1)
        right = count + len(choice) - 1
        pairs += [(right, wrong) for wrong in range(count, right)]
        count = right + 1
    if not pairs:
        return None
    return RatedReplies(*(torch.tensor(found, dtype=torch.long) for found in (places, labels, owner, pairs)))


def odds_ratio_loss(log_probs: Tensor, rated: RatedReplies) -> Tensor:
    """Summed -log σ(log odds of the right reply - log odds of the wrong one) over the pairs.

    `log_probs` `[K]`: of the replies' tokens, in float32.
    """
    replies = int(rated.owner.max()) + 1
    count = torch.bincount(rated.owner, minlength=replies)
    mean = log_probs.new_zeros(replies).index_add(0, rated.owner, log_probs) / count
    # 1 - P of a reply that is certain is 0
    odds = mean - torch.log(-torch.expm1(mean.clamp(max=-1e-6)))
    right, wrong = odds[rated.pairs].unbind(1)
    return -F.logsigmoid(right - wrong).sum()


def slopes(log_probs: Tensor, rated: RatedReplies) -> tuple[Tensor, Any]:
    """`odds_ratio_loss` and its gradient for each of `log_probs`, `[K]`."""
    with torch.enable_grad():
        leaf = log_probs.detach().requires_grad_()
        loss = odds_ratio_loss(leaf, rated)
        [gradient] = torch.autograd.grad(loss, leaf)
    return loss.detach(), gradient
