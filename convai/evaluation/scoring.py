"""Scoring given replies with both heads: the numbers behind perplexity and hits@1.

A scorer computes trees (convai.evaluation.windows): `WholeTrees` by the model itself, as it is while it
learns, `CachedTrees` (convai.evaluation.cached_trees) by the engine's forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import torch
import torch.nn.functional as F

from convai.evaluation.windows import ReplyWindow, SharedWindows, shared
from convai.model.double_heads import DoubleHeadsModel
from convai.text import segments
from convai.text.frames import Frame
from convai.training.batches import collate, length_buckets
from convai.training.losses import choice_scores

WHOLE_ORDER: Final = 1 << 30
"""Pool of the length buckets: all rows are sorted at once, since their order means nothing here."""

WORTH_SHARING: Final = 1024
"""Tokens of a tree that is computed in one piece: attention looks at every pair of them, branches or not."""


@dataclass(slots=True)
class ReplyScores:
    """Of every reply, in order: negative log-likelihood in nats (eos included), tokens (likewise), and the
    next-sentence scores of its candidates, the gold one last (empty where it has no distractors).
    """

    nll: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    choices: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TreeScores:
    """Of one tree: nats of each of its labels in order, and its choices' candidates' scores in order."""

    nll: list[float]
    choices: list[list[float]]


class TreeScorer(Protocol):
    """What computes trees."""

    @property
    def longest(self) -> int | None:
        """Tokens of a tree up to which windows are to share one; None: any number."""

    def score(self, rows: Sequence[segments.TokenSequence]) -> Iterator[tuple[int, TreeScores]]:
        """The scores of every row with its index, in any order."""


def score_windows(
    scorer: TreeScorer,
    frame: Frame,
    windows: Sequence[ReplyWindow],
    *,
    progress: Callable[[int], None] | None = None,
) -> ReplyScores:
    """Score every reply, and its distractors where it has any.

    Windows that go on from one another share a tree, so what they have in common is computed once; which do
    changes the scores by rounding only. `progress` is told how many replies are done.
    """
    scores = ReplyScores([0.0] * len(windows), [0] * len(windows), [[] for _ in windows])
    groups = shared(windows, frame, scorer.longest)
    done = 0
    for index, found in scorer.score([group.tree(frame) for group in groups]):
        _spread(groups[index], found, scores)
        done += len(groups[index].windows)
        if progress is not None:
            progress(done)
    return scores


def _spread(group: SharedWindows, found: TreeScores, scores: ReplyScores) -> None:
    """Give the scores of a tree to the windows that share it."""
    nll, choices = iter(found.nll), iter(found.choices)
    for number, window in zip(group.numbers, group.windows, strict=True):
        scores.tokens[number] = len(window.reply.ids) + 1
        scores.nll[number] = sum(next(nll) for _ in range(scores.tokens[number]))
        if window.reply.distractors:
            scores.choices[number] = next(choices)


class WholeTrees:
    """Trees by the forward pass of training, whatever that is made of: a mask says what each token sees."""

    longest = WORTH_SHARING

    def __init__(
        self,
        model: DoubleHeadsModel,
        pad_id: int,
        *,
        batch_tokens: int = 8192,
        autocast: torch.dtype | None = None,
    ) -> None:
        """A forward pass takes `batch_tokens` tokens, padding counted, and computes in `autocast`."""
        self._model, self._pad_id = model, pad_id
        self._batch_tokens, self._autocast = batch_tokens, autocast

    @torch.inference_mode()
    def score(self, rows: Sequence[segments.TokenSequence]) -> Iterator[tuple[int, TreeScores]]:
        """As TreeScorer.score, with dropout off; the model's mode comes back at the end."""
        model, was_training = self._model, self._model.training
        model.eval()
        try:
            sizes = [len(row) for row in rows]
            for group in length_buckets(sizes, range(len(rows)), self._batch_tokens, pool=WHOLE_ORDER):
                batch = collate([rows[i] for i in group], self._pad_id).to(model.device)
                with torch.autocast(model.device.type, self._autocast, enabled=self._autocast is not None):
                    hidden = model(batch.input_ids, batch.position_ids, batch.segment_ids, batch.mask)
                    logits = model.lm_logits(hidden.flatten(0, 1)[batch.lm_places]).float()
                    nll = F.cross_entropy(logits, batch.lm_labels, reduction="none").double().tolist()
                    chosen = choice_scores(model, hidden, batch).tolist() if batch.n_choices else []
                labels, choices = iter(nll), iter(chosen)
                for i in group:
                    count = sum(label != segments.IGNORE for label in rows[i].labels)
                    own = [next(choices)[-len(places) :] for places in rows[i].choices]
                    yield i, TreeScores([next(labels) for _ in range(count)], own)
        finally:
            model.train(was_training)
