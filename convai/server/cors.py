"""Pages of other origins (`--origins`) may read the answers: the CORS protocol of the Fetch standard.

https://fetch.spec.whatwg.org/#http-cors-protocol. The server's own pages need none of it, and to pages of any
other origin nothing is said.
"""

from __future__ import annotations

from typing import Final

from convai.server.access import Access
from convai.server.asgi import Message, Scope, Send, header

_METHODS: Final = "GET, HEAD, POST, OPTIONS"
_HEADERS: Final = "authorization, content-type"
"""What a page may send that asks for nothing more."""
_EXPOSED: Final = "retry-after, content-disposition"
_WITH_CREDENTIALS: Final = ("access-control-allow-credentials", "true")
"""There are no cookies here; a proxy in front may have some, and many pages send them wherever they ask."""
_REMEMBERED: Final = 600
"""Seconds for which a browser need not ask again."""


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks here what a page may do."""
    return scope["method"] == "OPTIONS" and header(scope, "access-control-request-method") is not None


async def answer_preflight(access: Access, scope: Scope, send: Send) -> None:
    """Say what a page may do: everything, where its origin is named; nothing else."""
    origin = header(scope, "origin")
    named = access.named(origin)
    headers = [("vary", "origin, access-control-request-headers"), ("content-length", "0")]
    if named:
        # OpenAI's client sends headers of its own with every request
        asked = header(scope, "access-control-request-headers") or _HEADERS
        headers += [
            ("access-control-allow-origin", origin or ""),
            _WITH_CREDENTIALS,
            ("access-control-allow-methods", _METHODS),
            ("access-control-allow-headers", asked),
            ("access-control-max-age", str(_REMEMBERED)),
        ]
        if header(scope, "access-control-request-private-network") == "true":
            headers.append(("access-control-allow-private-network", "true"))
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": 204 if named else 403, "headers": encoded})
    await send({"type": "http.response.body", "body": b""})


def readable_by_page(access: Access, scope: Scope, send: Send) -> Send:
    """`send`, with what lets a page of a named origin read the answer, its errors included."""
    origin = header(scope, "origin")
    if origin is None or not access.named(origin):
        return send
    name, value = _WITH_CREDENTIALS
    more = [
        (name.encode(), value.encode()),
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _EXPOSED.encode()),
        (b"vary", b"origin"),
    ]

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return marked
