"""Sequences to tensors: collation, attention masks, length buckets."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from convai.text import segments
from convai.text.segments import IGNORE, NOBODY, TRUNK
from convai.training.preferences import RatedReplies, rated_replies

_LONG: Final = 128
_ROUND: Final = 32


@dataclass(slots=True)
class Batch:
    """One forward pass. B rows of T tokens, right-padded; places are flat indices into B · T.

    `mask`: boolean `[B, 1, T, T]`, or None where plain causal attention is right. `lm_places`,
    `lm_labels`: `[N]`, the hidden states that predict a word, and the word. `mc_places`: `[M, C]`, the
    <eos> of each reply's candidates, -1 where a reply has fewer, the gold one in the last column.
    `said`, `answers`, `owner`: `[B, T]`, what the match head compares; an owner is a flat index into M · C.
    `rated`: right and wrong replies whose likelihoods are compared, where there are any.
    """

    input_ids: Tensor
    position_ids: Tensor
    segment_ids: Tensor
    mask: Tensor | None
    lm_places: Tensor
    lm_labels: Tensor
    mc_places: Tensor
    said: Tensor
    answers: Tensor
    owner: Tensor
    rated: RatedReplies | None = None

    @property
    def n_labels(self) -> int:
        return self.lm_labels.numel()

    @property
    def n_choices(self) -> int:
        return self.mc_places.shape[0]

    @property
    def n_pairs(self) -> int:
        return 0 if self.rated is None else self.rated.pairs.shape[0]

    def to(self, device: torch.device | str) -> Batch:
        """The batch on `device`; copies from pinned memory do not block."""
        moved: dict[str, Any] = {
            f.name: value if value is None else value.to(device, non_blocking=True)
            for f in dataclasses.fields(self)
            for value in [getattr(self, f.name)]
            if f.name != "rated"
        }
        return Batch(**moved, rated=None if self.rated is None else self.rated.to(device))


def collate(
    rows: Sequence[segments.TokenSequence],
    pad_id: int,
    *,
    groups: Sequence[int] = (),
    rated: Sequence[bool] = (),
    end_id: int = 0,
) -> Batch:
    """Pad `rows` to the longest and find the places of labels and choices.

    With `groups`, consecutive rows are the candidates of one reply, the gold one last (the blog post's
    layout), and `groups` says how many each; without, a row carries its own choices (`dialogue_tree`).
    A reply with the gold candidate alone is no choice. `rated`: for each row, whether its replies are to
    become likelier than their distractors; they end with `end_id`.
    """
    length = _rounded(max(len(row) for row in rows))
    shape = (len(rows), length)
    input_ids = torch.full(shape, pad_id)
    position_ids = torch.zeros(shape, dtype=torch.long)
    segment_ids = torch.full(shape, pad_id)
    labels = torch.full(shape, IGNORE)
    for i, row in enumerate(rows):
        n = len(row)
        input_ids[i, :n] = torch.tensor(row.ids)
        position_ids[i, :n] = torch.tensor(row.positions)
        segment_ids[i, :n] = torch.tensor(row.segments)
        labels[i, :n] = torch.tensor(row.labels)
    flat = labels.view(-1)
    lm_places = (flat != IGNORE).nonzero().squeeze(1)
    every = [
        [_Candidate(i, place, *span) for place, span in zip(places, spans, strict=True)]
        for i, row in enumerate(rows)
        for places, spans in zip(row.choices, row.spans, strict=True)
    ]
    if groups:
        ends = iter(every)
        every = [[end for choice in itertools.islice(ends, size) for end in choice] for size in groups]
    choices = [choice for choice in every if len(choice) > 1]
    return Batch(
        input_ids,
        position_ids,
        segment_ids,
        tree_mask(rows, length),
        lm_places,
        flat[lm_places],
        pad_choices([[c.row * length + c.place for c in choice] for choice in choices]),
        *matched_words(rows, choices, length),
        rated_replies(
            rows,
            [[(c.row, c.first, c.end) for c in choice] for choice in choices if rated[choice[-1].row]],
            length,
            end_id,
        )
        if any(rated)
        else None,
    )


def _rounded(length: int) -> int:
    """`length` up to the next multiple of 32, for long rows.

    Libraries that make a kernel for each new size (oneDNN) would make one for every batch.
    """
    return length if length < _LONG else -(-length // _ROUND) * _ROUND


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A reply to choose: its row, the place of its <eos>, the first and the end of its words."""

    row: int
    place: int
    first: int
    end: int


def matched_words(
    rows: Sequence[segments.TokenSequence], choices: Sequence[Sequence[_Candidate]], length: int
) -> tuple[Tensor, Tensor, Tensor]:
    """`said`, `answers` and `owner` `[B, T]` of the match head, for choices padded as `pad_choices` does."""
    said = torch.full((len(rows), length), NOBODY)
    turn = torch.full((len(rows), length), NOBODY)
    for i, row in enumerate(rows):
        turn[i, : len(row)] = torch.tensor(row.turn)
        said[i, : len(row)] = torch.tensor(
            [t if b == TRUNK else NOBODY for t, b in zip(row.turn, row.branch, strict=True)]
        )
    owner = torch.full((len(rows), length), -1)
    width = max(map(len, choices), default=0)
    for m, choice in enumerate(choices):
        for column, c in enumerate(choice, width - len(choice)):
            owner[c.row, c.first : c.end] = m * width + column
    return said, turn.where(owner >= 0, NOBODY), owner


def pad_choices(choices: Sequence[Sequence[int]]) -> Tensor:
    """`[M, C]` places, filled with -1 on the left so that the gold one stays in the last column."""
    width = max((len(places) for places in choices), default=0)
    padded = [[-1] * (width - len(places)) + list(places) for places in choices]
    return torch.tensor(padded, dtype=torch.long).view(len(choices), width)


def tree_mask(rows: Sequence[segments.TokenSequence], length: int) -> Tensor | None:
    """Boolean `[B, 1, T, T]`, True where row token may attend to column token; None if all are causal.

    Padding attends to itself: a row without any allowed column would be 0 / 0.
    """
    if all(row.is_causal for row in rows):
        return None
    branch = torch.full((len(rows), length), -1)
    limit = torch.full((len(rows), length), -1)
    for i, row in enumerate(rows):
        branch[i, : len(row)] = torch.tensor(row.branch)
        limit[i, : len(row)] = torch.tensor(row.limit)
    place = torch.arange(length)
    on_trunk = (branch == TRUNK).unsqueeze(1) & (place <= limit.unsqueeze(2))
    earlier = place.unsqueeze(0) <= place.unsqueeze(1)
    own_branch = (branch.unsqueeze(1) == branch.unsqueeze(2)) & (branch > TRUNK).unsqueeze(2) & earlier
    padding = (branch < TRUNK).unsqueeze(2) & torch.eye(length, dtype=torch.bool)
    return (on_trunk | own_branch | padding).unsqueeze(1)


def length_buckets(
    lengths: Sequence[int], order: Iterable[int], batch_tokens: int, pool: int = 1024
) -> Iterator[list[int]]:
    """Group indices so that rows · longest row ≤ `batch_tokens` and rows of a group are alike in length.

    `order` is the (shuffled) order of the epoch; within every `pool` of it the rows are sorted, which
    leaves little padding, and groups stay random enough. A row longer than the budget is a group by
    itself.
    """
    waiting: list[int] = []
    for index in order:
        waiting.append(index)
        if len(waiting) == pool:
            yield from _split(lengths, waiting, batch_tokens)
            waiting = []
    yield from _split(lengths, waiting, batch_tokens)


def _split(lengths: Sequence[int], indices: list[int], batch_tokens: int) -> Iterator[list[int]]:
    group: list[int] = []
    for index in sorted(indices, key=lambda i: (lengths[i], i)):
        if group and (len(group) + 1) * lengths[index] > batch_tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group
