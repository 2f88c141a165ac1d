"""One step: one forward pass for everything that is running, one draw for all rows, one pass for the scores.

`Runner.compute` changes nothing but the cache's places behind what its requests have computed so far, so a
step that fails may be computed again without the request that broke it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from convai.core.settings import DecodingConfig
from convai.decoding import log_prob_of, top_alternatives
from convai.engine.backends import InferenceModel, KVPool, SlotSpan
from convai.engine.draw import draw_tokens
from convai.engine.job import Job, ReplyRow
from convai.engine.match_inputs import match_scores
from convai.model.double_heads import DoubleHeadsModel
from convai.model.logits import forbid
from convai.text.tokenizer import Tokenizer

Alternatives = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class RowDraw:
    """A token of a row, its log-probability, and the most probable tokens at its place, if asked for."""

    row: ReplyRow
    token: int
    logprob: float
    alternatives: Alternatives


@dataclass(slots=True)
class Outcome:
    """What a step found.

    `drawn`: the next tokens (BROKEN where the model's output is not a number); `scored`: rows that are
    complete, with their scores; `searched`: beam searches with the logits `[beams, V]` of their rows, or of
    the prompt `[1, V]` with its last hidden state `[1, D]`; `summed`: the log-probability of a beam search's
    reply.
    """

    drawn: list[RowDraw] = field(default_factory=list)
    scored: list[tuple[ReplyRow, float]] = field(default_factory=list)
    searched: list[tuple[Job, Tensor, Tensor | None]] = field(default_factory=list)
    summed: list[tuple[ReplyRow, float]] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    """The tokens of a step, and where the answers will be."""

    words: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)
    spans: list[SlotSpan] = field(default_factory=list)
    asked: int = 0
    """Hidden states that are asked for."""

    def add(
        self, slot: int, start: int, words: Sequence[int], position: int, segment: int, wanted: int
    ) -> int:
        """Tokens that follow one another; returns the place of the last one's hidden state."""
        count = len(words)
        self.words += words
        self.positions += range(position, position + count)
        self.segments += [segment] * count
        return self.ask(SlotSpan(slot, start, count, wanted))

    def ask(self, span: SlotSpan) -> int:
        """A span whose tokens are there; returns the place of the last hidden state of it."""
        self.spans.append(span)
        self.asked += span.asked
        return self.asked - 1


class Runner:
    """Computes steps with a model and a pool of caches."""

    def __init__(
        self, model: InferenceModel, pool: KVPool, tokenizer: Tokenizer, source: DoubleHeadsModel
    ) -> None:
        """`source` is what `model` was made from; its match head, if any, is used as it is."""
        self.model, self.pool, self._source = model, pool, source
        self._plain_draw = model.plain_draw
        self._tokenizer = tokenizer
        self._eos_id, stops = tokenizer.frame.end_id, set(tokenizer.frame.stop_ids)
        hidden = set(tokenizer.hidden_ids) | set(range(tokenizer.vocab_size, model.config.vocab_size))
        # ids without a text of their own, and rows of the embedding that the tokenizer does not know
        self.forbidden = self._index(sorted(hidden - stops))
        self.forbidden_in_beams = self._index(sorted(hidden - {self._eos_id}))
        self._line_end = tuple(tokenizer.encode("\n")[-1:])
        self._other_stops = tuple(sorted(stops - {self._eos_id}))

    def _index(self, places: Sequence[int]) -> Tensor:
        return torch.tensor(places, dtype=torch.long, device=self.model.device)

    @torch.inference_mode()
    def compute(self, decodes: Sequence[Job], prefills: Sequence[tuple[Job, int]]) -> Outcome:
        """The next token of every reply in `decodes`, and the next tokens of the prompts in `prefills`."""
        batch = _Batch()
        ahead: list[tuple[int, list[ReplyRow]]] = []  # place in the batch → the rows that are drawn from it
        ends: list[tuple[int, ReplyRow]] = []
        finals: list[tuple[int, ReplyRow]] = []
        beams: dict[Job, dict[int, int]] = {}  # beam → place
        rows = [row for job in decodes for row in job.rows if row.pending]
        # neighbouring slots in their order can be read without a copy
        rows.sort(key=lambda row: row.slot)
        for row in rows:
            job = row.job
            position = job.first_position + row.length - job.prompt
            # the log-probability of a found beam needs all its tokens, everything else the last one
            wanted = len(row.pending) if row.reason is not None and job.search is not None else 1
            place = batch.add(row.slot, row.length, row.pending, position, job.segment, wanted)
            if row.reason is not None:
                ends.append((place, row))
                if job.search is not None:
                    finals.append((place, row))
            elif job.search is None:
                ahead.append((place, [row]))
            else:
                beams.setdefault(job, {})[row.index] = place
        for job, count in prefills:
            start, end = job.computed, job.computed + count
            prompt = job.request.prompt
            whole = end == job.prompt
            fresh = [row for row in job.rows if not row.ids] if whole else []
            place = batch.ask(SlotSpan(job.slot, start, count, int(bool(fresh))))
            batch.words += prompt.ids[start:end]
            batch.positions += prompt.positions[start:end]
            batch.segments += prompt.segments[start:end]
            if fresh:
                if job.request.config.num_beams > 1:
                    beams[job] = {0: place}
                else:
                    ahead.append((place, fresh))
        inputs = self._index([batch.words, batch.positions, batch.segments])  # type: ignore[list-item]
        words, positions, segments = inputs.unbind()
        hidden = self.model.forward(words, positions, segments, batch.spans, self.pool)
        outcome = Outcome()
        if ahead:
            outcome.drawn = self._draw(hidden, ahead)
        if ends:
            places = [place for place, _ in ends]
            outcome.scored = self._score(
                [row for _, row in ends], self.model.mc_logits(hidden[places]).tolist()
            )
        for place, row in finals:
            outcome.summed.append((row, self._reply_logprob(hidden, place, row)))
        for job, place_of in beams.items():
            states = hidden[[place_of[beam] for beam in sorted(place_of)]]
            first = None if job.search is not None else states
            outcome.searched.append((job, self.model.lm_logits(states).clone(), first))
        return outcome

    def _score(self, rows: list[ReplyRow], scores: list[float]) -> list[tuple[ReplyRow, float]]:
        """The rows with their next-sentence scores; the match head's share is added to them."""
        if self._source.match_head is not None:
            replies = [(row.job.request.prompt, row.ids) for row in rows]
            matched = match_scores(self._source, replies, self._eos_id)
            scores = [score + more for score, more in zip(scores, matched, strict=True)]
        return list(zip(rows, scores, strict=True))

    def _draw(self, hidden: Tensor, ahead: Sequence[tuple[int, list[ReplyRow]]]) -> list[RowDraw]:
        places = [place for place, _ in ahead]
        rows = [row for _, group in ahead for row in group]
        logits = self.model.lm_logits(hidden if len(places) == len(hidden) else hidden[places])
        if len(rows) > len(places):  # several candidates of one prompt
            logits = logits[[i for i, (_, group) in enumerate(ahead) for _ in group]]
        configs: list[DecodingConfig] = [row.job.request.config for row in rows]
        named = self._named(logits, rows)
        tokens, logprobs = draw_tokens(
            logits,
            configs,
            [row.draws[len(row.ids)] if row.draws else 0.0 for row in rows],
            replies=[row.ids for row in rows],
            eos_id=self._eos_id,
            forbidden=self.forbidden,
            banned=[self._banned(row) for row in rows],
            pasts=[row.before() for row in rows],
            guarded=self._line_end,
            plain_draw=self._plain_draw,
        )
        return [
            RowDraw(row, token, logprob, named.get(i, ()))
            for i, (row, token, logprob) in enumerate(zip(rows, tokens, logprobs, strict=True))
        ]

    def _banned(self, row: ReplyRow) -> Sequence[int]:
        """What may not come next; the sampler sees to the minimum length, but knows one end alone."""
        banned = row.bans.banned()
        if self._other_stops and len(row.ids) < row.job.request.config.min_length:
            return (*banned, *self._other_stops)
        return banned

    def _named(self, logits: Tensor, rows: Sequence[ReplyRow]) -> dict[int, Alternatives]:
        """The most probable tokens of the rows that ask for them."""
        wanted = [i for i, row in enumerate(rows) if row.job.request.alternatives]
        if not wanted:
            return {}
        most = max(rows[i].job.request.alternatives for i in wanted)
        allowed = forbid(logits[wanted], self.forbidden)
        ids, values = (part.tolist() for part in top_alternatives(allowed, most))
        return {
            i: tuple(
                (self._tokenizer.piece(token) if rows[i].ids else self._tokenizer.decode([token]), value)
                for token, value in zip(tokens, own, strict=True)
                if value > -math.inf  # fewer are left than asked for
            )[: rows[i].job.request.alternatives]
            for i, tokens, own in zip(wanted, ids, values, strict=True)
        }

    def _reply_logprob(self, hidden: Tensor, end: int, row: ReplyRow) -> float:
        """Log-probability of a beam search's reply, whose tokens and <eos> stand up to place `end`."""
        tokens = row.pending if row.reason == "stop" else row.pending[:-1]
        states = torch.cat([row.job.search.first, hidden[end - len(row.pending) + 1 : end]])[: len(tokens)]
        return float(log_prob_of(self.model.lm_logits(states), self._index(tokens)).sum())
