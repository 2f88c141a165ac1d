"""What every benchmark prints: a table for people, then one line of JSON."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def matmul_peak(dtype: torch.dtype, device: torch.device, size: int = 2048, seconds: float = 1.0) -> float:
    """Floating-point operations a second of square matrix products on random data: the machine's own peak."""
    a = torch.randn(size, size, device=device).to(dtype)
    b = torch.randn(size, size, device=device).to(dtype)
    best = 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        best = max(best, 2 * size**3 / timed(lambda: a @ b, device))
    return best


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that `work` takes, the device's queue included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def json_line(ratios: Mapping[str, float], raw: Mapping[str, Any]) -> str:
    """The last line: machine, flat ratios (above 1 is better), and the figures behind them."""
    return json.dumps({"machine": machine(), "ratios": dict(ratios), "raw": dict(raw)})
