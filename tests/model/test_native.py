"""Libraries that cannot be used are none; buffers in large pages are buffers like any other."""

from __future__ import annotations

import mmap
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
import torch

from convai.model import native


@pytest.mark.parametrize("size", [1, native.LARGE - 1, native.LARGE + 5])
@pytest.mark.parametrize("advised", [True, False])
def test_a_buffer_is_zeros_that_can_be_written(
    size: int, advised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not advised:
        monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    buffer = native.zeros(size)
    assert buffer.dtype == torch.uint8
    assert buffer.shape == (size,)
    assert not buffer.any()
    buffer[-1] = 7
    assert int(buffer.sum()) == 7


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no such advice")
def test_a_kernel_without_large_pages_does_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", -1)  # advice that no kernel knows
    assert native.zeros(native.LARGE).numel() == native.LARGE


def test_freed_memory_is_kept_where_the_library_can() -> None:
    code = (
        "from convai.model.native import keep_freed; import platform, torch\n"
        "assert keep_freed() == (platform.libc_ver()[0] == 'glibc')\n"
        "print(float(torch.ones(1 << 24).sum()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("16777216.0\n", 0), done.stderr


def test_without_a_file_that_can_be_loaded_there_is_no_library(tmp_path: Path) -> None:
    assert native.library(tmp_path / "cell", "supported") is None
    (tmp_path / f"cell{EXTENSION_SUFFIXES[0]}").write_bytes(b"not a library")
    assert native.library(tmp_path / "cell", "supported") is None


@pytest.mark.parametrize(
    ("can", "functions", "usable"), [(1, (), True), (0, (), False), (1, ("more",), False)]
)
def test_a_library_is_asked_whether_it_can_run_here(
    can: int, functions: tuple[str, ...], usable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loaded:
        def supported(self) -> int:
            return can

    (tmp_path / f"cell{EXTENSION_SUFFIXES[0]}").touch()
    monkeypatch.setattr("ctypes.CDLL", lambda path: Loaded())
    assert isinstance(native.library(tmp_path / "cell", "supported", functions), Loaded) == usable


def test_rows_are_near_their_bytes_times_the_scale() -> None:
    rows = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]])
    numbers, scale = native.quantise(rows)
    assert numbers.tolist() == [[64, -127, 32], [0, 0, 0]]
    assert torch.allclose(numbers * scale, rows, atol=float(scale.max()) / 2)
