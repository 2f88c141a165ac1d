"""The tests under hard conditions: `python -m tests.hard`, which is `make test-hard`; and a pytest plugin.

Tests are to say the same on a fast machine and a slow one, in any order, beside other work, whatever the
clock does and however fast a model answers. Each condition is an option, for one run of pytest by itself:

    python -m pytest -p tests.hard --order 7 --load 2 --frozen-clock --model-speed slow tests/server

All of them take hours; `python -m tests.hard --only frozen slow --parts tests/server tests/store` some of it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[1]
SLOWER: Final = 10
ENGINE: Final = ("tests/server", "tests/web", "tests/terminal", "tests/conversation", "tests/store")
"""What waits for a model without looking at its numbers."""
ELSEWHERE: Final = {"LC_ALL": "C", "TZ": "Pacific/Chatham", "PYTHONHASHSEED": "4711", "COLUMNS": "60"}
"""Another's environment: no UTF-8 in its locale, and a time zone that is 45 minutes off."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hard", "hard conditions")
    group.addoption("--order", type=int, metavar="SEED", help="files, and tests in them, in a random order")
    group.addoption("--load", type=int, default=0, metavar="N", help="busy processes beside the tests")
    group.addoption("--frozen-clock", action="store_true", help="time.time() says the same for ever")
    group.addoption(
        "--model-speed", choices=("fast", "slow"), help="models that answer at once, or ten times later"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--frozen-clock"):
        stopped = time.time_ns()  # now: processes that tests start have a clock that goes on
        time.time = lambda: stopped / 1e9
        time.time_ns = lambda: stopped
    speed = config.getoption("--model-speed")
    if speed is not None:
        _change_models(speed)
    if not hasattr(config, "workerinput"):  # once, and not in each of xdist's processes
        busy = [_Busy() for _ in range(config.getoption("--load"))]
        config.add_cleanup(lambda: [one.end() for one in busy])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--model-speed") == "fast":
        out = [item for item in items if item.get_closest_marker("computes")]
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]
    seed = config.getoption("--order")
    if seed is None:
        return
    rng = random.Random(seed)
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    order = sorted(files)
    rng.shuffle(order)
    for path in order:
        rng.shuffle(files[path])
    items[:] = [item for path in order for item in files[path]]


class _Busy:
    """A process that computes for as long as it is let, at a low priority, as another user's would be."""

    def __init__(self) -> None:
        self._process = multiprocessing.get_context("spawn").Process(target=_compute, daemon=True)
        self._process.start()

    def end(self) -> None:
        self._process.kill()
        self._process.join()


def _compute() -> None:
    os.nice(5)
    parent = os.getppid()
    while os.getppid() == parent:
        sum(i * i for i in range(200_000))


def _change_models(speed: str) -> None:
    """Models that answer at once, by word and place alone; or that sleep for nine times what they take."""
    import torch

    from convai.engine.backends.model import InferenceModel

    compute = InferenceModel.forward

    def at_once(self: Any, words: Any, positions: Any, segments: Any, spans: Any, pool: Any) -> Any:
        self._check(spans, words.shape[0], pool)
        if words.max() >= self.config.vocab_size or words.min() < 0:
            raise IndexError("an id that the model does not have")
        wave = torch.arange(1, self.config.n_embd + 1, dtype=torch.float32)
        hidden = torch.sin(words[:, None] * wave) + torch.cos(positions[:, None] * wave / 7)
        asked, at = [], 0
        for span in spans:
            at += span.count
            asked.append(hidden[at - span.asked : at])
        return torch.cat(asked)

    def later(self: Any, *args: Any) -> Any:
        begun = time.perf_counter()
        found = compute(self, *args)
        time.sleep((SLOWER - 1) * (time.perf_counter() - begun))
        return found

    InferenceModel.forward = at_once if speed == "fast" else later  # type: ignore[method-assign]


# -- all of them, one after another ------------------------------------------------------------------


class Condition(NamedTuple):
    """One way to run tests: options for pytest, what is in the environment, and for which parts it is."""

    name: str
    options: list[str]
    environment: Mapping[str, str] = MappingProxyType({})
    parts: tuple[str, ...] | None = None


def conditions(rounds: int) -> Iterator[Condition]:
    """Orders with and without load, a clock that stands still, fast and slow models, another's machine."""
    for seed in range(1, rounds + 1):
        load = ["--load", str(os.cpu_count() or 1)] if seed % 2 == 0 else []
        yield Condition(f"order-{seed}", ["--order", str(seed), *load])
    yield Condition("frozen", ["--frozen-clock", "--order", "0"])
    for speed in ("fast", "slow"):
        yield Condition(speed, ["--model-speed", speed], parts=ENGINE)
    yield Condition("elsewhere", [], ELSEWHERE)


def parts() -> list[str]:
    """The folders of tests, and the tests in none."""
    folders = [path for path in (ROOT / "tests").iterdir() if any(path.glob("**/test_*.py"))]
    return sorted(str(path.relative_to(ROOT)) for path in (*folders, *(ROOT / "tests").glob("test_*.py")))


def main() -> int:
    """Run conditions, part by part, each a pytest of its own; returns 0 where every test passed in each."""
    parser = argparse.ArgumentParser(prog="python -m tests.hard", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="random orders, every second one under load")
    parser.add_argument("--jobs", default="1", help="test processes (default: 1)")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="conditions: order-1, frozen, fast, slow, elsewhere"
    )
    parser.add_argument(
        "--parts", nargs="+", metavar="PATH", help="folders or files (default: all of tests/)"
    )
    parser.add_argument("rest", nargs="*", help="for pytest, behind --: -k, --durations, ...")
    args = parser.parse_args()
    known = list(conditions(args.rounds))
    if unknown := set(args.only or ()) - {one.name for one in known}:
        parser.error(
            f"no condition {', '.join(sorted(unknown))}; there are {', '.join(o.name for o in known)}"
        )
    failed = []
    for one in known:
        if args.only and one.name not in args.only:
            continue
        for part in args.parts or one.parts or parts():
            begun = time.monotonic()
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-n",
                args.jobs,
                "-p",
                "tests.hard",
                *one.options,
            ]
            environment = {**os.environ, **one.environment}
            done = subprocess.run([*command, part, *args.rest], cwd=ROOT, env=environment, check=False)
            good = done.returncode in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
            took = time.monotonic() - begun
            print(f"== {one.name}, {part}: {'green' if good else 'FAILED'}, {took:.0f} s", flush=True)
            if not good:
                failed.append(f"{one.name}, {part}")
    print(f"== failed: {'; '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
