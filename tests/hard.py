"""The tests under hard conditions: `python -m tests.hard`, which is `make test-hard`; and a pytest plugin.

Tests are to say the same on a fast machine and a slow one, in any order, beside other work, whatever the
clock does and however fast a model answers. Each condition is an option, for one run of pytest by itself:

    python -m pytest -p tests.hard --order 7 --load 2 --frozen-clock --model-speed slow tests/server
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[1]
NOW: Final = 1_800_000_000
"""Where a clock stands that stands still."""
SLOWER: Final = 10
ENGINE: Final = ("tests/server", "tests/web", "tests/terminal", "tests/conversation", "tests/store")
"""What waits for a model without looking at its numbers."""


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
        time.time = lambda: float(NOW)
        time.time_ns = lambda: NOW * 1_000_000_000
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


def _runs(rounds: int) -> Iterator[tuple[str, list[str]]]:
    """Names and options: orders with and without load, a clock that stands still, fast and slow models."""
    for seed in range(1, rounds + 1):
        load = ["--load", str(os.cpu_count() or 1)] if seed % 2 == 0 else []
        yield f"order {seed}{', under load' if load else ''}", ["--order", str(seed), *load]
    yield "a frozen clock", ["--frozen-clock", "--order", "0"]
    for speed in ("fast", "slow"):
        yield f"a {speed} model", ["--model-speed", speed, *ENGINE]


def main() -> int:
    """Run all conditions; returns 0 where every test passed in each."""
    parser = argparse.ArgumentParser(prog="python -m tests.hard", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="random orders, every second one under load")
    parser.add_argument("--jobs", default="2", help="test processes (default: 2)")
    parser.add_argument("rest", nargs="*", help="for pytest, behind --: paths, -k, ...")
    args = parser.parse_args()
    failed = []
    for name, options in _runs(args.rounds):
        begun = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-q", "-n", args.jobs, "-p", "tests.hard", *options]
        done = subprocess.run([*command, *args.rest], cwd=ROOT, check=False)
        print(
            f"== {name}: {'green' if not done.returncode else 'FAILED'}, {time.monotonic() - begun:.0f} s",
            flush=True,
        )
        if done.returncode:
            failed.append(name)
    print(f"== failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
