"""Scoring given replies with both heads: the numbers behind perplexity and hits@1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from convai.core.dialog import AGENT
from convai.core.errors import SettingsError
from convai.model.double_heads import DoubleHeadsModel
from convai.text import segments
from convai.text.frames import Frame
from convai.text.history import fit_history
from convai.text.segments import EncodedDialog, EncodedTurn, dialogue_tree
from convai.training.batches import Batch, collate, length_buckets
from convai.training.losses import choice_scores

WHOLE_ORDER = 1 << 30
"""Pool of the length buckets: all rows are sorted at once, since their order means nothing here."""


@dataclass(frozen=True, slots=True)
class ReplyWindow:
    """An agent reply and what the model may see before it.

    `dialog` and `turn`: its place in the corpus; `number`: counted over all the replies of the corpus, those
    left out included, so that it names the same reply whatever the model is.
    """

    dialog: int
    turn: int
    number: int
    persona: Sequence[Sequence[int]]
    history: Sequence[EncodedTurn]
    reply: EncodedTurn

    def size(self, frame: Frame) -> int:
        """Tokens of `tree()`, without building it."""
        said = sum(frame.turn_size(turn.speaker, len(turn.ids)) for turn in (*self.history, self.reply))
        wrong = [len(ids) + 1 for ids in self.reply.distractors]
        return frame.persona_size(self.persona) + said + (sum(wrong) + frame.tail if wrong else 0)

    def tree(self, frame: Frame) -> segments.TokenSequence:
        """The window as one sequence, the candidates as branches of the history they share."""
        turns = [*self.history, self.reply]
        return dialogue_tree(frame, self.persona, turns, first_target=len(self.history))


@dataclass(slots=True)
class ReplyScores:
    """Of every reply, in order: negative log-likelihood in nats (eos included), tokens (likewise), and the
    next-sentence scores of its candidates, the gold one last (empty where it has no distractors).
    """

    nll: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    choices: list[list[float]] = field(default_factory=list)


def reply_windows(
    frame: Frame,
    dialogs: Sequence[EncodedDialog],
    *,
    max_history: int | None,
    n_positions: int,
    histories: Sequence[EncodedDialog] | None = None,
) -> Iterator[ReplyWindow]:
    """The agent replies of `dialogs` that answer something, each with at most `max_history` exchanges before
    the utterance it answers.

    A quarter of the positions is kept for the reply where the persona allows, so the history does not depend
    on the candidates; longer distractors are cut there, as in training. A distractor with the same ids as the
    gold reply is dropped: nothing could tell them apart. `histories`: the same dialogues, turn for turn, in
    the words that the model is to read before a reply (the replies stay those of `dialogs`). Left out are
    replies that do not fit even with the persona and one utterance alone.
    """
    number = -1
    for place, (dialog, told) in enumerate(zip(dialogs, histories or dialogs, strict=True)):
        for index, turn in enumerate(dialog.turns):
            if turn.speaker != AGENT or not index or not turn.target:
                continue
            number += 1
            first = 0 if max_history is None else max(0, index - (2 * max_history + 1))
            quarter = n_positions // 4
            wrong = [ids[:quarter] for ids in turn.distractors if list(ids) != list(turn.ids)]
            longest = max(1, *map(len, (turn.ids, *wrong)))
            around = frame.around_reply
            history = _fitting(
                frame,
                dialog.persona,
                told.turns[first:index],
                n_positions,
                reserves=(max(quarter, longest) + around, longest + around),
            )
            if history is not None:
                reply = EncodedTurn(AGENT, turn.ids, wrong)
                yield ReplyWindow(place, index, number, dialog.persona, history, reply)


def _fitting(
    frame: Frame,
    persona: Sequence[Sequence[int]],
    turns: Sequence[EncodedTurn],
    n_positions: int,
    *,
    reserves: Sequence[int],
) -> Sequence[EncodedTurn] | None:
    for reserve in reserves:
        try:
            return fit_history(frame, persona, turns, n_positions=n_positions, reserve=reserve)
        except SettingsError:
            continue
    return None


def score_replies(
    model: DoubleHeadsModel,
    frame: Frame,
    dialogs: Sequence[EncodedDialog],
    *,
    max_history: int | None = 2,
    batch_tokens: int = 8192,
    autocast: torch.dtype | None = None,
    progress: Callable[[int], None] | None = None,
) -> ReplyScores:
    """Score the replies of `dialogs` that `reply_windows` finds, with their distractors (`score_windows`)."""
    positions = model.config.n_positions
    windows = list(reply_windows(frame, dialogs, max_history=max_history, n_positions=positions))
    return score_windows(
        model, frame, windows, batch_tokens=batch_tokens, autocast=autocast, progress=progress
    )


@torch.inference_mode()
def score_windows(
    model: DoubleHeadsModel,
    frame: Frame,
    windows: Sequence[ReplyWindow],
    *,
    batch_tokens: int = 8192,
    autocast: torch.dtype | None = None,
    progress: Callable[[int], None] | None = None,
) -> ReplyScores:
    """Score every reply, and its distractors where it has any, in a sequence of its own.

    The candidates are branches of the window, so each history is computed once. A forward pass takes
    `batch_tokens` tokens, padding counted; its size changes the scores by rounding only. `autocast` computes
    in that type; `progress` is told how many replies are done.
    """
    was_training = model.training
    model.eval()
    scores = ReplyScores([0.0] * len(windows), [0] * len(windows), [[] for _ in windows])
    done = 0
    sizes = [window.size(frame) for window in windows]
    for group in length_buckets(sizes, range(len(windows)), batch_tokens, pool=WHOLE_ORDER):
        rows = [windows[i].tree(frame) for i in group]
        batch = collate(rows, frame.pad_id).to(model.device)
        with torch.autocast(model.device.type, autocast, enabled=autocast is not None):
            nll, chosen = _forward(model, batch)
        row_of = (batch.lm_places // batch.input_ids.shape[1]).cpu()
        sums = torch.zeros(len(group), dtype=torch.float64).index_add_(0, row_of, nll).tolist()
        counts = torch.bincount(row_of, minlength=len(group)).tolist()
        with_choices = iter(chosen)
        for i, row, total, count in zip(group, rows, sums, counts, strict=True):
            scores.nll[i], scores.tokens[i] = total, count
            scores.choices[i] = _own(row, with_choices)
        done += len(group)
        if progress is not None:
            progress(done)
    model.train(was_training)
    return scores


def _forward(model: DoubleHeadsModel, batch: Batch) -> tuple[torch.Tensor, list[list[float]]]:
    """Negative log-likelihood of each label `[N]` (float64, on the CPU), and the next-sentence scores."""
    hidden = model(batch.input_ids, batch.position_ids, batch.segment_ids, batch.mask)
    logits = model.lm_logits(hidden.flatten(0, 1)[batch.lm_places]).float()
    nll = F.cross_entropy(logits, batch.lm_labels, reduction="none").double().cpu()
    chosen = choice_scores(model, hidden, batch).tolist() if batch.n_choices else []
    return nll, chosen


def _own(row: segments.TokenSequence, scores: Iterator[list[float]]) -> list[float]:
    """The next scores, less their padding on the left, if `row` has candidates."""
    if not row.choices:
        return []
    padded = next(scores)
    return padded[len(padded) - len(row.choices[0]) :]
