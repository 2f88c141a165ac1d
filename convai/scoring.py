"""Scoring given replies with both heads: the numbers behind perplexity and hits@1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from convai import segments
from convai.batches import collate, length_buckets
from convai.datasets import Control
from convai.dialog import AGENT
from convai.losses import choice_scores
from convai.model import DoubleHeadsModel
from convai.segments import EncodedDialog, EncodedTurn, dialogue_tree, fit_history


@dataclass(slots=True)
class ReplyScores:
    """Of every agent reply, in order: negative log-likelihood in nats (eos included), tokens (likewise),
    and the next-sentence scores of its candidates, the gold one last."""

    nll: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    choices: list[list[float]] = field(default_factory=list)


def reply_windows(
    dialogs: Sequence[EncodedDialog], *, max_history: int | None, n_positions: int
) -> Iterator[tuple[Sequence[Sequence[int]], list[EncodedTurn]]]:
    """Persona and turns of every agent reply, the reply last, its history cut as a chat would cut it."""
    for dialog in dialogs:
        for index, turn in enumerate(dialog.turns):
            if turn.speaker != AGENT or not index:
                continue
            first = 0 if max_history is None else max(0, index - (2 * max_history + 1))
            longest = max(len(ids) for ids in (turn.ids, *turn.distractors)) + 2
            history = fit_history(
                dialog.persona, dialog.turns[first:index], n_positions=n_positions, reserve=longest
            )
            yield dialog.persona, [*history, turn]


@torch.inference_mode()
def score_replies(
    model: DoubleHeadsModel,
    special: Control,
    dialogs: Sequence[EncodedDialog],
    *,
    max_history: int | None = 2,
    batch_tokens: int = 8192,
    autocast: torch.dtype | None = None,
    progress: Callable[[int], None] | None = None,
) -> ReplyScores:
    """Score every agent reply of `dialogs`, and its distractors where it has any.

    Each reply is scored in a window of its own (`max_history` exchanges), its candidates as branches of
    the window. `autocast` computes in that type; `progress` is told how many replies are done.
    """
    was_training = model.training
    model.eval()
    windows = list(reply_windows(dialogs, max_history=max_history, n_positions=model.config.n_positions))
    rows: list[segments.Sequence] = [
        dialogue_tree(special, persona, turns, first_target=len(turns) - 1) for persona, turns in windows
    ]
    scores = ReplyScores([0.0] * len(rows), [0] * len(rows), [[] for _ in rows])
    done = 0
    for group in length_buckets([len(r) for r in rows], range(len(rows)), batch_tokens, pool=1 << 30):
        batch = collate([rows[i] for i in group], special.pad_id).to(model.device)
        with torch.autocast(model.device.type, autocast, enabled=autocast is not None):
            hidden = model(batch.input_ids, batch.position_ids, batch.segment_ids, batch.mask)
            logits = model.lm_logits(hidden.flatten(0, 1)[batch.lm_places]).float()
            chosen = choice_scores(model, hidden, batch.mc_places) if batch.n_choices else None
        nll = torch.nn.functional.cross_entropy(logits, batch.lm_labels, reduction="none").cpu()
        row_of = (batch.lm_places // batch.input_ids.shape[1]).cpu()
        sums = torch.zeros(len(group), dtype=torch.float64).index_add_(0, row_of, nll.double()).tolist()
        counts = torch.bincount(row_of, minlength=len(group)).tolist()
        with_choices = iter(chosen.tolist() if chosen is not None else [])
        for i, total, count in zip(group, sums, counts, strict=True):
            scores.nll[i], scores.tokens[i] = total, count
            if rows[i].choices:
                padded = next(with_choices)
                scores.choices[i] = padded[len(padded) - len(rows[i].choices[0]) :]
        done += len(group)
        if progress is not None:
            progress(done)
    model.train(was_training)
    return scores
