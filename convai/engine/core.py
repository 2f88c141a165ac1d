"""The engine without threads: a queue, a cache, and `step`, which brings every request forward.

`submit` and `stats` may be called from any thread; everything else belongs to whoever steps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from convai.core.errors import ConvaiError
from convai.core.settings import EngineConfig
from convai.engine.backends import InferenceModel
from convai.engine.beam_search import Search
from convai.engine.cache import Cache
from convai.engine.draw import BROKEN
from convai.engine.errors import NotANumber, Overloaded, as_failure
from convai.engine.job import Job, ReplyRow
from convai.engine.mailbox import Deliveries, Parcel
from convai.engine.messages import Counters, Reason, Stats, Timings
from convai.engine.runner import Outcome, RowDraw, Runner
from convai.engine.scheduler import Scheduler, StepPlan, TaskState
from convai.model.double_heads import DoubleHeadsModel
from convai.text.tokenizer import Tokenizer

MOST_RESTING: Final = 512
"""Slots for conversations at rest, however small they are: each is looked at for every new prompt."""


class Core:
    """All state of an engine. After `step` nothing is half done: what broke has failed, the rest goes on."""

    def __init__(
        self,
        source: DoubleHeadsModel,
        tokenizer: Tokenizer,
        config: EngineConfig,
        capacity: int,
        clock: Callable[[], float],
    ) -> None:
        """`capacity`: tokens of a prompt and its reply, at most.

        Raises SettingsError when `source` cannot compute in the precision, or on the device, asked for.
        """
        model = InferenceModel(source, config.precision, config.device)
        self.config = config
        self.precision: str = model.precision
        self.counters = Counters()
        self.clock = clock
        self._tokenizer = tokenizer
        self._eos_id = tokenizer.frame.end_id
        self._stop_ids = frozenset(tokenizer.frame.stop_ids)
        slot_bytes = model.new_pool(1, capacity).bytes
        resting = min(max(config.prefix_mib * 2**20 // slot_bytes, 1), MOST_RESTING)
        self._pool = model.new_pool(config.slots + resting, capacity)
        self._runner = Runner(model, self._pool, tokenizer, source)
        self._deliveries = Deliveries()
        self._lock = threading.RLock()  # of the scheduler; a stream may be collected while it is held
        self._reset()

    def _reset(self) -> None:
        self._cache = Cache(self._pool)
        self._scheduler: Scheduler[Job] = Scheduler(
            slots=self.config.slots,
            queue=self.config.queue,
            step_tokens=self.config.step_tokens,
            begin=self._begin,
        )

    # -- from any thread ---------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Put `job` in the queue. Raises Overloaded, or SettingsError where it needs too many slots."""
        with self._lock:
            try:
                self._scheduler.submit(job)
            except Overloaded:
                self.counters.refused += 1
                raise
            self.counters.submitted += 1

    def stats(self) -> Stats:
        """The counters, and what there is now."""
        with self._lock:
            return Stats(
                **asdict(self.counters),
                waiting=self._scheduler.waiting,
                running=self._scheduler.running,
                slots=self._cache.table.slots,
                slots_in_use=self._cache.table.in_use,
                slots_resting=self._cache.table.resting,
                cache_bytes=self._pool.bytes,
            )

    def reserve(self) -> None:
        """Take the memory of the whole cache now, and not as it fills; not during a step."""
        self._pool.reserve()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to compute."""
        return not (self._scheduler.waiting or self._scheduler.running)

    # -- a step ------------------------------------------------------------------------------------

    def step(self) -> None:
        """Compute the next token of everything that runs.

        What an exception concerns fails with an EngineError, and nothing else. KeyboardInterrupt and its like
        are passed on, once all that was running has failed.
        """
        try:
            with self._lock:
                plan = self._scheduler.plan(self.clock())
            for job in plan.expired:
                self._expire(job)
            if plan:
                self._compute(plan)
        except BaseException as error:
            # what was being changed when it came is not known: begin again with an empty cache
            self._start_over(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._deliveries.wake()

    def _compute(self, plan: StepPlan[Job]) -> None:
        try:
            outcome = self._runner.compute(plan.decodes, plan.prefills)
        except Exception as error:
            jobs = [*plan.decodes, *(job for job, _ in plan.prefills)]
            if len(jobs) == 1:
                self._fail(jobs[0], as_failure(error))
                return
            for job in plan.decodes:
                self._compute(StepPlan(decodes=[job]))
            for job, count in plan.prefills:
                self._compute(StepPlan(prefills=[(job, count)]))
            return
        self.counters.steps += 1
        self._account(plan)
        self._apply(outcome)
        for job in (*plan.decodes, *(job for job, _ in plan.prefills)):
            self._deliver(job)

    def _account(self, plan: StepPlan[Job]) -> None:
        """Write down what is in the cache now."""
        tokens = sum(map(self._cache.keep_pending, plan.decodes))
        for job, count in plan.prefills:
            self._cache.table.computed(job.slot, count)
            tokens += count
            if self._scheduler.computed(job, count):
                self._cache.spread(job)
        self.counters.tokens_computed += tokens

    def _apply(self, outcome: Outcome) -> None:
        now = self.clock()
        for drawn in outcome.drawn:
            self._grow(drawn, now)
        for row, logprob in outcome.summed:
            row.logprob = logprob
        for row, score in outcome.scored:
            if row.job.state is not TaskState.OVER:
                self._end(row, score, now)
        for job, logits, first in outcome.searched:
            try:
                if first is not None:
                    job.search = Search(job, first, self._eos_id)
                    logits = logits.expand(len(job.rows), -1)
                self._search(job, job.search.step(logits, self._runner.forbidden_in_beams), now)
            except ConvaiError as error:
                self._fail(job, error)

    def _grow(self, drawn: RowDraw, now: float) -> None:
        row, token = drawn.row, drawn.token
        job = row.job
        if job.state is TaskState.OVER:
            return
        if token == BROKEN:
            self._fail(job, NotANumber("the model's output"))
            return
        if row.first_token != row.first_token:
            row.first_token = now
        row.drawn += 1
        row.logprob += drawn.logprob
        self.counters.tokens_drawn += 1
        if token in self._stop_ids:
            # whichever end it chose, what follows reads the frame's own
            row.end("stop", self._eos_id)
            return
        row.pending = [token]
        job.out.append(row.push(token, drawn.logprob, drawn.alternatives))
        if row.stopped:
            row.end("stop", self._eos_id)
        elif len(row.ids) == job.limit:
            row.end("length", self._eos_id)

    def _end(self, row: ReplyRow, score: float, now: float) -> None:
        """A reply is complete."""
        job = row.job
        try:
            job.out.append(row.finished(score, now))
        except NotANumber as error:
            self._fail(job, error)
            return
        job.cut |= row.reason == "deadline"
        job.ended.append((score, row.slot, self._cache.table.release(row.slot)))
        job.rows.remove(row)
        self._scheduler.narrow(job, 1)
        if job.rows:
            return
        # the next turn goes on from the best one: the others may be the first to go
        job.ended.sort(key=lambda end: end[0])
        for _, slot, mark in reversed(job.ended[:-1]):
            self._cache.table.cool(slot, mark)
        self._finish(job, now)

    def _search(self, job: Job, moved: tuple[list[int], list[int]] | None, now: float) -> None:
        """A beam search has gone on, or come to its end."""
        for row in job.rows:
            row.drawn += 1
            if row.drawn == 1:
                row.first_token = now
        self.counters.tokens_drawn += len(job.rows)
        if moved is None:
            self._end_search(job, "length")
            return
        self._cache.follow(job, *moved)

    def _end_search(self, job: Job, reason: Reason) -> None:
        """Leave one beam: the reply that was found, to be computed once more for its score."""
        tokens = job.search.best()
        self._scheduler.narrow(job, self._cache.keep_one_beam(job))
        [row] = job.rows
        stopped = bool(tokens) and tokens[-1] == self._eos_id
        for token in tokens[: len(tokens) - stopped]:
            row.push(token, 0.0, ())
        row.pending = list(row.ids)
        row.end("stop" if stopped else reason, self._eos_id)

    def _begin(self, job: Job) -> int | None:
        reused = self._cache.open(job)
        if reused is not None:
            job.start_rows(self._tokenizer)
            self.counters.tokens_reused += reused
        return reused

    # -- ends --------------------------------------------------------------------------------------

    def _deliver(self, job: Job) -> None:
        """Hand over what is new, and count what the next step computes."""
        job.pending = sum(len(row.pending) for row in job.rows)
        if job.out and job.state is not TaskState.OVER:
            self._deliveries.put(job.mailbox, Parcel(job.out))
            job.out = []

    def _finish(self, job: Job, now: float) -> None:
        with self._lock:  # who reads the counters sees it running or finished, never neither
            self._scheduler.finish(job, now)
            if job.cut:
                self.counters.expired += 1
            else:
                self.counters.finished += 1
        self._deliveries.put(job.mailbox, Parcel(job.out, over=True))
        job.out = []

    def _fail(self, job: Job, error: ConvaiError) -> None:
        """`job` breaks off; nothing that it computed is used again."""
        broken = isinstance(error, NotANumber)
        self._cache.discard(job, clear=broken)
        with self._lock:
            self._scheduler.remove(job)
            self.counters.failed += 1
            self.counters.not_a_number += broken
        self._deliveries.put(job.mailbox, Parcel(job.out, over=True, error=error))
        job.out = []

    def _expire(self, job: Job) -> None:
        """The deadline of `job` is over: its replies end as they are, and are scored in the next step."""
        if job.state is TaskState.DECODE:
            if job.search is not None:
                if all(row.reason is None for row in job.rows):
                    self._end_search(job, "deadline")
            for row in job.rows:
                if row.reason is None:
                    row.end("deadline", self._eos_id)
            self._deliver(job)
            return
        now = self.clock()
        self._cache.release(job)
        timings = Timings(total=now - job.submitted, prompt_tokens=job.prompt)
        job.out = [*job.unbegun(self._tokenizer, timings)]
        job.cut = True
        self._finish(job, now)

    def cancel(self, job: Job) -> None:
        """Nobody reads `job` any more: stop it, and free its slots, whose tokens stay valid."""
        if job.state is TaskState.OVER:
            return
        self._cache.release(job)
        with self._lock:
            self._scheduler.remove(job)
            self.counters.cancelled += 1
        self._deliveries.put(job.mailbox, Parcel((), over=True))
        self._deliveries.wake()

    def fail_all(self, error: ConvaiError) -> None:
        """Break off everything that runs or waits."""
        for job in self._scheduler.tasks():
            self._fail(job, error)
        self._deliveries.wake()

    def _start_over(self, error: BaseException) -> None:
        failure = as_failure(error)
        with self._lock:
            jobs = self._scheduler.tasks()
            self._reset()
            for job in jobs:
                if job.state is TaskState.WAITING:
                    self._scheduler.submit(job)
                    continue
                job.state = TaskState.OVER
                self.counters.failed += 1
                self._deliveries.put(job.mailbox, Parcel(job.out, over=True, error=failure))
