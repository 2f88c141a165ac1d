from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from convai.core.processor import allowed, keep

ROOT = Path(__file__).parent.parent.parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process choose its cores")


def in_a_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_there_are_cores() -> None:
    assert 1 <= len(allowed()) <= (os.cpu_count() or 1)


@linux
def test_a_pinned_process_stays_where_it_is() -> None:
    one = min(allowed())
    code = (
        f"import os; os.sched_setaffinity(0, {{{one}}});"
        "from convai.core.processor import allowed, keep; cores = allowed();"
        "import torch; keep(cores); print(os.sched_getaffinity(0))"
    )
    assert in_a_process(code) == f"{{{one}}}"


@linux
def test_keeping_what_is_kept_changes_nothing() -> None:
    before = os.sched_getaffinity(0)
    keep(allowed())
    assert os.sched_getaffinity(0) == before


@linux
def test_contenders_are_made_on_their_cores() -> None:
    one = min(allowed())
    code = (
        "import dataclasses, os, pathlib; from convai.bench.contenders.base import Setup;"
        "from convai.bench.workload import Workload; from tests.bench.fakes import fake;"
        f"fake('a').make(Setup(pathlib.Path('x'), Workload(), 1, 1, cores=frozenset({{{one}}})));"
        "print(os.sched_getaffinity(0))"
    )
    assert in_a_process(code) == f"{{{one}}}"
