"""`POST /v1/chat/completions`: JSON, or server-sent events; the client that leaves stops the computation.

An ASGI route of its own: behind a2wsgi a generator is not told when its client is gone.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import convai
from convai.conversation.conversation import Place
from convai.conversation.drawing import Drawing
from convai.conversation.reply import Reply
from convai.core.errors import ConvaiError, SettingsError
from convai.engine import Finished, Token
from convai.server.access import address_of
from convai.server.asgi import (
    CLOSE,
    BodyTooLarge,
    ClientGone,
    Receive,
    Scope,
    Send,
    answer_json,
    begin,
    header,
    read_body,
)
from convai.server.completion_request import ApiError, CompletionRequest, parse, too_slow
from convai.server.limiter import Busy
from convai.server.logs import log_failure
from convai.server.metrics import Outcome, Pace
from convai.server.service import Service

_DONE: Final = b"data: [DONE]\n\n"


async def completions(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request."""
    try:
        request = await _admitted(service, scope, receive)
        release = service.limiter.begin_reply(address_of(scope.get("client")))
        try:
            with service.work():
                await _answer(await _drawing(service, request), receive, send)
        finally:
            release()
    except Busy as busy:
        service.metrics.rejected.labels(busy.reason).inc()
        status = 503 if busy.reason == "draining" else 429
        await _fail(send, ApiError(status, str(busy), code="overloaded", retry=busy.retry))
    except SettingsError as error:  # the conversation does not fit into the model
        await _fail(send, ApiError(400, str(error), param="messages", code="context_length_exceeded"))
    except ApiError as error:
        await _fail(send, error)
    except ClientGone:
        pass


async def _fail(send: Send, error: ApiError) -> None:
    # 400 comes after the body was read; what comes before ends the connection, with the rest of the body
    closing = [] if error.status in (400, 404, 500) else [CLOSE]
    await answer_json(send, error.body(), error.status, [*error.headers(), *closing])


async def _admitted(service: Service, scope: Scope, receive: Receive) -> CompletionRequest:
    """The request, if its sender may ask. Raises ApiError, Busy, ClientGone."""
    if scope["method"] != "POST":
        raise ApiError(405, f"{scope['method']} is not allowed here; use POST")
    if not service.access.allows(header(scope, "origin"), header(scope, "host"), scope.get("scheme", "http")):
        raise ApiError(403, "pages of this origin may not ask", code="origin_not_allowed")
    if service.access.owner_of_header(header(scope, "authorization")) is None:
        raise ApiError(401, "the bearer token is missing or wrong", code="invalid_api_key")
    service.check_open()
    service.limiter.request(address_of(scope.get("client")))
    try:
        body = await read_body(receive, service.config.body_bytes)
    except TimeoutError:
        raise too_slow() from None
    except BodyTooLarge:
        raise ApiError(
            413, f"the body is too large; use at most {service.config.body_bytes:,} bytes"
        ) from None
    return parse(body, service.agent, service.engine.limits.slots, service.limits)


async def _drawing(service: Service, request: CompletionRequest) -> Completion:
    """The reply, asked of the engine. Raises Busy, SettingsError."""

    def plan() -> Completion:
        seed = request.decoding.seed
        reply = Reply(
            service.agent,
            request.persona,
            Place.after(request.turns),
            request.decoding,
            seed=secrets.randbits(32) if seed is None else seed,
            max_history=service.agent.max_history,
            alternatives=request.top_logprobs,
            hooks=service.hooks,
        )
        return Completion(service, request, reply)

    drawing = await service.in_thread(plan)
    drawing.start()
    return drawing


async def _answer(drawing: Completion, receive: Receive, send: Send) -> None:
    """Draw and send, for as long as the client is there."""
    watch = asyncio.create_task(_watch(drawing, receive), name="convai-rest-client")
    outcome: Outcome = "failed"
    try:
        if drawing.request.stream:
            await _send_events(drawing, send)
        else:
            await _send_whole(drawing, send)
        outcome = "left" if drawing.left else "finished"
    except OSError:
        outcome = "left"  # it left while something was sent
    finally:
        drawing.close()
        watch.cancel()
        drawing.service.metrics.replies.labels("rest", outcome).inc()


async def _watch(drawing: Completion, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    drawing.leave()


async def _send_whole(drawing: Completion, send: Send) -> None:
    try:
        async for _ in drawing.pieces():
            pass
    except ConvaiError as error:
        raise _broken(error) from None
    if not drawing.left:
        await answer_json(send, drawing.completion())


async def _send_events(drawing: Completion, send: Send) -> None:
    await begin(send, 200, "text/event-stream; charset=utf-8", [("x-accel-buffering", "no")])

    async def event(body: bytes, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": more})

    for index in range(drawing.request.n):
        await event(_data(drawing.chunk(index, {"role": "assistant", "content": ""})))
    try:
        async for piece in drawing.pieces():
            delta = {"content": piece.text} if piece.text else {}
            await event(_data(drawing.chunk(piece.index, delta, piece.logprobs, piece.reason)))
    except ConvaiError as error:
        await event(_data(_broken(error).body()), more=False)
        return
    if drawing.left:
        return
    if drawing.request.usage:
        await event(
            _data({**drawing.frame("chat.completion.chunk"), "choices": [], "usage": drawing.usage()})
        )
    await event(_DONE, more=False)


def _broken(error: ConvaiError) -> ApiError:
    if isinstance(error, Busy):
        return ApiError(429, str(error), code="overloaded", retry=error.retry)
    log_failure("a completion broke off", error)
    return ApiError(500, "the model could not go on")


def _data(value: object) -> bytes:
    return f"data: {json.dumps(value, allow_nan=False)}\n\n".encode()


@dataclass(slots=True)
class Piece:
    """What is to be told of choice `index`: some text, and with a `reason` its end."""

    index: int
    text: str = ""
    logprobs: dict[str, Any] | None = None
    reason: str | None = None


@dataclass(slots=True)
class _Choice:
    """One reply as it is told: no stop text in it, nor the beginning of one that may become whole."""

    stops: tuple[str, ...]
    told: str = ""
    held: str = ""
    reason: str | None = None
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    def push(self, text: str) -> str:
        """What can be told now; a stop text ends the choice."""
        if self.reason is not None:
            return ""
        self.held += text
        found = [place for stop in self.stops if (place := self.held.find(stop)) >= 0]
        if found:
            ready, self.held, self.reason = self.held[: min(found)], "", "stop"
        else:
            keep = max((_overlap(self.held, stop) for stop in self.stops), default=0)
            cut = len(self.held) - keep
            ready, self.held = self.held[:cut], self.held[cut:]
        self.told += ready
        return ready

    def end(self, reason: str) -> str:
        """The model has ended; what was held back is told."""
        if self.reason is not None:
            return ""
        ready, self.held, self.reason = self.held, "", reason
        self.told += ready
        return ready


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of `text` that may be the begin of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


class Completion:
    """A completion in the making."""

    def __init__(self, service: Service, request: CompletionRequest, reply: Reply) -> None:
        self.service, self.request = service, request
        self.left = False
        self._reply, self._drawing = reply, Drawing(reply, service.stream)
        self._begun = time.monotonic()
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._choices = [_Choice(request.stop) for _ in range(request.n)]
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
        index = shown.candidate
        choice = self._choices[index]
        if choice.reason is not None:
            return None
        text = choice.push(shown.text)
        entries = [self._entry(shown)] if self.request.logprobs else []
        choice.logprobs += entries
        if not text and not entries and choice.reason is None:
            return None
        return Piece(index, text, {"content": entries, "refusal": None} if entries else None, choice.reason)

    def _end(self, index: int, end: Finished) -> Piece:
        choice = self._choices[index]
        reason = "stop" if end.reason == "stop" else "length"
        known = choice.told + choice.held
        text = choice.push(end.text[len(known) :]) if end.text.startswith(known) else ""
        already = choice.reason
        text += choice.end(reason)
        return Piece(index, text, None, already or reason)

    def _entry(self, token: Token) -> dict[str, Any]:
        def one(text: str, logprob: float) -> dict[str, Any]:
            return {"token": text, "logprob": max(logprob, -9999.0), "bytes": list(text.encode())}

        others = [one(text, logprob) for text, logprob in token.alternatives]
        return {**one(token.text, token.logprob), "top_logprobs": others}

    # -- OpenAI's objects --------------------------------------------------------------------------

    def frame(self, kind: str) -> dict[str, Any]:
        """What every object begins with."""
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self.service.agent.name,
            "system_fingerprint": f"convai-{convai.__version__}",
        }

    def chunk(
        self,
        index: int,
        delta: dict[str, Any],
        logprobs: dict[str, Any] | None = None,
        reason: str | None = None,
    ) -> dict[str, Any]:
        """A chunk of a stream."""
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        usage = {"usage": None} if self.request.usage else {}
        return {**self.frame("chat.completion.chunk"), "choices": [choice], **usage}

    def usage(self) -> dict[str, int]:
        """Tokens read and drawn."""
        prompt = len(self._reply.source.prompt)
        drawn = self._drawn or sum(len(end.ids) for end in self._reply.finished)
        return {"prompt_tokens": prompt, "completion_tokens": drawn, "total_tokens": prompt + drawn}

    def completion(self) -> dict[str, Any]:
        """The whole answer."""
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.told, "refusal": None},
                "logprobs": {"content": choice.logprobs, "refusal": None} if self.request.logprobs else None,
                "finish_reason": choice.reason or "stop",
            }
            for index, choice in enumerate(self._choices)
        ]
        return {**self.frame("chat.completion"), "choices": choices, "usage": self.usage()}
