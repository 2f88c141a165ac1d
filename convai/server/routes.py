"""Which route a path means: with or without a slash at its end, and by the names that other servers use."""

from __future__ import annotations

from typing import Final

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
    """The route that `path` means."""
    plain = path.rstrip("/") or "/"
    return _ALSO.get(plain, plain)
