"""What can go wrong with a request, each as a line to read."""

from __future__ import annotations

from convai.core.errors import ConvaiError


class EngineError(ConvaiError):
    """A request that could not be served."""


class Overloaded(EngineError):
    """The queue is full: the request was not taken. `retry_after` seconds from now there may be room."""

    def __init__(self, waiting: int, retry_after: float) -> None:
        super().__init__(f"{waiting} requests are waiting already; try again in {retry_after:.0f} seconds")
        self.retry_after = retry_after


class EngineClosed(EngineError):
    """The engine takes no requests any more."""

    def __init__(self) -> None:
        super().__init__("the engine is closed; make a new one")


class EngineLost(EngineError):
    """An engine elsewhere cannot be reached, or was lost in mid-reply: another one may go on."""


class NotANumber(EngineError):
    """The model's output is not a finite number."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is not a finite number; the checkpoint is damaged or its precision too low: try float32"
        )


def as_failure(error: BaseException) -> ConvaiError:
    """What a reader gets for `error`, which a step raised: its own kind where it is one of ours."""
    if isinstance(error, ConvaiError):
        return error
    if isinstance(error, Exception):
        failure = EngineError(f"the reply could not be computed: {type(error).__name__}: {error}")
    else:
        failure = EngineError(f"the reply was broken off by {type(error).__name__}")
    failure.__cause__ = error
    return failure
