"""What `convai bench decode` and `concurrency` share: settings, the comparison of one size, the table."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from convai.bench.bandwidth import Bandwidth, measure_bandwidth, share_of_limit
from convai.bench.compare import Field, alternate, ratios, running, summary
from convai.bench.contenders.base import Setup, Timing
from convai.bench.contenders.registry import BASELINES, KINDS, OURS
from convai.bench.random_model import save_size
from convai.bench.sizes import SIZES
from convai.bench.workload import Workload
from convai.core.errors import SettingsError
from convai.core.processor import Cores, allowed, keep

BUSY: Final = 0.5
"""Processes that want to run, in the mean of the last minute, above which figures are doubtful."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """What is measured. `quick` is for trying: short chats and one round, whose figures mean nothing."""

    sizes: tuple[str, ...] = ("S", "M")
    baselines: tuple[str, ...] = BASELINES
    rounds: int = 5
    threads: int = 0
    """0 takes one a core."""
    cores: Cores = field(default_factory=allowed)
    """Where everybody runs."""
    precision: str = "auto"
    quick: bool = False

    def __post_init__(self) -> None:
        """Raises SettingsError for what cannot be measured."""
        for name, value, known in (("size", self.sizes, SIZES), ("baselines", self.baselines, BASELINES)):
            if unknown := [v for v in value if v not in known]:
                raise SettingsError(f"{name}={unknown[0]!r}: use some of {', '.join(known)}")
        if self.rounds < 1:
            raise SettingsError(f"rounds={self.rounds}: use 1 or more")
        if self.threads < 0:
            raise SettingsError(f"threads={self.threads}: use 0 (all cores) or more")

    @property
    def work(self) -> Workload:
        return Workload().quick() if self.quick else Workload()

    @property
    def n_threads(self) -> int:
        """Of everybody."""
        return self.threads or len(self.cores)


def surroundings(plan: BenchPlan, show: Callable[[str], None]) -> tuple[Bandwidth, dict[str, Any]]:
    """The memory's bandwidth with the threads that everybody gets, and what else there is to say first.

    `show` gets a line about the memory, and one where the machine is busy with something else.
    """
    load = os.getloadavg()[0]
    keep(plan.cores)
    bandwidth = measure_bandwidth(plan.n_threads, *((16, 0.1) if plan.quick else ()))
    copy, read = bandwidth.copy / 1e9, bandwidth.read / 1e9
    show(f"{plan.n_threads} threads; memory: copy {copy:.1f} GB/s, read {read:.1f} GB/s")
    if load > BUSY:
        show(f"something else was running in the last minute (load {load:.1f}): do not trust these figures")
    return bandwidth, {"threads": plan.n_threads, "load": load, "copy_gb_per_s": copy, "read_gb_per_s": read}


@contextmanager
def contenders(plan: BenchPlan, size: str, chats: int) -> Iterator[tuple[Setup, Field, dict[str, Any]]]:
    """A folder with the model, and the processes of ours and the baselines on it."""
    with tempfile.TemporaryDirectory(prefix="convai-bench-") as folder:
        told = save_size(size, Path(folder))
        setup = Setup(Path(folder), plan.work, plan.n_threads, chats, plan.precision, plan.cores)
        kinds = [KINDS[name] for name in (OURS, *plan.baselines) if chats > 1 or KINDS[name].single]
        with running(kinds, setup, SIZES[size].family) as field:
            yield setup, field, told


def compared(
    field: Field, setup: Setup, size: str, count: int, rounds: int, bandwidth: Bandwidth
) -> tuple[dict[str, Any], dict[str, float]]:
    """Figures by contender, and the ratios, for `count` chats of one size.

    Raises SettingsError, with its own words, when our engine is among those that cannot run.
    """
    timings = alternate(field, setup, SIZES[size].vocab_size, count, rounds)
    if OURS not in timings:
        raise SettingsError(f"convai's own engine cannot be measured: {field.missing[OURS]}")
    figures = {name: _figures(field, name, size, t, count, bandwidth) for name, t in timings.items()}
    return figures, ratios(timings, OURS)


def _figures(
    field: Field, name: str, size: str, timings: Sequence[Timing], count: int, bandwidth: Bandwidth
) -> dict[str, Any]:
    precision = field.about[name].get("precision") or KINDS[name].precision
    figures: dict[str, Any] = {"precision": precision, **summary(timings)}
    if KINDS[name].sequential or count == 1:
        rate = figures["decode_tokens_per_s"]
        figures["share_of_bandwidth"] = share_of_limit(SIZES[size], precision, rate, bandwidth)
    return figures


def header() -> str:
    """The head of the table that `rows` fills."""
    return (
        f"{'size':<5}{'chats':>6}  {'engine':<24}{'weights':<9}{'tokens/s':>10}"
        f"{'ours is':>9}{'first token':>13}{'decoding':>11}{'of limit':>10}"
    )


def rows(
    size: str, count: int, figures: Mapping[str, Mapping[str, Any]], ratio: Mapping[str, float]
) -> Iterator[str]:
    """A line a contender: tokens a second in all, our rate over its, time to the first token, decoding."""
    for name, f in figures.items():
        faster = f"{ratio[f'vs_{name}']:.2f} x" if name != OURS else ""
        share = f"{f['share_of_bandwidth']:.0%}" if "share_of_bandwidth" in f else ""
        decoding = f"{f['decode_tokens_per_s']:.0f}/s" if f["decode_tokens_per_s"] else ""
        yield (
            f"{size:<5}{count:>6}  {KINDS[name].title:<24}{f['precision']:<9}{f['tokens_per_s']:>10.1f}"
            f"{faster:>9}{f['first_token_ms']:>10.1f} ms{decoding:>11}{share:>10}"
        )


def missing_lines(size: str, missing: Mapping[str, str]) -> Iterator[str]:
    """A line for each contender that did not take part."""
    for name, reason in missing.items():
        yield f"{size:<5}{'':>6}  {KINDS[name].title:<24}{KINDS[name].precision:<9}missing: {reason}"
