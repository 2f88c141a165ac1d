"""A completion of the REST API while it is drawn: what can be told of each choice, stop texts held back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from convai.conversation.drawing import Drawing
from convai.conversation.reply import Reply
from convai.engine import Finished, Token
from convai.server.completion_objects import Choice, Objects
from convai.server.completion_request import (
    CompletionRequest,
)
from convai.server.metrics import Pace
from convai.server.service import Service


@dataclass(slots=True)
class Piece:
    """What is to be told of choice `index`: some text, and with a `reason` its end."""

    index: int
    text: str = ""
    tokens: tuple[Token, ...] = ()
    reason: str | None = None


@dataclass(slots=True)
class _Choice(Choice):
    """One reply as it is told: no stop text in it, nor the beginning of one that may become whole."""

    stops: tuple[str, ...] = ()
    gap: bool = False
    """White space was before the reply: none is told at its beginning."""
    held: str = ""

    def push(self, text: str) -> str:
        """What can be told now; a stop text ends the choice."""
        if self.reason is not None:
            return ""
        if self.gap:
            text = text.lstrip()
            self.gap = not text
        self.held += text
        found = [place for stop in self.stops if (place := self.held.find(stop)) >= 0]
        if found:
            ready, self.held, self.reason = self.held[: min(found)], "", "stop"
        else:
            keep = max((_overlap(self.held, stop) for stop in self.stops), default=0)
            cut = len(self.held) - keep
            ready, self.held = self.held[:cut], self.held[cut:]
        self.text += ready
        return ready

    def end(self, reason: str) -> str:
        """The model has ended; what was held back is told."""
        if self.reason is not None:
            return ""
        ready, self.held, self.reason = self.held, "", reason
        self.text += ready
        return ready


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of `text` that may be the begin of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


class Completion:
    """A completion in the making."""

    def __init__(self, service: Service, request: CompletionRequest, reply: Reply, objects: Objects) -> None:
        self.service, self.request, self.objects = service, request, objects
        self.left = False
        self._reply, self._drawing = reply, Drawing(reply, partial(service.stream, trace=objects.id))
        self._begun = time.monotonic()
        self._choices = [_Choice(stops=request.stop, gap=request.gap) for _ in range(request.n)]
        self._drawn = 0

    def start(self) -> None:
        """Ask the engine. Raises Busy."""
        self._drawing.start()

    def leave(self) -> None:
        """The client is gone: stop computing."""
        self.left = True
        self.close()

    def close(self) -> None:
        """Stop computing."""
        self._drawing.close()

    async def pieces(self) -> AsyncIterator[Piece]:
        """What is to be told, as it comes. Raises the ConvaiError that broke the reply off."""
        pace = Pace(self.service.metrics, "rest", self._begun)
        told_as_drawn = self._reply.live or self.request.n > 1
        async for shown in self._drawing.adraw():
            if isinstance(shown, Token):
                self._drawn += 1
                pace.token(time.monotonic())
                if told_as_drawn and (piece := self._token(shown)) is not None:
                    yield piece
            elif self.request.n > 1:
                yield self._end(shown.candidate, shown)
            if all(choice.reason for choice in self._choices):
                self.close()
                return
        if self.request.n == 1 and not self.left and self._reply.chosen is not None:
            yield self._end(0, self._reply.finished[self._reply.chosen])

    def _token(self, shown: Token) -> Piece | None:
        choice = self._choices[shown.candidate]
        if choice.reason is not None:
            return None
        text = choice.push(shown.text)
        tokens = (shown,) if self.request.logprobs else ()
        choice.tokens += tokens
        if not text and not tokens and choice.reason is None:
            return None
        return Piece(shown.candidate, text, tokens, choice.reason)

    def _end(self, index: int, end: Finished) -> Piece:
        choice = self._choices[index]
        reason = "stop" if end.reason == "stop" else "length"
        whole = end.text[len(self.request.prefill) :]
        whole = whole.lstrip() if self.request.gap else whole
        known = choice.text + choice.held
        text = choice.push(whole[len(known) :]) if whole.startswith(known) else ""
        already = choice.reason
        text += choice.end(reason)
        return Piece(index, text, (), already or reason)

    def usage(self) -> dict[str, int]:
        """Tokens read and drawn."""
        prompt = len(self._reply.source.prompt)
        drawn = self._drawn or sum(len(end.ids) for end in self._reply.finished)
        return {"prompt_tokens": prompt, "completion_tokens": drawn, "total_tokens": prompt + drawn}

    def whole(self) -> dict[str, Any]:
        """The whole answer."""
        return self.objects.whole(self._choices, self.usage())
