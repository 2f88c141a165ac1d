"""What every test shares: one thread, no network, the same random examples on every run."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from convai.model.bases import base_path

# Set before torch or transformers can be imported, and inherited by the processes that tests start.
# One thread: the tests' models are tiny, and two busy threads on a shared machine wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["PIP_NO_INDEX"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ.pop("CONVAI_DEBUG", None)

# A shell starts its background jobs with Ctrl-C ignored, and every process below inherits that: the tests of
# Ctrl-C would wait for nothing.
if (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: a loaded machine is no bug. The examples are the same ones on every run, so that who changes a
# line is told about that line; `pytest --hypothesis-profile=search` looks for new ones.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("search"), derandomize=True, database=None)
settings.load_profile("same")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Undo what an earlier test did to torch's threads; costs nothing where torch is not loaded."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def smollm() -> Path:
    """The folder of the base model smollm2-135m; the test is skipped where it is not on this machine."""
    folder = base_path("smollm2-135m")
    if folder is None:
        pytest.skip("the base smollm2-135m is not on this machine: convai models get smollm2-135m")
    return folder


@pytest.fixture(scope="session")
def convai_data() -> Path:
    """The folder of real dialogues named by CONVAI_DATA; the test is skipped where that is unset."""
    folder = os.environ.get("CONVAI_DATA")
    if not folder:
        pytest.skip("CONVAI_DATA is unset: no real dialogues to test with")
    path = Path(folder)
    assert path.is_dir(), f"CONVAI_DATA={folder} is not a folder"
    return path
