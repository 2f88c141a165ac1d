"""What kernels in C need of Python: their libraries, rows in 8 bits, and buffers in pages that suit them.

`make setup` and `pip install` compile the libraries where there is a C compiler; in a checkout after a change
`python -c "import setuptools; setuptools.setup()" build_ext --inplace` does. Without one, or on a processor
that lacks their instructions, torch's operators do the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import platform
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

LARGE: Final = 1 << 22
"""Bytes from which on large pages (2 MB on x86) are asked for."""


_SMALLEST: Final = 1e-30
"""Keeps the scale of an all-zero row above 0."""


def library(path: Path, supported: str, functions: Sequence[str] = ()) -> ctypes.CDLL | None:
    """The compiled library at `path`, but for its suffix; None where it cannot be used.

    That is where it was not compiled, or on another machine, or from an earlier source that lacks one of
    `functions`, or where its function `supported` says that the processor lacks instructions.
    """
    for suffix in EXTENSION_SUFFIXES:
        file = path.with_name(f"{path.name}{suffix}")
        if file.is_file():
            try:
                loaded = ctypes.CDLL(str(file))
            except OSError:  # against libraries that are missing here
                continue
            whole = all(hasattr(loaded, name) for name in (supported, *functions))
            return loaded if whole and getattr(loaded, supported)() else None
    return None


def quantise(rows: Tensor) -> tuple[Tensor, Tensor]:
    """`[..., K]` → int8, -127 ... 127, of the same shape and the scale of each row `[..., 1]`, symmetric:
    rows ≈ int8 * scale.
    """
    scale = rows.abs().amax(-1, keepdim=True).clamp_min_(_SMALLEST).div_(127)
    return torch.div(rows, scale).round_().to(torch.int8), scale


def zeros(size: int) -> Tensor:
    """`size` bytes of 0, uint8, on the CPU, of which all will be used.

    A step reads all weights once, in order: with pages of 2 MB instead of 4 kB a core reads an eighth more a
    second (docs/log.md).
    """
    if size < LARGE:
        return torch.zeros(size, dtype=torch.uint8)
    return _mapped(size, getattr(mmap, "MADV_HUGEPAGE", None))  # Linux has it


def sparse_zeros(size: int) -> Tensor:
    """`size` bytes of 0, uint8, on the CPU; a page of 4 kB takes memory once something is stored there.

    Where large pages are given to whoever allocates much, the first token of a new sequence would wait for
    megabytes of zeros in each layer (docs/log.md).
    """
    return _mapped(size, getattr(mmap, "MADV_NOHUGEPAGE", None))


def _mapped(size: int, advice: int | None) -> Tensor:
    """Anonymous pages; `advice` (madvise) is followed where the system knows it."""
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if advice is not None:
        with contextlib.suppress(OSError):  # a kernel built without them
            pages.madvise(advice)
    return torch.frombuffer(pages, dtype=torch.uint8)


_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_MAX: Final = -4
"""glibc's mallopt(3)."""


def keep_freed() -> bool:
    """Have the C library keep what is freed, for this process and from now on; whether it can.

    A training frees and asks for the same hundreds of megabytes in every step. By default each large buffer
    is mapped anew, and the kernel clears its pages: with a model of 135 million parameters 40 % of the time
    of two cores (docs/log.md). Memory in use stays at its peak instead.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20))
    return all(mallopt(ctypes.c_int(option), ctypes.c_int(value)) for option, value in wanted)
