"""Who may ask at the HTTP routes, what they sent, and how they are told what was wrong with it."""

from __future__ import annotations

from contextlib import suppress

from convai.server.access import address_of
from convai.server.api_error import ApiError, too_slow
from convai.server.asgi import CLOSE, BodyTooLarge, Receive, Scope, Send, answer_json, header, read_body
from convai.server.limiter import Busy
from convai.server.service import Service


async def admitted(
    service: Service, scope: Scope, receive: Receive, methods: tuple[str, ...] = ("POST",)
) -> tuple[str, bytes]:
    """Whose request it is, and its body. Raises ApiError, Busy, ClientGone."""
    if scope["method"] not in methods:
        raise ApiError(405, f"{scope['method']} is not allowed here; use {' or '.join(methods)}")
    check_origin(service, header(scope, "origin"), header(scope, "host"), scope.get("scheme", "http"))
    owner = owner_of(service, header(scope, "authorization"))
    packed = header(scope, "content-encoding")
    if packed and packed.lower() != "identity":
        raise ApiError(415, f"a body in the encoding {packed[:40]!r} is not read; send it as it is")
    service.check_open()
    await service.admit(address_of(scope.get("client")))
    most = service.config.body_bytes
    try:
        return owner, await read_body(receive, most)
    except TimeoutError:
        raise too_slow() from None
    except BodyTooLarge:
        raise ApiError(413, f"the body is too large; use at most {most:,} bytes") from None


def check_origin(service: Service, origin: str | None, host: str | None, scheme: str) -> None:
    """Raises ApiError where a page of `origin` may not ask."""
    if not service.access.allows(origin, host, scheme):
        raise ApiError(403, "pages of this origin may not ask", code="origin_not_allowed")


def owner_of(service: Service, authorization: str | None) -> str:
    """Whose request it is, by its header. Raises ApiError."""
    owner = service.access.owner_of_header(authorization)
    if owner is None:
        raise ApiError(401, "the bearer token is missing or wrong", code="invalid_api_key")
    return owner


def overloaded(service: Service, busy: Busy) -> ApiError:
    """What somebody is told who came at a bad time; they are counted."""
    service.metrics.rejected.labels(busy.reason).inc()
    status = 503 if busy.reason == "draining" else 429
    return ApiError(status, str(busy), code="overloaded", retry=busy.retry)


async def answer_error(send: Send, error: ApiError) -> None:
    """Tell the client, if it is still there."""
    # these come after the body was read; what comes before ends the connection, with the rest of the body
    closing = [] if error.status in (400, 404, 409, 500) else [CLOSE]
    with suppress(OSError):
        await answer_json(send, error.body(), error.status, [*error.headers(), *closing])
