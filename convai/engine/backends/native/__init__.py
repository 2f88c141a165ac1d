"""The C library of 8-bit kernels, where it is compiled and can run (see `convai.model.native`)."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

from convai.model import native


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled library, or None."""
    return native.library(Path(__file__).with_name("kernels"), "convai_supported", ("convai_pack",))
