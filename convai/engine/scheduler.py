"""Which requests are computed in the next step, and how much of each. Pure Python: no model, no clock.

A request waits in the queue until there are slots for all of its replies, then its prompt is computed in
chunks, then its replies grow by a token a step. While there are prompts to compute, replies go on in every
second step: a new chat's first token does not wait for theirs, and they go on whatever arrives. With what a
step's budget of tokens leaves come the prompts, first come, first served: those that end in this step, or one
chunk of a long one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Generic, TypeVar

from convai.core.errors import SettingsError
from convai.engine.errors import Overloaded

LONGEST_WAIT: Final = 60.0
"""Seconds; nobody is told to come back later than that."""
_SHORTEST_WAIT: Final = 1.0
_SMOOTHING: Final = 0.2
"""Weight of the newest measurement in the mean time between two finished requests."""


class TaskState(Enum):
    """Where a task is on its way."""

    WAITING = 1
    PREFILL = 2
    DECODE = 3
    OVER = 4


@dataclass(slots=True, eq=False, kw_only=True)
class Task:
    """What the scheduler knows of a request.

    `width`: slots that its replies take; `prompt`: tokens of its prompt, `computed` of them being in the
    cache; `pending`: tokens of its replies that the next step computes. Times are in seconds on the clock of
    whoever calls.
    """

    width: int
    prompt: int
    submitted: float = 0.0
    deadline: float = math.inf
    state: TaskState = TaskState.WAITING
    computed: int = 0
    pending: int = 0
    prefilling: bool = False
    admitted: float = math.nan
    expired: bool = False


T = TypeVar("T", bound=Task)


@dataclass(slots=True)
class StepPlan(Generic[T]):
    """One step. `expired` tasks have just passed their deadline; they are in no other list."""

    expired: list[T] = field(default_factory=list)
    decodes: list[T] = field(default_factory=list)
    prefills: list[tuple[T, int]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.decodes or self.prefills)


class Scheduler(Generic[T]):
    """The queue, the running tasks, and the slots that they hold."""

    def __init__(self, *, slots: int, queue: int, step_tokens: int, begin: Callable[[T], int | None]) -> None:
        """`begin` is called once a task's prompt may be computed: it finds the tokens in the cache already.

        It returns how many of them there are (fewer than the prompt has), or None while another task is
        computing tokens that this one will share: it is then asked again in the next step.
        """
        self.slots, self.queue, self.step_tokens = slots, queue, step_tokens
        self.free = slots
        self._begin = begin
        self._waiting: deque[T] = deque()
        self._running: dict[T, None] = {}
        self._went_on = False
        self._interval = math.nan
        self._last_end = math.nan

    @property
    def waiting(self) -> int:
        """Tasks in the queue."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Tasks that hold slots."""
        return len(self._running)

    def tasks(self) -> list[T]:
        """All that are not over: the running ones in the order of their admission, then the queue."""
        return [*self._running, *self._waiting]

    # -- coming and going --------------------------------------------------------------------------

    def submit(self, task: T) -> None:
        """Put `task` at the end of the queue.

        Raises Overloaded when the queue is full, SettingsError when the task needs more slots than there are.
        """
        if task.width > self.slots:
            raise SettingsError(
                f"{task.width} replies at once are asked for, the engine has {self.slots} slots; "
                "ask for fewer candidates or beams"
            )
        if len(self._waiting) >= self.queue:
            raise Overloaded(len(self._waiting), self.retry_after())
        self._waiting.append(task)

    def retry_after(self) -> float:
        """Seconds in which the queue, as it is, should be through; 1 before anything is known."""
        wait = self._interval * max(len(self._waiting), 1)
        return min(max(wait, _SHORTEST_WAIT), LONGEST_WAIT) if wait == wait else _SHORTEST_WAIT

    def remove(self, task: T) -> None:
        """`task` is over, wherever it was; the slots that it still holds are free."""
        if task.state is TaskState.OVER:
            return
        if task.state is TaskState.WAITING:
            self._waiting.remove(task)
        else:
            del self._running[task]
            self.free += task.width
            task.width = 0
        task.state = TaskState.OVER

    def narrow(self, task: T, rows: int) -> None:
        """`rows` of the replies of `task` are through: their slots are free."""
        task.width -= rows
        self.free += rows

    def finish(self, task: T, now: float) -> None:
        """`task` has come to its end; as `remove`, and remembered for `retry_after`."""
        self.remove(task)
        if self._last_end == self._last_end:
            gap = now - self._last_end
            known = self._interval == self._interval
            self._interval = self._interval + _SMOOTHING * (gap - self._interval) if known else gap
        self._last_end = now

    # -- a step ------------------------------------------------------------------------------------

    def plan(self, now: float) -> StepPlan[T]:
        """What the next step computes. Tasks are admitted, begun and found expired on the way."""
        plan: StepPlan[T] = StepPlan()
        for task in (*self._running, *self._waiting):
            if task.deadline <= now and not task.expired:
                task.expired = True
                plan.expired.append(task)
        while self._waiting and self._waiting[0].width <= self.free:
            task = self._waiting.popleft()
            task.state, task.admitted = TaskState.PREFILL, now
            self.free -= task.width
            self._running[task] = None
        gone = set(plan.expired)
        decodes = [task for task in self._running if task.state is TaskState.DECODE and task not in gone]
        tokens = sum(task.pending for task in decodes)
        turn = not self._went_on  # of the replies, should there be prompts to compute
        # a full house of replies must not keep new ones out for ever
        room = max(self.step_tokens - turn * tokens, self.step_tokens // 4, 1)
        for task in self._running:
            if room <= 0:
                break
            if task.state is not TaskState.PREFILL or task in gone:
                continue
            if not task.prefilling:
                reused = self._begin(task)
                if reused is None:
                    continue
                task.prefilling, task.computed = True, reused
            left = task.prompt - task.computed
            if plan.prefills and left > room:
                break  # a part of it would make those before it wait, and bring it no nearer to its end
            count = min(room, left)
            plan.prefills.append((task, count))
            room -= count
        if turn or not plan.prefills:
            plan.decodes = decodes
        self._went_on = bool(plan.decodes)
        return plan

    def computed(self, task: T, count: int) -> bool:
        """`count` more tokens of the prompt are in the cache; whether that is all of it."""
        task.computed += count
        if task.computed < task.prompt:
            return False
        task.state = TaskState.DECODE
        return True
