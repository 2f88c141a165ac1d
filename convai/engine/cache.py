"""The pool of caches and the table of what its slots hold, changed together."""

from __future__ import annotations

from collections.abc import Sequence

from convai.engine.backends import KVPool
from convai.engine.beam_search import reorder
from convai.engine.job import SLOTLESS, Job
from convai.engine.prefix import SlotTable


class Cache:
    """Slots with the keys and values of tokens, and the knowledge of which tokens these are."""

    def __init__(self, pool: KVPool) -> None:
        self.pool = pool
        self.table = SlotTable(pool.slots, pool.capacity)

    def open(self, job: Job) -> int | None:
        """Give `job` a slot; returns how many tokens of its prompt it holds (see `SlotTable.open`)."""
        opening = self.table.open(job.keys)
        if opening is None:
            return None
        if opening.source is not None:
            self.pool.copy(opening.source, opening.slot, opening.reused)
        job.slot, job.reused = opening.slot, opening.reused
        return opening.reused

    def spread(self, job: Job) -> None:
        """The prompt of `job` is computed: give each of its replies a slot that begins with it."""
        first, *others = job.rows
        first.slot = job.slot
        for row in others:
            row.slot = self.table.take()
            self.copy(first.slot, row.slot, job.prompt)
        for row in job.rows:
            row.length = job.prompt
        job.slot = SLOTLESS

    def copy(self, source: int, target: int, length: int) -> None:
        """Make slot `target`, which is in use, begin with the first `length` tokens of slot `source`."""
        self.pool.copy(source, target, length)
        self.table.fork(source, target, length)

    def follow(self, job: Job, parents: Sequence[int], tokens: Sequence[int]) -> None:
        """The beams of `job` go on from the beams `parents` `[beams]` with `tokens` `[beams]`."""
        length = job.rows[0].length
        slots = reorder(
            [row.slot for row in job.rows],
            parents,
            lambda source, target: self.copy(source, target, length),
        )
        for row, slot, token in zip(job.rows, slots, tokens, strict=True):
            row.slot, row.pending = slot, [token]

    def keep_one_beam(self, job: Job) -> int:
        """Leave one beam of `job`, with the prompt alone; returns how many others there were."""
        row, *others = job.rows
        job.rows = [row]
        for other in others:
            self.table.cool(other.slot, self.table.release(other.slot))
        self.table.truncate(row.slot, job.prompt)
        row.length = job.prompt
        return len(others)

    def keep_pending(self, job: Job) -> int:
        """What was pending in the replies of `job` is in the cache now; returns how many tokens that is."""
        count = 0
        for row in job.rows:
            for token in row.pending:
                self.table.append(row.slot, job.key(token, row.length))
                row.length += 1
            count += len(row.pending)
            row.pending = []
        return count

    def release(self, job: Job) -> None:
        """`job` computes no more; the tokens in its slots stay valid."""
        for slot in _slots_of(job):
            self.table.release(slot)

    def discard(self, job: Job, *, clear: bool) -> None:
        """Forget what `job` has computed; `clear` it where it holds what is not a number."""
        for slot in _slots_of(job):
            self.table.discard(slot)
            if clear:
                self.pool.clear(slot)


def _slots_of(job: Job) -> list[int]:
    slots = [job.slot, *(row.slot for row in job.rows)]
    job.slot = SLOTLESS
    for row in job.rows:
        row.slot = SLOTLESS
    return [slot for slot in slots if slot != SLOTLESS]
