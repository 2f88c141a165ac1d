"""Trees by the engine's forward pass: the trunk once, and every branch behind the part of it that it sees.

In one piece a tree costs attention between all pairs of its tokens, and most of them are candidates that do
not see one another. Here the trunk's keys and values are kept in a slot of a cache. A branch has a slot of
its own, to which what it sees of the trunk is copied; the next one in that slot only needs what it sees
beyond that. The weights are those of an engine of the same precision, 8 bits for example, and so are the
numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from convai.engine.backends import InferenceModel, KVPool, SlotSpan
from convai.engine.backends.precision import Requested
from convai.evaluation.scoring import WORTH_SHARING, TreeScores
from convai.model.double_heads import DoubleHeadsModel
from convai.text.segments import IGNORE, TRUNK, TokenSequence
from convai.training.batches import collate

POOL_BYTES: Final = 1 << 29
"""What the slots of branches may take."""
_LOGITS_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class _Branch:
    """Tokens `start` ... `end` - 1 of a tree, which see the trunk's first `seen` tokens."""

    start: int
    end: int
    seen: int


class CachedTrees:
    """Scores trees with the numbers of an engine."""

    def __init__(
        self,
        model: DoubleHeadsModel,
        pad_id: int,
        *,
        batch_tokens: int = 8192,
        precision: Requested = "float32",
        pool_bytes: int = POOL_BYTES,
    ) -> None:
        """A forward pass takes `batch_tokens` tokens of branches, or one trunk.

        Raises SettingsError for a precision that the model's device cannot compute in.
        """
        self._source, self._pad_id = model, pad_id
        self._batch_tokens, self._pool_bytes = batch_tokens, pool_bytes
        self._model = InferenceModel(model, precision)

    @property
    def longest(self) -> int | None:
        """A match head compares every word of a tree with every other."""
        return None if self._source.match_head is None else WORTH_SHARING

    @torch.inference_mode()
    def score(self, rows: Sequence[TokenSequence]) -> Iterator[tuple[int, TreeScores]]:
        """As TreeScorer.score."""
        if not rows:
            return
        branches = [_branches(row) for row in rows]
        capacity = max(
            max(row.branch.count(TRUNK), *(b.seen + b.end - b.start for b in own))
            if own
            else row.branch.count(TRUNK)
            for row, own in zip(rows, branches, strict=True)
        )
        slot = self._model.new_pool(1, capacity).bytes  # no memory is taken before something is stored
        slots = min(1 + max(map(len, branches)), max(2, self._pool_bytes // slot))
        pool = self._model.new_pool(slots, capacity)
        for index, (row, own) in enumerate(zip(rows, branches, strict=True)):
            yield index, self._score(row, own, pool)

    def _score(self, row: TokenSequence, branches: Sequence[_Branch], pool: KVPool) -> TreeScores:
        labelled = [place for place, label in enumerate(row.labels) if label != IGNORE]
        trunk = row.branch.count(TRUNK)
        ends = {place for places in row.choices for place in places}
        first = min([*labelled, *(place for place in ends if place < trunk)], default=trunk - 1)
        hidden = self._forward(row, [(0, trunk)], [SlotSpan(0, 0, trunk, trunk - first)], pool)
        states = {place: hidden[place - first] for place in ends if place < trunk}
        nll = self._nll(hidden, [p - first for p in labelled], [row.labels[p] for p in labelled])
        held = [0] * pool.slots
        for group in self._groups(branches, pool.slots - 1):
            spans = []
            for slot, branch in enumerate(group, 1):
                pool.copy(0, slot, branch.seen, start=min(held[slot], branch.seen))
                held[slot] = branch.seen
                spans.append(SlotSpan(slot, branch.seen, branch.end - branch.start, 1))
            last = self._forward(row, [(b.start, b.end) for b in group], spans, pool)
            states |= {branch.end - 1: state for branch, state in zip(group, last, strict=True)}
        return TreeScores(nll, self._choices(row, states))

    def _forward(
        self, row: TokenSequence, pieces: Sequence[tuple[int, int]], spans: Sequence[SlotSpan], pool: KVPool
    ) -> Tensor:
        ids, positions, parts = (
            torch.tensor([n for start, end in pieces for n in numbers[start:end]])
            for numbers in (row.ids, row.positions, row.segments)
        )
        return self._model.forward(ids, positions, parts, spans, pool)

    def _groups(self, branches: Sequence[_Branch], slots: int) -> Iterator[list[_Branch]]:
        """As many at a time as there are slots for, and tokens in a forward pass."""
        group: list[_Branch] = []
        tokens = 0
        for branch in branches:
            tokens += branch.end - branch.start
            if group and (len(group) == slots or tokens > self._batch_tokens):
                yield group
                group, tokens = [], branch.end - branch.start
            group.append(branch)
        if group:
            yield group

    def _nll(self, hidden: Tensor, places: Sequence[int], labels: Sequence[int]) -> list[float]:
        found: list[float] = []
        wanted = torch.tensor(labels, dtype=torch.long, device=hidden.device)
        for start in range(0, len(places), _LOGITS_AT_ONCE):
            part = slice(start, start + _LOGITS_AT_ONCE)
            logits = self._model.lm_logits(hidden[list(places[part])])
            found += F.cross_entropy(logits, wanted[part], reduction="none").double().tolist()
        return found

    def _choices(self, row: TokenSequence, states: dict[int, Tensor]) -> list[list[float]]:
        if not row.choices:
            return []
        scores = self._model.mc_logits(
            torch.stack([states[place] for places in row.choices for place in places])
        )
        if self._source.match_head is not None:
            batch = collate([row], self._pad_id).to(self._source.device)
            places = batch.mc_places.flatten()
            matched = self._source.match_scores(batch, len(places))
            scores = scores + matched[places >= 0]
        each = iter(scores.tolist())
        return [[next(each) for _ in places] for places in row.choices]


def _branches(row: TokenSequence) -> list[_Branch]:
    """The branches of a tree in their order, which is that of how much of the trunk they see."""
    found: list[_Branch] = []
    for place in range(row.branch.count(TRUNK), len(row)):
        if found and row.branch[place] == row.branch[found[-1].start]:
            found[-1] = _Branch(found[-1].start, place + 1, found[-1].seen)
        else:
            found.append(_Branch(place, place + 1, row.limit[place] + 1))
    return found
