"""The scheduler by itself, on a fake clock: who is computed when, and that nobody waits for ever."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convai.core.errors import SettingsError
from convai.engine.errors import Overloaded
from convai.engine.scheduler import LONGEST_WAIT, Scheduler, StepPlan, Task, TaskState


@dataclass(slots=True, eq=False, kw_only=True)
class Job(Task):
    """A request that draws `left` tokens a reply; it waits `shy` steps for what another one computes."""

    left: int = 3
    reused: int = 0
    shy: int = 0


def begin(job: Job) -> int | None:
    if job.shy:
        job.shy -= 1
        return None
    return job.reused


def scheduler(**changes: int) -> Scheduler[Job]:
    return Scheduler(**{"slots": 4, "queue": 100, "step_tokens": 16, **changes}, begin=begin)


def work(plan: StepPlan[Job], of: Scheduler[Job], now: float) -> None:
    """Do what the plan says."""
    for job in plan.expired:
        of.finish(job, now)
    for job in plan.decodes:
        job.left -= 1
        if not job.left:
            of.finish(job, now)
    for job, count in plan.prefills:
        if of.computed(job, count):
            job.pending = job.width


jobs = st.builds(
    Job,
    width=st.integers(1, 4),
    prompt=st.integers(1, 60),
    left=st.integers(1, 12),
    shy=st.integers(0, 3),
)


@settings(max_examples=150)
@given(
    script=st.lists(st.tuples(st.integers(0, 6), jobs), min_size=1, max_size=30),
    slots=st.integers(4, 9),
    step_tokens=st.integers(1, 40),
    leave=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 40)), max_size=6),
)
def test_every_request_is_served_in_order_and_within_bounds(
    script: list[tuple[int, Job]], slots: int, step_tokens: int, leave: list[tuple[int, int]]
) -> None:
    """Requests come at random steps, some leave; all others are served, admitted in the order they came."""
    of = scheduler(slots=slots, step_tokens=step_tokens)
    arrivals: list[tuple[int, Job]] = []
    step = 0
    for gap, job in script:
        step += gap
        arrivals.append((step, job))
    everyone = [job for _, job in arrivals]
    leaving = {when: everyone[who % len(everyone)] for who, when in leave}
    admitted: list[Job] = []
    paused = False
    for now in range(6000):
        for when, job in arrivals:
            if when == now:
                of.submit(job)
        if (gone := leaving.get(now)) is not None and gone in of.tasks():
            of.remove(gone)
        before = {job: job.left for job in of.tasks() if job.state is TaskState.DECODE}
        plan = of.plan(float(now))
        admitted += [job for job in everyone if job.admitted == now]
        running = [job for job in of.tasks() if job.state is not TaskState.WAITING]
        assert of.free == slots - sum(job.width for job in running) >= 0
        if plan.decodes or not before:
            assert set(plan.decodes) == before.keys(), "all running replies go on together"
            paused = False
        else:
            assert plan.prefills, "they wait for nothing but prompts"
            assert not paused, "and for no more than a step"
            paused = True
        read = sum(count for _, count in plan.prefills)
        *whole, _last = plan.prefills or [(everyone[0], 0)]
        assert all(count == job.prompt - job.computed for job, count in whole)
        decoded = sum(job.pending for job in plan.decodes)
        assert read <= max(step_tokens - decoded, step_tokens // 4, 1)
        assert all(0 < count <= job.prompt - job.computed for job, count in plan.prefills)
        waiting = [job for job in of.tasks() if job.state is TaskState.WAITING]
        assert not waiting or waiting[0].width > of.free, "nobody waits while there is room"
        work(plan, of, float(now))
        if now > step and not of.tasks():
            break
    assert not of.tasks(), "nobody waits for ever"
    assert of.free == slots
    stayed = [job for job in everyone if job not in leaving.values()]
    assert all(job.left == 0 for job in stayed)
    came = [job for job in everyone if job in set(admitted)]
    assert admitted == came, "first come, first served"


def test_a_prompt_is_read_in_chunks_beside_the_replies() -> None:
    of = scheduler(step_tokens=16)
    talking, long = Job(width=2, prompt=3, left=50), Job(width=1, prompt=40)
    of.submit(talking)
    work(of.plan(0.0), of, 0.0)
    of.submit(long)
    steps = []
    while long.state is not TaskState.DECODE:
        plan = of.plan(0.0)
        steps.append((bool(plan.decodes), [count for _, count in plan.prefills]))
        work(plan, of, 0.0)
    assert steps == [(True, [14]), (False, [16]), (True, [10])]


def test_prompts_that_end_share_a_step_and_no_other_begins_behind_them() -> None:
    of = scheduler(step_tokens=16)
    for length in (5, 9, 4, 30):
        of.submit(Job(width=1, prompt=length))
    chunks = []
    for _ in range(4):
        plan = of.plan(0.0)
        chunks.append([count for _, count in plan.prefills])
        work(plan, of, 0.0)
    assert chunks == [[5, 9], [4], [16], [13]]  # beside 0, 2, 0 and 3 replies


def test_a_full_house_still_reads_new_prompts() -> None:
    of = scheduler(slots=20, step_tokens=16)
    for _ in range(18):
        of.submit(Job(width=1, prompt=1, left=99))
    for _ in range(4):
        work(of.plan(0.0), of, 0.0)
    assert len(of.plan(0.0).decodes) == 18
    of.submit(Job(width=1, prompt=40))
    plans = [of.plan(0.0) for _ in range(4)]
    assert [(len(plan.decodes), plan.prefills[0][1]) for plan in plans] == [(0, 16), (18, 4)] * 2


def test_what_is_known_of_a_prompt_is_not_read() -> None:
    of = scheduler()
    of.submit(Job(width=1, prompt=10, reused=7))
    ((job, count),) = of.plan(0.0).prefills
    assert (job.computed, count) == (7, 3)


def test_who_waits_for_another_s_tokens_does_not_hold_up_the_rest() -> None:
    of = scheduler()
    shy, bold = Job(width=1, prompt=5, shy=2), Job(width=1, prompt=6)
    of.submit(shy)
    of.submit(bold)
    assert of.plan(0.0).prefills == [(bold, 6)]
    assert of.plan(0.0).prefills == [(bold, 6)]
    assert of.plan(0.0).prefills == [(shy, 5), (bold, 6)]


def test_a_wide_request_is_not_overtaken() -> None:
    of = scheduler(slots=4)
    first, wide, small = Job(width=2, prompt=1, left=5), Job(width=4, prompt=1), Job(width=1, prompt=1)
    for job in (first, wide, small):
        of.submit(job)
    of.plan(0.0)
    assert [job.state for job in (first, wide, small)] == [
        TaskState.PREFILL,
        TaskState.WAITING,
        TaskState.WAITING,
    ]
    of.narrow(first, 1)
    assert of.free == 3
    of.remove(first)
    of.remove(first)
    of.plan(0.0)
    assert [job.state for job in (wide, small)] == [TaskState.PREFILL, TaskState.WAITING]
    of.remove(small)
    assert of.waiting == 0


def test_deadlines_are_found_once_wherever_a_request_is() -> None:
    of = scheduler(slots=2)
    talking = Job(width=1, prompt=1, left=99, deadline=3.0)
    reading = Job(width=1, prompt=99, deadline=3.0)
    queued = Job(width=1, prompt=1, deadline=2.0)
    late = Job(width=1, prompt=1)
    for job in (talking, reading, queued, late):
        of.submit(job)
    work(of.plan(0.0), of, 0.0)
    plan = of.plan(1.9)
    assert (plan.expired, plan.decodes, [job for job, _ in plan.prefills]) == ([], [talking], [reading])
    assert of.plan(2.0).expired == [queued]
    of.remove(queued)
    plan = of.plan(3.0)
    assert plan.expired == [talking, reading]
    assert not plan.decodes
    assert not plan.prefills
    assert not plan
    of.remove(reading)
    plan = of.plan(4.0)
    assert plan.expired == []
    assert plan.decodes == [talking], "whoever planned may let it end in order"


def test_a_full_queue_refuses_with_an_estimate() -> None:
    of = scheduler(slots=1, queue=3)
    assert of.retry_after() == 1.0
    ends = [10.0, 14.0, 18.0, 22.0]
    running = Job(width=1, prompt=1, left=1)
    of.submit(running)
    of.plan(0.0)
    for end in ends:
        of.finish(running, end)
        running = Job(width=1, prompt=1)
        of.submit(running)
        of.plan(end)
    for _ in range(3):
        of.submit(Job(width=1, prompt=1))
    with pytest.raises(
        Overloaded, match=r"^3 requests are waiting already; try again in 12 seconds$"
    ) as caught:
        of.submit(Job(width=1, prompt=1))
    assert caught.value.retry_after == pytest.approx(12.0)
    assert of.waiting == 3
    of.finish(running, 1e9)
    assert of.retry_after() == LONGEST_WAIT


def test_more_than_all_slots_are_refused() -> None:
    of = scheduler(slots=2)
    with pytest.raises(SettingsError, match=r"3 replies at once are asked for, the engine has 2 slots"):
        of.submit(Job(width=3, prompt=1))
    assert of.tasks() == []


def test_times_not_known_yet() -> None:
    job = Job(width=1, prompt=1)
    assert job.deadline == math.inf
    assert math.isnan(job.admitted)
