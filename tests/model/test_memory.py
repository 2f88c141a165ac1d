"""Buffers in large pages are buffers like any other."""

from __future__ import annotations

import mmap
import subprocess
import sys

import pytest
import torch

from convai.model import memory


@pytest.mark.parametrize("size", [1, memory.LARGE - 1, memory.LARGE + 5])
@pytest.mark.parametrize("advised", [True, False])
def test_a_buffer_is_zeros_that_can_be_written(
    size: int, advised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not advised:
        monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    buffer = memory.zeros(size)
    assert buffer.dtype == torch.uint8
    assert buffer.shape == (size,)
    assert not buffer.any()
    buffer[-1] = 7
    assert int(buffer.sum()) == 7


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no such advice")
def test_a_kernel_without_large_pages_does_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", -1)  # advice that no kernel knows
    assert memory.zeros(memory.LARGE).numel() == memory.LARGE


def test_freed_memory_is_kept_where_the_library_can() -> None:
    code = (
        "from convai.model.memory import keep_freed; import platform, torch\n"
        "assert keep_freed() == (platform.libc_ver()[0] == 'glibc')\n"
        "print(float(torch.ones(1 << 24).sum()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("16777216.0\n", 0), done.stderr
