"""What is read beside a conversation, by a thread of its own: asked for, and waited for a while at most."""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

from convai.core.errors import ConvaiError

T = TypeVar("T")


def waited_for(work: Future[T], seconds: float, late: str, failed: str) -> T:
    """The result of `work`, waited for at most so many `seconds`.

    Raises ConvaiError, whatever went wrong: its own kind as it is, `late` where it takes longer, and `failed`
    with the reason for everything else that a model may raise, since the chat is to go on.
    """
    try:
        return work.result(seconds)
    except FutureTimeoutError:
        raise ConvaiError(late) from None
    except ConvaiError:
        raise
    except Exception as error:
        raise ConvaiError(f"{failed} ({type(error).__name__}: {error})") from None
