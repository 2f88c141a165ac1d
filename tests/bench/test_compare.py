"""Contenders in processes of their own: alternation, medians, and those that fail."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from convai.bench.compare import SEQUENTIAL_CHATS, alternate, one, ratios, running, summary
from convai.bench.contenders.base import Setup, Timing
from convai.bench.worker import Worker, WorkerError
from convai.bench.workload import Workload, chats
from convai.core.errors import ConvaiError
from tests.bench.fakes import PRECISION, Dying, Failing, Short, Slow, Unloadable, fake

WORK = Workload().quick()
SETUP = Setup(Path("nowhere"), WORK, 1, 8)
VOCAB = 100


def test_a_worker_answers_and_leaves() -> None:
    worker = Worker(fake("ours"), SETUP)
    assert worker.ready() == {"precision": PRECISION}
    asked = chats(WORK, VOCAB, 2, seed=0)
    assert worker.call("run", asked, 0) == Timing(1.0, (0.125,) * 2, (1.0,) * 2, ((0, 1, 2, 3),) * 2)
    with pytest.raises(WorkerError, match=r"ours: AttributeError: .*no_such_method"):
        worker.call("no_such_method")
    assert worker.call("about") == {"precision": PRECISION}
    worker.close()
    with pytest.raises(WorkerError, match="its process ended"):
        worker.call("about")


def test_a_worker_that_dies_is_said() -> None:
    worker = Worker(fake("ours", Dying), SETUP)
    worker.ready()
    with pytest.raises(WorkerError, match=r"ours: its process ended \(exit code 7\)"):
        worker.call("run", chats(WORK, VOCAB, 1, seed=0), 0)
    worker.close()


def test_those_that_cannot_run_are_named_and_the_others_compared() -> None:
    absent = dataclasses.replace(fake("absent"), needs=(("no_such_module", "absent-package"),))
    kinds = [
        fake("ours"),
        fake("slow", Slow),
        fake("one_by_one", Slow, sequential=True),
        absent,
        fake("unloadable", Unloadable),
        fake("failing", Failing),
    ]
    with running(kinds, SETUP) as field:
        assert set(field.workers) == {"ours", "slow", "one_by_one", "failing"}
        assert field.about["ours"] == {"precision": PRECISION}
        timings = alternate(field, SETUP, VOCAB, count=8, rounds=2)
        assert set(timings) == {"ours", "slow", "one_by_one"}
        assert [len(t) for t in timings.values()] == [2, 2, 2]
        assert len(timings["ours"][0].replies) == 8
        assert len(timings["one_by_one"][0].replies) == SEQUENTIAL_CHATS
        assert field.missing == {
            "absent": "absent-package not installed (pip install 'convai[bench]')",
            "unloadable": "unloadable: RuntimeError: no such model",
            "failing": "failing: RuntimeError: out of luck",
        }
    assert ratios(timings, "ours") == pytest.approx({"vs_slow": 3.0, "vs_one_by_one": 3.0})


def test_shorter_replies_are_not_compared() -> None:
    worker = Worker(fake("short", Short), SETUP)
    worker.ready()
    with pytest.raises(ConvaiError, match=r"short: 1 replies of \[1\] tokens, 1 of 4 were asked for"):
        one(worker, chats(WORK, VOCAB, 1, seed=0), WORK.reply, 0)
    worker.close()


def test_figures_are_medians() -> None:
    runs = [
        Timing(s, (s / 10,), (s,), ((1, 2, 3, 4, 5),)) for s in (1.0, 5.0, 2.0)
    ]  # of which one was disturbed
    told = summary(runs)
    assert told == pytest.approx(
        {
            "tokens_per_s": 2.5,
            "decode_tokens_per_s": 4 / 1.8,
            "first_token_ms": 200.0,
            "seconds_least": 1.0,
            "seconds_most": 5.0,
            "rounds": 3,
        }
    )
