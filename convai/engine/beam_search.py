"""Beam search as one of the requests of a batch: its beams are rows that now and then change places."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from convai.core.settings import DecodingConfig
from convai.decoding import NO_PAST, RowSettings, process
from convai.engine.bans import ReplyBans
from convai.engine.beam import BeamState
from convai.engine.errors import NotANumber
from convai.engine.job import Job
from convai.engine.past import ReplyPast


class Search:
    """The search of one job. `first` is the hidden state `[1, D]` that a reply's first token comes from."""

    def __init__(self, job: Job, first: Tensor, eos_id: int) -> None:
        config = job.request.config
        self.first = first
        self._eos_id = eos_id
        self._state = BeamState(
            1, config.num_beams, eos_id=eos_id, max_length=job.limit, length_penalty=config.length_penalty
        )
        self._config: DecodingConfig = config
        self._settings = RowSettings.stack([config] * config.num_beams)
        self._bans: list[ReplyBans] = [job.rows[0].bans] * config.num_beams
        self._pasts: list[ReplyPast | None] = [job.rows[0].past] * config.num_beams

    def step(self, logits: Tensor, forbidden: Tensor) -> tuple[list[int], list[int]] | None:
        """Parents and tokens of the beams that go on from `logits` `[beams, V]`; None at the search's end.

        Raises NotANumber on logits that are none.
        """
        if not logits.logsumexp(-1).isfinite().all():
            raise NotANumber("the model's output")
        # On log-probabilities, as transformers does: a reply's score is then the model's own, and what is
        # forbidden takes no part in it.
        allowed = process(
            logits.log_softmax(-1),
            self._settings,
            replies=list(self._state.running()),
            eos_id=self._eos_id,
            forbidden=forbidden,
            banned=[bans.banned() for bans in self._bans],
            pasts=[NO_PAST if past is None else past.now() for past in self._pasts],
        )
        parents, tokens = (part.tolist() for part in self._state.step(allowed))
        if self._state.done:
            return None
        self._bans = [self._bans[parent].copy() for parent in parents]
        self._pasts = [past and past.copy() for past in (self._pasts[parent] for parent in parents)]
        for bans, past, token in zip(self._bans, self._pasts, tokens, strict=True):
            bans.push(token)
            if past is not None:
                past.push(token)
        return parents, tokens

    def best(self) -> tuple[int, ...]:
        """The best reply found so far, its <eos> included where it ended by itself."""
        found = self._state.hypotheses(0)
        return found[0].tokens if found else next(self._state.running())


def reorder(slots: Sequence[int], parents: Sequence[int], copy: Callable[[int, int], None]) -> list[int]:
    """The slots `[beams]` of beams that go on from the beams `parents` `[beams]`.

    The first child of a beam takes its slot; `copy(source, target)` fills those of beams that nobody goes on
    from for the others.
    """
    spare = [slot for beam, slot in enumerate(slots) if beam not in set(parents)]
    taken: set[int] = set()
    moved = []
    for parent in parents:
        if parent in taken:
            slot = spare.pop()
            copy(slots[parent], slot)
        else:
            slot = slots[parent]
            taken.add(parent)
        moved.append(slot)
    return moved
