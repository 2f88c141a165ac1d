"""Which route a path means: with slashes too many, and by the names that other servers use."""

from __future__ import annotations

import re
from typing import Final

_SLASHES: Final = re.compile("/{2,}")
CHAT: Final = "/chat"
COMPLETIONS: Final = "/v1/chat/completions"
TEXT_COMPLETIONS: Final = "/v1/completions"
_ALSO: Final = {
    # llama.cpp's server has them too; some clients leave out /v1 where they are given the bare address
    "/chat/completions": COMPLETIONS,
    "/completions": TEXT_COMPLETIONS,
    "/models": "/v1/models",
    "/health": "/healthz",
    "/v1/health": "/healthz",
}


def route_of(path: str) -> str:
    """The route that `path` means. A base address that ends with a slash makes two of it."""
    plain = _SLASHES.sub("/", path).rstrip("/") or "/"
    return _ALSO.get(plain, plain)
