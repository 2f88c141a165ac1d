"""What a measurement leaves behind: nothing, also where it was ended by a signal or killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from convai.bench.cluster.folder import own_folder, sweep
from convai.bench.cluster.processes import OwnPostgres

POSTGRESQL = shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
PATIENCE = 120.0
MEASURES = """
import sys
from pathlib import Path
from convai.bench.cluster.folder import own_folder
with own_folder(lambda left: None) as folder:
    (folder / "something").mkdir()
    print(folder, flush=True)
    sys.stdin.read()
"""
HAS_A_PROCESS = """
import sys
from pathlib import Path
from convai.bench.cluster.processes import ClusterProcess, made_up_model, stub
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    model = made_up_model(folder / "model")
    process = ClusterProcess(stub, str(model), 1.0, None, False, log=folder / "log")
    process.start()
    print(process.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@contextmanager
def running(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of Python's, and the line that it says."""
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_no_folder(number: int, folders: Path) -> None:
    with running("-c", MEASURES) as (process, said):
        assert Path(said, "something").is_dir()
        process.send_signal(number)
        assert process.wait(PATIENCE) != 0
    assert list(folders.iterdir()) == []


def test_the_next_one_removes_what_a_killed_one_left(folders: Path) -> None:
    ended: list[Path] = []
    other = folders / "convai-cluster-of-somebody"
    other.mkdir()
    with running("-c", MEASURES) as (process, said):
        sweep(ended.append)
        assert ended == []  # it lives
        process.kill()
        process.wait(PATIENCE)
        assert Path(said).is_dir()
    with own_folder(ended.append) as mine:
        assert ended == [Path(said)]
        assert {*folders.iterdir()} == {mine, other}
    assert list(folders.iterdir()) == [other]


@pytest.mark.slow
@pytest.mark.skipif(not POSTGRESQL, reason="PostgreSQL is not installed")
def test_a_database_that_was_left_is_ended() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="convai-") as made:
        folder = Path(made)
        folder.chmod(0o711)
        OwnPostgres.end_left(folder / "postgresql")  # there was none yet
        left = OwnPostgres(folder / "postgresql").pid
        OwnPostgres.end_left(folder / "postgresql")
        gone(left)


@pytest.mark.slow
def test_doors_and_engines_end_with_who_measures(folders: Path) -> None:
    script = folders / "measures.py"
    script.write_text(HAS_A_PROCESS)
    with running(script, folders) as (process, said):
        os.kill(int(said), 0)
        process.kill()
        process.wait(PATIENCE)
        gone(int(said))


def gone(pid: int) -> None:
    """Wait for a process' end."""
    limit = time.monotonic() + PATIENCE
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        assert time.monotonic() < limit
