"""A request on its way through the engine: its replies as they grow. No torch but what a step hands over."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from convai.decoding import NO_PAST, Past, row_generator, uniforms
from convai.engine.bans import ReplyBans
from convai.engine.errors import NotANumber
from convai.engine.mailbox import Mailbox
from convai.engine.messages import Begun, Event, Finished, Reason, Request, Timings, Token
from convai.engine.past import ReplyPast
from convai.engine.prefix import Keys, token_key, token_keys
from convai.engine.scheduler import Task
from convai.text.detokenizer import StreamDecoder
from convai.text.tokenizer import Tokenizer

SLOTLESS = -1
"""The slot of a reply that is not computed yet, or no more."""


@dataclass(slots=True, eq=False)
class ReplyRow:
    """One reply as it grows.

    `length`: its tokens in the cache, the prompt's counted; `pending`: those that the next step computes.
    With a `reason` the last of them is the <eos>, at which the reply is scored.
    """

    job: Job
    index: int
    decoder: StreamDecoder
    bans: ReplyBans
    draws: list[float]
    past: ReplyPast | None = None
    chances: list[float] = field(default_factory=list)
    """XTC's numbers, a token each; none where it is off."""
    slot: int = SLOTLESS
    length: int = 0
    ids: list[int] = field(default_factory=list)
    text: str = ""
    logprob: float = 0.0
    pending: list[int] = field(default_factory=list)
    reason: Reason | None = None
    stopped: bool = False
    """Whether one of the request's `stops` was said."""
    first_token: float = math.nan
    drawn: int = 0

    def push(self, token: int, logprob: float, alternatives: tuple[tuple[str, float], ...]) -> Token:
        """One more token, which is no <eos>."""
        self.ids.append(token)
        self.bans.push(token)
        if self.past is not None:
            self.past.push(token)
        piece = self.decoder.push(token)
        self.text += piece
        stops = self.job.request.stops
        if stops and piece:
            last = ("\n" + self.text)[-(len(piece) + max(map(len, stops))) :]
            self.stopped |= any(stop in last for stop in stops)
        return Token(self.index, token, piece, logprob, alternatives)

    def resume(self, begun: Begun, limit: int, eos_id: int) -> None:
        """Go on from what another engine has drawn: the next step computes all of it at once."""
        for token in begun.ids:
            self.push(token, 0.0, ())
        self.logprob, self.drawn, self.pending = begun.logprob, len(begun.ids), list(begun.ids)
        if self.stopped:
            self.end("stop", eos_id)
        elif len(self.ids) >= limit:
            self.end("length", eos_id)

    def before(self) -> Past:
        """What the next token depends on beside the model."""
        chance = self.chances[len(self.ids)] if self.chances else 0.0
        if self.past is None:
            return Past(chance=chance) if chance else NO_PAST
        return self.past.now(chance)

    def end(self, reason: Reason, eos_id: int) -> None:
        """The reply is over: what is left to compute is its <eos>, and what the cache lacks before that."""
        self.reason = reason
        if self.pending != [eos_id]:
            self.pending = [*self.pending, eos_id]

    def finished(self, score: float, now: float) -> Finished:
        """The event of its end. Raises NotANumber when the score is none."""
        if not score < math.inf:
            raise NotANumber("the next-sentence head's output")
        job, reason = self.job, self.reason
        assert reason is not None
        timings = Timings(
            job.admitted - job.submitted,
            self.first_token - job.submitted,
            now - job.submitted,
            self.drawn,
            job.prompt,
            job.reused,
        )
        text = self.text + self.decoder.finish()
        return Finished(self.index, tuple(self.ids), text, self.logprob, score, reason, timings)


@dataclass(slots=True, eq=False, kw_only=True)
class Job(Task):
    """A request, its replies, and the mailbox of whoever reads them."""

    request: Request
    limit: int
    keys: Keys
    mailbox: Mailbox
    past: ReplyPast | None = None
    """What was said before the replies, where that has to do with their tokens."""
    slot: int = SLOTLESS
    reused: int = 0
    rows: list[ReplyRow] = field(default_factory=list)
    ended: list[tuple[float, int, int]] = field(default_factory=list)
    """Score, slot and its mark, of every reply that is complete."""
    cut: bool = False
    """Whether its deadline ended a reply of it."""
    out: list[Event] = field(default_factory=list)
    search: Any = None
    """The beam search (convai.engine.beam_search.Search), where it is one."""

    @property
    def segment(self) -> int:
        """The segment of every token of the replies: their speaker's."""
        return self.request.prompt.segment

    @property
    def first_position(self) -> int:
        """The position of a reply's first token."""
        return self.request.prompt.positions[-1] + 1

    def key(self, token: int, place: int) -> int:
        """The key of a reply's token at place `place` of its sequence."""
        return token_key(token, self.first_position + place - self.prompt, self.segment)

    def start_rows(self, tokenizer: Tokenizer) -> None:
        """Make its replies, all empty."""
        config = self.request.config
        fresh = ReplyBans(config, self.request.own_turns)
        sampled = config.num_beams == 1 and config.temperature > 0
        begun = {one.candidate: one for one in self.request.begun}
        first = self.request.first_candidate
        count = config.candidates if config.num_beams == 1 else config.num_beams
        for index in range(first, first + count):
            if index in begun and begun[index].over:
                continue
            draws = uniforms(row_generator(config.seed, index), self.limit) if sampled else []
            bans = fresh.copy() if (sampled and self.rows) or begun else fresh
            row = ReplyRow(self, index, tokenizer.stream(), bans, draws)
            row.past = self.past.copy() if self.past and ((sampled and self.rows) or begun) else self.past
            if sampled and config.xtc_probability:
                row.chances = uniforms(row_generator(config.seed, index, "xtc"), self.limit)
            if index in begun:
                row.resume(begun[index], self.limit, tokenizer.frame.end_id)
            self.rows.append(row)

    def unbegun(self, tokenizer: Tokenizer, timings: Timings) -> list[Finished]:
        """The ends of its replies where its time was over before any of them could be gone on with."""
        config, ends = self.request.config, []
        begun = {one.candidate: one for one in self.request.begun}
        first = self.request.first_candidate
        for index in range(first, first + (config.candidates if config.num_beams == 1 else 1)):
            one = begun.get(index, Begun(index))
            if not one.over:
                text = tokenizer.decode(list(one.ids)) if one.ids else ""
                ends.append(Finished(index, one.ids, text, one.logprob, -math.inf, "deadline", timings))
        return ends


def new_job(
    request: Request, n_positions: int, *, now: float, deadline: float | None, past: ReplyPast | None = None
) -> Job:
    """A job for `request`. Raises SettingsError where the prompt leaves no room for a reply."""
    limit = request.room(n_positions)
    prompt = request.prompt
    seconds = request.deadline if request.deadline is not None else deadline
    return Job(
        width=request.width,
        prompt=len(prompt),
        submitted=now,
        deadline=math.inf if seconds is None else now + seconds,
        request=request,
        limit=limit,
        keys=token_keys(prompt.ids, prompt.positions, prompt.segments),
        mailbox=Mailbox(),
        past=past,
    )
