"""The blog post's training layout, rebuilt: every reply and every candidate a sequence of its own.

As transfer-learning-conv-ai trains: a history of two exchanges, everything padded to the longest sequence of
the corpus, logits for every token, float32. Kept as the baseline that `convai bench train` measures against.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from convai.core.dialog import AGENT
from convai.model.double_heads import DoubleHeadsModel
from convai.text import segments
from convai.text.frames import Frame
from convai.text.segments import EncodedDialog, utterance_sequences
from convai.training.batches import collate
from convai.training.losses import Losses


def reply_rows(
    dialogs: Sequence[EncodedDialog], frame: Frame, max_history: int | None
) -> Iterator[list[segments.TokenSequence]]:
    """For every agent reply its candidates' sequences, the right one last and labelled."""
    for dialog in dialogs:
        for i, turn in enumerate(dialog.turns):
            if turn.speaker == AGENT and i:
                first = 0 if max_history is None else max(0, i - (2 * max_history + 1))
                yield utterance_sequences(frame, dialog.persona, dialog.turns[first:i], turn)


def losses(
    model: DoubleHeadsModel, replies: Sequence[Sequence[segments.TokenSequence]], frame: Frame, length: int
) -> Losses:
    """Both summed losses of some replies' sequences, all padded to `length`."""
    rows = [row for candidates in replies for row in candidates]
    batch = collate(rows, frame.pad_id, groups=[len(candidates) for candidates in replies])
    width = batch.input_ids.shape[1]

    def padded(ids: Tensor, value: int) -> Tensor:
        return F.pad(ids, (0, length - width), value=value)

    hidden = model(
        padded(batch.input_ids, frame.pad_id),
        padded(batch.position_ids, 0),
        padded(batch.segment_ids, frame.pad_id),
    )
    logits = model.lm_logits(hidden)  # [B, T, V]: of every token, labelled or not
    labels = torch.full(batch.input_ids.shape, segments.IGNORE)
    labels.view(-1)[batch.lm_places] = batch.lm_labels
    lm = F.cross_entropy(logits.flatten(0, 1), padded(labels, segments.IGNORE).flatten(), reduction="sum")
    ends = batch.mc_places // width * length + batch.mc_places % width
    scores = model.mc_logits(hidden.flatten(0, 1)[ends])
    gold = torch.full((scores.shape[0],), scores.shape[1] - 1)
    mc = F.cross_entropy(scores, gold, reduction="sum")
    return Losses(lm, mc, batch.n_labels, batch.n_choices, int((scores.argmax(1) == gold).sum()))
