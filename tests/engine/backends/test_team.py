"""How many threads share a pass, told by invented times."""

from __future__ import annotations

import pytest
import torch

from convai.engine.backends.team import FIRST_PAUSE, LONGEST_PAUSE, WINDOW, Team


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def computes(team: Team, *, running: float, passes: int = 1, brief: bool = False) -> None:
    """Passes of a whole window each, in which `running` threads have a processor."""
    for _ in range(passes):
        threads = team.size(brief=brief)
        team.tell(threads, WINDOW, min(running, threads) * WINDOW)


def test_all_threads_compute_while_they_run(clock: Clock) -> None:
    team = Team(8, clock=clock)
    computes(team, running=8, passes=20)
    computes(team, running=7, passes=20)
    assert team.size() == team.size(brief=True) == 8


def test_without_a_number_it_is_that_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    team = Team()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert team.size() == 3
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert team.size() == 2


def test_a_busy_neighbour_halves_them_until_they_run(clock: Clock) -> None:
    team = Team(8, clock=clock)
    computes(team, running=2)
    assert team.size() == 4
    computes(team, running=2)
    assert team.size() == 2
    computes(team, running=2, passes=5)
    assert team.size() == 2


def test_one_disturbed_pass_among_many_short_ones_is_not_enough(clock: Clock) -> None:
    team = Team(2, clock=clock)
    for wall, busy in [(0.001, 0.001), *[(0.001, 0.002)] * 30]:
        team.tell(2, wall, busy)
    assert team.size() == 2


def test_a_long_disturbed_pass_is(clock: Clock) -> None:
    team = Team(2, clock=clock)
    team.tell(2, 1.0, 1.1)
    assert team.size() == 1


def test_more_are_tried_again_after_a_pause_and_in_brief_passes_only(clock: Clock) -> None:
    team = Team(2, clock=clock)
    computes(team, running=1)
    assert team.size(brief=True) == 1
    clock.now += FIRST_PAUSE
    assert team.size() == 1
    assert team.size(brief=True) == 2
    computes(team, running=2, brief=True)
    assert team.size() == 2


def test_tries_that_fail_become_rarer_up_to_a_bound(clock: Clock) -> None:
    team = Team(2, clock=clock)
    computes(team, running=1)
    pauses = []
    for _ in range(8):
        begun = clock.now
        while team.size(brief=True) == 1:
            clock.now += FIRST_PAUSE / 2
        pauses.append(clock.now - begun)
        computes(team, running=1, brief=True)
        assert team.size() == 1
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE, LONGEST_PAUSE)


def test_after_a_quiet_while_the_next_pause_is_short_again(clock: Clock) -> None:
    team = Team(2, clock=clock)
    computes(team, running=1)
    for _ in range(6):
        clock.now += LONGEST_PAUSE
        computes(team, running=1, brief=True)
    clock.now += LONGEST_PAUSE
    computes(team, running=2, brief=True)
    assert team.size() == 2
    clock.now += 60
    computes(team, running=1)
    clock.now += FIRST_PAUSE
    assert team.size(brief=True) == 2


def test_one_thread_stays_one_whatever_its_times(clock: Clock) -> None:
    team = Team(1, clock=clock)
    computes(team, running=0.1, passes=9)
    clock.now += 60
    assert team.size() == team.size(brief=True) == 1
