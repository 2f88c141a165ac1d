"""What shared words add to the scores of replies, where the model has a match head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convai.model.double_heads import DoubleHeadsModel
from convai.text.segments import NOBODY, Prompt, complete


@dataclass(frozen=True, slots=True)
class _Words:
    """The replies and what came before them, as `convai.model.match_head` asks for it, `[B, T]` each."""

    input_ids: Tensor
    said: Tensor
    answers: Tensor
    owner: Tensor


def match_scores(
    model: DoubleHeadsModel, replies: Sequence[tuple[Prompt, Sequence[int]]], eos_id: int
) -> list[float]:
    """The match head's scores of `replies`, each a prompt and the ids that follow it, without the <eos>."""
    wholes = [complete(prompt, ids, eos_id) for prompt, ids in replies]
    shape = (len(wholes), max(map(len, wholes)))
    words, said = torch.full(shape, eos_id), torch.full(shape, NOBODY)
    answers, owner = torch.full(shape, NOBODY), torch.full(shape, -1)
    for i, whole in enumerate(wholes):
        words[i, : len(whole)] = torch.tensor(whole.ids)
        said[i, : len(whole)] = torch.tensor(whole.turn)
        ((span,),) = whole.spans
        answers[i, slice(*span)] = said[i, slice(*span)]
        owner[i, slice(*span)] = i
    batch = _Words(*(part.to(model.device) for part in (words, said, answers, owner)))
    scores: list[float] = model.match_scores(batch, len(wholes)).tolist()
    return scores
