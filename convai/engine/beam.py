"""Beam search as a state machine on log-probabilities; it holds no model and no cache.

The caller runs the model and keeps its cache in step with the beams:

    state = BeamState(batch=1, beams=4, eos_id=1, max_length=40)
    while not state.done:
        log_probs = ...                     # [B * beams, V], of the last tokens
        parents, tokens = state.step(log_probs)
        ...                                 # reorder the cache by `parents`, feed `tokens`
    state.best(0).tokens
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from convai.core.errors import SettingsError
from convai.decoding import check_logits


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A finished reply: `tokens` with `<eos>` where it ended by itself, without where it was cut off."""

    tokens: tuple[int, ...]
    log_prob: float
    """Sum over the tokens, `<eos>` included; natural logarithm."""
    score: float
    """`log_prob / length ** length_penalty`, the length counting `<eos>`."""


@dataclass(frozen=True, slots=True)
class _Running:
    tokens: tuple[int, ...]
    log_prob: float


class BeamState:
    """`batch` searches side by side, each keeping its `beams` best unfinished replies.

    At each step the `2 * beams` best continuations are looked at, so that `beams` unfinished ones remain
    even when every beam ends. Those with `<eos>` among the first `beams` are finished hypotheses, of which
    the `beams` best are kept; at `max_length` what is left counts as finished too. Scores are normalised as
    by Wu et al. 2016 (GNMT), section 7, with transformers' simpler `length ** length_penalty`.

    A search is done when `beams` hypotheses are finished and either `early_stopping` is on or no unfinished
    reply can still beat the worst of them, whatever it goes on with (transformers' `early_stopping="never"`).
    It also ends when every continuation is forbidden; what it has then counts as finished.
    """

    def __init__(
        self,
        batch: int,
        beams: int,
        *,
        eos_id: int,
        max_length: int,
        length_penalty: float = 1.0,
        early_stopping: bool = False,
    ) -> None:
        """Raises SettingsError for fewer than 1 beam or token, or a negative length penalty."""
        for name, value, least in (("num_beams", beams, 1), ("max_length", max_length, 1)):
            if value < least:
                raise SettingsError(f"{name}={value}: use {least} or more")
        if not 0 <= length_penalty < math.inf:
            raise SettingsError(f"length_penalty={length_penalty}: use 0 or more")
        self.batch = batch
        self.beams = beams
        self.eos_id = eos_id
        self.max_length = max_length
        self.length = 0
        self._alpha = length_penalty
        self._early = early_stopping
        # All beams start alike: only the first may go on, or they would stay copies of each other.
        start = [_Running((), 0.0), *[_Running((), -math.inf)] * (beams - 1)]
        self._running = [list(start) for _ in range(batch)]
        self._finished: list[list[Hypothesis]] = [[] for _ in range(batch)]
        self._done = [False] * batch

    @property
    def done(self) -> bool:
        """Whether every search is over."""
        return all(self._done)

    def running(self) -> Iterator[tuple[int, ...]]:
        """The tokens so far of every row of the next `step`, in order: what its n-gram bans look at."""
        return (beam.tokens for row in self._running for beam in row)

    def hypotheses(self, row: int) -> list[Hypothesis]:
        """The finished replies of search `row`, best first; at most `beams`."""
        return list(self._finished[row])

    def best(self, row: int) -> Hypothesis:
        """The best finished reply of search `row`; IndexError before there is one."""
        return self._finished[row][0]

    def step(self, log_probs: Tensor) -> tuple[Tensor, Tensor]:
        """Take `[B * beams, V]` log-probabilities of the next token; forbidden tokens have -inf.

        Returns, both `[B * beams]` on their device, the row of `log_probs` that each beam goes on from, and
        the token that it goes on with. Rows of a search that is done repeat themselves with `<eos>`.

        Raises ConvaiError where a number is not a number or plus infinity, SettingsError where V < 2.
        """
        size = log_probs.size(-1)
        if size < 2:
            raise SettingsError("beam search over a vocabulary of one token: use greedy decoding")
        check_logits(log_probs)
        self.length += 1
        past = torch.tensor([[beam.log_prob for beam in row] for row in self._running], dtype=torch.float32)
        sums = log_probs.float().view(self.batch, self.beams, size) + past.to(log_probs.device)[:, :, None]
        best = sums.flatten(1).topk(2 * self.beams)
        parents: list[int] = []
        tokens: list[int] = []
        for row, (scores, places) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
            moves = [(score, *divmod(place, size)) for score, place in zip(scores, places, strict=True)]
            chosen = self._advance(row, moves)
            parents += (row * self.beams + parent for parent, _ in chosen)
            tokens += (token for _, token in chosen)
        device = log_probs.device
        return torch.tensor(parents, device=device), torch.tensor(tokens, device=device)

    def _advance(self, row: int, moves: list[tuple[float, int, int]]) -> list[tuple[int, int]]:
        """Go on with the best of `moves` (log-probability, parent, token; best first)."""
        stay = [(beam, self.eos_id) for beam in range(self.beams)]
        if self._done[row]:
            return stay
        running = self._running[row]
        if moves[0][0] == -math.inf:  # nothing may follow
            self._finish(row, [_Running(beam.tokens, beam.log_prob) for beam in running])
            self._done[row] = True
            return stay
        at_end = self.length >= self.max_length
        ended: list[_Running] = []
        going: list[tuple[int, int]] = []
        beams: list[_Running] = []
        for rank, (score, parent, token) in enumerate(moves):
            reply = _Running((*running[parent].tokens, token), score)
            if token == self.eos_id or at_end:
                if rank < self.beams:
                    ended.append(reply)
            elif len(going) < self.beams:
                going.append((parent, token))
                beams.append(reply)
        self._finish(row, ended)
        if at_end:
            self._done[row] = True
            return stay
        self._running[row] = beams
        self._done[row] = len(self._finished[row]) == self.beams and (
            self._early or not self._can_improve(row, beams[0].log_prob)
        )
        return going

    def _finish(self, row: int, replies: list[_Running]) -> None:
        found = self._finished[row]
        for reply in replies:
            if reply.log_prob > -math.inf:
                length = max(len(reply.tokens), 1)
                score = reply.log_prob / math.pow(length, self._alpha)
                found.append(Hypothesis(reply.tokens, reply.log_prob, score))
        found.sort(key=lambda hypothesis: -hypothesis.score)
        del found[self.beams :]

    def _can_improve(self, row: int, log_prob: float) -> bool:
        # A reply's log-probability only falls, and the length that helps it most is the longest.
        return log_prob / math.pow(self.max_length, self._alpha) > self._finished[row][-1].score
