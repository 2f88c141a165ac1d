"""Errors of the HTTP routes, as OpenAI's API shapes them."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer that is an error, as OpenAI's API shapes it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.retry = status, param, code, retry

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def headers(self) -> list[tuple[str, str]]:
        """`Retry-After`, in whole seconds, where there is a time to wait."""
        return [] if self.retry is None else [("retry-after", str(max(1, round(self.retry + 0.5))))]


def too_slow() -> ApiError:
    """What is told to a client whose request's body does not come."""
    return ApiError(408, "the request's body did not come in time; send it again")
