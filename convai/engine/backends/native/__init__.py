"""The C library of 8-bit kernels: found, loaded and asked whether it can run here.

`make setup` and `pip install` compile it where there is a C compiler; in a checkout after a change
`python -c "import setuptools; setuptools.setup()" build_ext --inplace` does.
"""

from __future__ import annotations

import ctypes
import functools
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled library, or None: an installation without a C compiler has none, or the processor lacks
    its instructions.
    """
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"kernels{suffix}")
        if path.is_file():
            try:
                loaded = ctypes.CDLL(str(path))
            except OSError:  # compiled on another machine, against libraries that are missing here
                continue
            return loaded if loaded.convai_supported() else None
    return None
