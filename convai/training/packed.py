"""Packed text for language-model pre-training: everything that anybody says, in one long stream."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convai.core.errors import DataError
from convai.text.frames import Frame
from convai.text.segments import IGNORE, NOBODY, dialogue_tree
from convai.training.batches import Batch
from convai.training.corpus import EncodedCorpus


class StreamData:
    """Packed text for language-model pre-training: rows of T tokens cut from one long stream."""

    def __init__(
        self,
        stream: dict[str, NDArray[Any]],
        *,
        n_positions: int = 512,
        batch_tokens: int = 8192,
        accumulation: int = 1,
        seed: int = 0,
    ) -> None:
        """`stream`: arrays `ids`, `segments` and `labels` of equal length (see `make_stream`);
        `accumulation`: micro-batches of a step, those of all processes together.
        """
        self.stream, self.seed, self.accumulation = stream, seed, accumulation
        self.length = n_positions
        self.rows = len(stream["ids"]) // n_positions
        if not self.rows:
            raise DataError(f"the text has fewer than {n_positions} tokens; add more or lower --row-tokens")
        self.batch_rows = max(1, batch_tokens // n_positions)
        self.steps_per_epoch = max(1, self.rows // (self.batch_rows * accumulation))

    def steps(self, start: int = 0, *, rank: int = 0, world: int = 1) -> Iterator[list[Batch]]:
        """Steps from number `start` on; every epoch is a new order of the rows."""
        size, per_epoch = self.accumulation, self.steps_per_epoch
        for epoch in itertools.count(start // per_epoch):
            order = np.random.default_rng([self.seed, epoch]).permutation(self.rows)
            first = start % per_epoch if epoch == start // per_epoch else 0
            for step in range(first, per_epoch):
                # wrapped: a text too short for a step is read several times in it
                groups = [
                    order.take(
                        range((step * size + i) * self.batch_rows, (step * size + i + 1) * self.batch_rows),
                        mode="wrap",
                    )
                    for i in range(size)
                ]
                yield [self._collate(group) for group in groups[rank::world]]

    def _collate(self, rows: NDArray[np.int64]) -> Batch:
        places = rows[:, None] * self.length + np.arange(self.length)

        def take(name: str) -> torch.Tensor:
            return torch.from_numpy(self.stream[name][places].astype(np.int64))

        labels = take("labels").view(-1)
        lm_places = (labels != IGNORE).nonzero().squeeze(1)
        positions = torch.arange(self.length).expand(len(rows), self.length).contiguous()
        nobody = torch.full(places.shape, NOBODY)
        return Batch(
            take("ids"),
            positions,
            take("segments"),
            None,
            lm_places,
            labels[lm_places],
            torch.zeros((0, 0), dtype=torch.long),
            *(nobody, nobody, nobody),
        )


def make_stream(corpora: Sequence[EncodedCorpus], frame: Frame) -> dict[str, NDArray[Any]]:
    """All dialogues after one another, every turn of everyone a target, as int32 arrays."""
    parts: dict[str, list[NDArray[np.int32]]] = {"ids": [], "segments": [], "labels": []}
    for dialog in itertools.chain.from_iterable(corpora):
        sequence = dialogue_tree(frame, dialog.persona, dialog.turns, targets="all", choices=False)
        for name, values in parts.items():
            values.append(np.array(getattr(sequence, name), dtype=np.int32))
    return {name: np.concatenate(values) for name, values in parts.items()}
